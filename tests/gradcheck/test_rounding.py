"""Rounding on the way, in forward or in backward, is not called an error; and it excuses no error that is larger."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mabn_ref.gradcheck import check
from mabn_ref.gradcheck.rounding import rounding_along
from tests.strategies import many

Array = np.ndarray
ERF = np.vectorize(math.erf, otypes=[float])
K = math.sqrt(2 / math.pi)


def of_elements(f: Any, slope: Any, *, real: bool = False) -> tuple[Any, Any]:
    """A function of each element; `real` ones refuse complex numbers."""

    def forward(x: Array) -> Any:
        if real and np.iscomplexobj(x):
            raise TypeError("real numbers only")
        return f(x), x

    return forward, lambda dout, x: dout * slope(x)


def tanh_gelu_slope(x: Array) -> Array:
    t = np.tanh(K * (x + 0.044715 * x**3))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t**2) * K * (1 + 3 * 0.044715 * x**2)


def silu_slope(x: Array) -> Array:
    s = 1 - 1 / (1 + np.exp(x))
    return s + x * s * (1 - s)


def softmax(x: Array) -> Any:
    e = np.exp(x - np.max(x.real, axis=1, keepdims=True))
    p = e / np.sum(e, axis=1, keepdims=True)
    return p, p


def softmax_backward(dout: Array, p: Array) -> Array:
    return p * (dout - np.sum(dout * p, axis=1, keepdims=True))


def log_softmax(x: Array) -> Any:
    shifted = x - np.max(x.real, axis=1, keepdims=True)
    out = shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))
    return out, np.exp(out)


def real_only(forward: Callable[[Array], Any]) -> Any:
    return lambda x: forward(x.astype(float, casting="safe"))


TANH_GELU = (lambda x: 0.5 * x * (1 + np.tanh(K * (x + 0.044715 * x**3))), tanh_gelu_slope)
SILU = (lambda x: x * (1 - 1 / (1 + np.exp(x))), silu_slope)
SOFTPLUS = (lambda x: np.log1p(np.exp(x)), lambda x: 1 - 1 / (1 + np.exp(x)))
ERF_GELU = (
    lambda x: 0.5 * x * (1 + ERF(x / math.sqrt(2))),
    lambda x: 0.5 * (1 + ERF(x / math.sqrt(2))) + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi),
)
PASSES = {
    "tanh-GELU": of_elements(*TANH_GELU),
    "tanh-GELU, real only": of_elements(*TANH_GELU, real=True),
    "erf-GELU": of_elements(*ERF_GELU),
    "SiLU": of_elements(*SILU),
    "SiLU, real only": of_elements(*SILU, real=True),
    "softplus": of_elements(*SOFTPLUS),
    "softmax": (softmax, softmax_backward),
    "softmax, real only": (real_only(softmax), softmax_backward),
    "log-softmax": (log_softmax, lambda dout, p: dout - p * np.sum(dout, axis=1, keepdims=True)),
}


def test_rounding_is_measured_as_large_as_it_is() -> None:
    """A sine rounded to multiples of a grain, which moves a value by half of it at most; and one that is not."""
    for grain in 2.0 ** np.arange(-45, -24, 5):
        for start in np.arange(0.0, 4.0, 0.3):

            def rounded(t: float, start: float = start, grain: float = grain) -> Array:
                smooth = np.sin(1 + start + 1.3 * t)
                return np.array([grain * np.round(smooth / grain), smooth])

            seen = rounding_along(rounded, np.array([16 * grain, 16 * grain]))
            assert grain / 5 < seen[0] < 1.2 * grain
            assert seen[1] < 2.0**-52
            assert rounding_along(rounded, np.array([grain / 16, 0.0])).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("name", PASSES)
@pytest.mark.parametrize("shape", [(1, 3), (8, 8), (7, 10)], ids=str)
def test_what_right_passes_round_on_their_way_is_not_wrong(name: str, shape: tuple[int, ...]) -> None:
    """1 + tanh(x), 1 + erf(x), 1 - 1 / (1 + exp(x)) and d - sum(d p), each far larger than what is left of it."""
    verdicts = Counter[str]()
    for deviation in (1, 3, 8, 15, 20):
        for seed in range(many(3, 100)):
            x = deviation * np.random.default_rng(seed).standard_normal(shape)
            verdicts[check(*PASSES[name], (x,), seed=seed).verdict] += 1
    assert verdicts["ok"] >= 0.6 * verdicts.total(), verdicts
    assert verdicts["ok"] + verdicts["undecided"] == verdicts.total(), verdicts


@pytest.mark.parametrize("name", PASSES)
@pytest.mark.parametrize("part", [1e-6, 1.0])
def test_it_excuses_no_error_above_it(name: str, part: float) -> None:
    """Of the element with the fifth of all derivatives by size."""
    forward, backward = PASSES[name]
    for seed in range(many(5, 100)):
        x = 3 * np.random.default_rng(seed).standard_normal((8, 8))
        row, column = np.unravel_index(np.argsort(abs(backward(x, forward(x)[1])), axis=None)[51], x.shape)

        def wrong(dout: Any, cache: Any, row: Any = row, column: Any = column) -> Any:
            dx = backward(dout, cache)
            dx[row, column] *= 1 + part
            return dx

        result = check(forward, wrong, (x,), seed=seed)
        assert (result.verdict, result.worst.index) == ("wrong", (row, column)), result


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("factor", [0.0, 3.0, 1 + 1e-5])
def test_a_small_derivative_that_nothing_rounds_is_held_to_its_own_size(factor: float, real: bool) -> None:
    """exp(x) at -10, a millionth of what it is elsewhere; and of a channel at 10^-5 of another's scale."""
    x = np.array([3.0, -10.0, 1.0, 4.0])
    scale = np.array([1e-5, 1.0])
    for forward, backward, at in (
        (*of_elements(np.exp, lambda x: np.exp(x) * np.where(x < -9, factor, 1), real=real), x),
        (
            *of_elements(lambda x: x**4, lambda x: 4 * x**3 * np.where([True, False], factor, 1), real=real),
            np.random.default_rng(0).standard_normal((5, 2)) * scale,
        ),
    ):
        assert check(forward, backward, (at,)).verdict == "wrong"


def test_an_error_of_the_size_of_rounding_is_undecided_and_says_so() -> None:
    """exp(x) at -25, where 20 eps of exp(25) are more: only an output that moves less is held to less."""
    result = check(lambda x: (np.exp(x), x), lambda dout, x: dout * np.exp(x) * (x > 0), (np.array([1.0, -25.0]),))
    assert result.verdict == "undecided"
    assert "backward is off by" in result.worst.reason
    assert result.worst.index == (1,)


def test_a_softmax_that_hides_a_probability_still_shows_what_is_said_of_it() -> None:
    """The others, which do not move, are left out, and that of 1e-87, which does, is looked at by itself."""
    x = np.random.default_rng(0).standard_normal((4, 3)) + np.array([0, 0, -200])
    forward = real_only(softmax)
    assert check(forward, softmax_backward, (x,)).verdict == "ok"

    def wrong(dout: Any, p: Any) -> Any:
        return softmax_backward(dout, p) * np.where(p < 1e-80, 3, 1)

    result = check(forward, wrong, (x,))
    assert (result.verdict, result.worst.index[1]) == ("undecided", 2), result


def test_the_rounding_of_an_output_excuses_no_gradient_of_what_it_does_not_depend_on() -> None:
    """exp(25) rounds by 1e-5, and has nothing to do with the other element."""

    def forward(x: Array) -> Any:  # of real numbers alone: the complex step would decide
        return np.stack([np.exp(x[0]), np.sin(x[1])]).astype(float, casting="safe"), x

    def backward(dout: Array, x: Array) -> Any:
        return np.stack([dout[0] * np.exp(x[0]), dout[1] * np.cos(x[1]) + 1e-5 * dout[0]])

    result = check(forward, backward, (np.array([25.0, 0.3]),))
    assert (result.verdict, result.worst.index) == ("wrong", (1,)), result


def test_an_output_that_stands_still_hides_rounding_alone() -> None:
    """A sign has no slope; the loss of a prediction that is sure hardly one, and its backward rounds."""
    x = np.array([3.0, 4.0])
    for slope, verdict in ((0.0, "ok"), (1e-6, "wrong")):
        assert check(lambda x: (np.sign(x.real), None), lambda dout, _: slope * dout, (x,)).verdict == verdict  # noqa: B023

    def loss(x: Any) -> Any:
        out, p = log_softmax(x)
        return -out[:, 0], p

    def backward(dout: Any, p: Any) -> Any:
        return dout[:, None] * (p - np.eye(4)[0])

    x = np.random.default_rng(0).standard_normal((1, 4)) + np.array([50, 0, 0, 0])
    assert check(loss, backward, (x,)).verdict == "ok"

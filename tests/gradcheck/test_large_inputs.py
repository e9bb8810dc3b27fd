"""In an input too large to be checked element by element, elements with small derivatives are checked as well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mabn_ref.gradcheck import check
from mabn_ref.gradcheck.probes import CLASSES, DROWNED, drowned
from tests.strategies import many

Array = np.ndarray
K = np.sqrt(2 / np.pi)
SEEDS = range(many(10, 100))


def squares(x: Array) -> Any:
    return x**2 / 2, x


def sum_of_squares(x: Array) -> Any:
    return np.sum(x**2) / 2, x


@pytest.mark.parametrize("rows", [33, 500])
@pytest.mark.parametrize("forward", [squares, sum_of_squares, lambda x: squares(np.real(x))])
@pytest.mark.parametrize("factor", [0.0, 1.0, 3.0])
def test_two_features_of_different_scale(rows: int, forward: Callable[[Array], Any], factor: float) -> None:
    """The gradient of the small one is 0 or three times too large, also where both end in one sum."""
    for seed in SEEDS:
        x = np.random.default_rng(seed).standard_normal((rows, 2)) * [1, 1e5]
        result = check(forward, lambda dout, x: dout * x * [factor, 1], (x,), seed=seed)
        assert result.verdict == ("ok" if factor == 1 else "wrong"), result


def test_half_of_all_elements_are_wrong_but_small() -> None:
    """exp over 26 decades, whose gradient is 0 left of 0."""
    for seed in SEEDS:
        x = 10 * np.random.default_rng(seed).standard_normal(100)
        assert check(lambda x: (np.exp(x), x), lambda dout, x: dout * np.exp(x), (x,), seed=seed).verdict == "ok"
        wrong = check(lambda x: (np.exp(x), x), lambda dout, x: dout * np.exp(x) * (x > 0), (x,), seed=seed)
        assert wrong.verdict == "wrong"


@pytest.mark.parametrize("real", [False, True])
def test_one_channel_of_200_with_the_wrong_sign(real: bool) -> None:
    """Of scales from 1e-4 to 1e4; derivatives times units go from 1e-8 to 1e8."""
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        scale = 10 ** np.linspace(-4, 4, 200)
        small = int(rng.integers(50))
        sign = np.where(np.arange(200) == small, -1, 1)
        x = rng.standard_normal((3, 200)) * scale

        def forward(x: Any, scale: Any = scale) -> Any:
            x = x.real if real else x
            return np.sin(x / scale) * scale**2, x

        def slope(x: Any, scale: Any = scale) -> Any:
            return scale * np.cos(x / scale)

        assert check(forward, lambda dout, x: dout * slope(x), (x,), seed=seed).verdict == "ok"
        result = check(forward, lambda dout, x: dout * slope(x) * sign, (x,), seed=seed)  # noqa: B023
        assert (result.verdict, result.worst.index[1]) == ("wrong", small)


@pytest.mark.parametrize("real", [False, True])
def test_one_element_whose_error_is_below_the_tolerance_of_a_direction(real: bool) -> None:
    """A millionth of its own derivative, and a twenty-millionth of that of three hundred together."""

    def forward(x: Any) -> Any:
        return np.tanh(x.real if real else x), x

    def backward(dout: Any, x: Any) -> Any:
        return dout * (1 - np.tanh(x) ** 2) * np.where(np.arange(300) == 7, 1 + 1e-6, 1)

    result = check(forward, backward, (np.random.default_rng(0).standard_normal(300),))
    assert (result.verdict, result.worst.index) == ("wrong", (7,))


def test_a_small_block_that_is_transposed() -> None:
    """Sixteen of 144 weights, whose gradients are 10^-9 of the others'."""
    size = np.ones((12, 12))
    size[:4, :4] = 1e-9
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        a, w = rng.standard_normal((5, 12)), rng.standard_normal((12, 12))

        def backward(dout: Any, _: Any, a: Any = a) -> Any:
            return (a.T @ dout) * size

        def wrong(dout: Any, cache: Any, backward: Any = backward) -> Any:
            dw = backward(dout, cache)
            dw[:4, :4] = dw[:4, :4].T.copy()
            return dw

        assert check(lambda w: (a @ (w * size), None), backward, (w,), seed=seed).verdict == "ok"  # noqa: B023
        assert check(lambda w: (a @ (w * size), None), wrong, (w,), seed=seed).verdict == "wrong"  # noqa: B023


def test_a_kink_among_the_small_ones_excuses_itself_alone() -> None:
    """No direction through all elements shows it."""
    scale = np.where(np.arange(100) < 50, 1e-9, 1)
    x = np.random.default_rng(0).standard_normal(100)
    x[[3, 60]] = 0

    def backward(at_zero: float) -> Any:
        return lambda dout, x: dout * scale * np.where(x == 0, at_zero, x > 0)

    def forward(x: Any) -> Any:
        return scale * np.maximum(x, 0), x

    assert check(forward, backward(0.5), (x,)).verdict == "not differentiable here"
    x[60] = 1
    assert check(forward, backward(0.5), (x,)).verdict == "not differentiable here"
    assert check(forward, backward(1.5), (x,)).verdict == "wrong"


def test_directions_are_few_and_have_every_small_element_once() -> None:
    """Whatever the sizes are; none is needed where they are alike."""
    line = np.arange(1.0, 301.0)
    sizes = 10 ** np.linspace(-300, 0, 300)
    sizes[7] = 0
    rows = drowned(line, sizes)
    assert len(rows) == CLASSES
    np.testing.assert_array_equal(np.sum(rows, axis=0), np.where(sizes <= DROWNED, line, 0))
    assert np.flatnonzero(rows[-1]).tolist() == [7]
    np.testing.assert_array_equal(drowned(line, 2.0**40 * sizes), rows)
    assert drowned(line, np.linspace(0.1, 1, 300)).shape == (0, 300)
    assert drowned(line, np.zeros(300)).shape == (0, 300)


def test_right_passes_with_derivatives_over_many_decades_stay_right() -> None:
    """Layer normalisation of rows of many scales, and a network of features of three."""

    def layer_norm(x: Any) -> Any:
        centred = x - np.mean(x, axis=1, keepdims=True)
        sigma = np.sqrt(np.mean(centred**2, axis=1, keepdims=True) + 1e-5)
        return centred / sigma, (centred / sigma, sigma)

    def layer_norm_backward(dout: Any, cache: Any) -> Any:
        y, sigma = cache
        return (dout - np.mean(dout, axis=1, keepdims=True) - y * np.mean(dout * y, axis=1, keepdims=True)) / sigma

    def network(x: Any, w: Any) -> Any:
        h = np.tanh(x @ w)
        return np.sum(h * h, axis=1), (x, w, h)

    def network_backward(dout: Any, cache: Any) -> Any:
        x, w, h = cache
        d = 2 * dout[:, None] * h * (1 - h * h)
        return d @ w.T, x.T @ d

    verdicts = Counter[str]()
    for seed in range(many(50, 200)):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((12, 8)) * 10.0 ** rng.integers(-4, 5, (12, 1))
        verdicts[check(layer_norm, layer_norm_backward, (x,), seed=seed).verdict] += 1
        scale = 10.0 ** rng.integers(-1, 2, 10)
        inputs = rng.standard_normal((12, 10)) * scale, rng.standard_normal((10, 7)) / scale[:, None] / 4
        verdicts[check(network, network_backward, inputs, seed=seed).verdict] += 1
    assert verdicts == {"ok": verdicts.total()}


def gelu(x: Array) -> Any:
    t = np.tanh(K * (x + 0.044715 * x**3))
    return 0.5 * x * (1 + t), (x, t)


def gelu_backward(dout: Array, cache: Any) -> Array:
    x, t = cache
    return dout * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * K * (1 + 3 * 0.044715 * x**2))


@pytest.mark.parametrize("seed", [1, 7, 8])
def test_what_backward_rounds_of_a_saturated_tail_is_no_error(seed: int) -> None:
    """Some hundred eps of the outputs, at inputs near -6."""
    x = 200 * np.random.default_rng(seed).standard_normal((20, 10))
    assert check(gelu, gelu_backward, (x,), seed=seed).verdict == "ok"


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("scale", [30, 60, 200])
def test_gradients_that_underflow_in_float32(scale: int) -> None:
    def silu(x: Array) -> Any:
        s = 1 / (1 + np.exp(-x))
        return x * s, (x, s)

    def backward(dout: Array, cache: Any) -> Array:
        x, s = cache
        return dout * (s + x * s * (1 - s))

    for seed in range(6):
        x = (scale * np.random.default_rng(seed).standard_normal((20, 10))).astype(np.float32)
        assert check(silu, backward, (x,), seed=seed).verdict == "ok"


def test_tails_of_many_elements_are_looked_at_together() -> None:
    """How often the passes run does not grow with the elements; it was three thousand times."""
    for rows in (30, 300):
        counts = Counter[str]()

        def forward(x: Array, counts: Counter[str] = counts) -> Any:
            counts["forward"] += 1
            return gelu(x)

        def backward(dout: Array, cache: Any, counts: Counter[str] = counts) -> Array:
            counts["backward"] += 1
            return gelu_backward(dout, cache)

        x = 10 * np.random.default_rng(0).standard_normal((rows, 100))
        assert check(forward, backward, (x,)).verdict == "ok"
        assert counts["forward"] < 600
        assert counts["backward"] < 300

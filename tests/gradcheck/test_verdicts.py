"""Right passes are accepted, wrong ones rejected, over many draws; and what the check is made of."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import numpy as np
import pytest

from mabn_ref.gradcheck import GradientError, check
from mabn_ref.norms import group_norm
from tests.gradcheck.passes import RIGHT, WRONG, norm, row_max, tanh_layer
from tests.strategies import many

NORMS = [name for name in RIGHT if name.startswith("norm")]
DRAWS = many(60, 1000)
SEEDS = {name: range(DRAWS) for name in RIGHT} | {name: range(k, DRAWS, 3) for k, name in enumerate(NORMS)}
"""The three eps of the norm share them."""


def run(pair: Any, seed: int, **keywords: Any) -> Any:
    inputs = pair.draw(np.random.default_rng(seed))
    return check(pair.forward, pair.backward, inputs, seed=seed, **keywords)


@pytest.mark.parametrize("name", RIGHT)
def test_no_false_alarm(name: str) -> None:
    """A right gradient is accepted on every draw, and measured to 1e-8, by the complex step to 1e-10.

    Relative to the derivative itself, also where tanh is saturated and 1 - y^2 has lost four digits.
    """
    for seed in SEEDS[name]:
        result = run(RIGHT[name], seed)
        assert result.verdict == "ok", result
        assert max(found.error for found in result.inputs) <= 1e-8, result
        assert max(found.complex_error for found in result.inputs) <= 1e-10, result


@pytest.mark.parametrize("name", WRONG)
def test_no_escape(name: str) -> None:
    """A wrong gradient is rejected on every draw, and the other inputs' gradients are not."""
    draws = DRAWS // 5
    verdicts = Counter(found.verdict for seed in range(draws) for found in run(WRONG[name], seed).inputs)
    assert set(verdicts) <= {"ok", "wrong"}
    both_wrong = name == "tanh layer, square forgotten"
    assert verdicts["wrong"] == (2 * draws if both_wrong else draws)


def test_offset_of_1e4_and_spread_of_2e_3() -> None:
    """Seven digits are lost to the offset; a right gradient is still accepted, and one wrong by 1e-4 is not."""
    pair = norm(1e-5)

    def off(dz: Any, cache: Any) -> Any:
        dx, dgamma, dbeta = pair.backward(dz, cache)
        return 1.0001 * dx, dgamma, dbeta

    for seed in range(20):
        rng = np.random.default_rng(seed)
        inputs = (0.002 * rng.standard_normal((6, 2)) + 1e4, rng.uniform(0.5, 2, 2), rng.standard_normal(2))
        assert check(pair.forward, pair.backward, inputs, seed=seed).verdict == "ok"
        assert check(pair.forward, off, inputs, seed=seed).verdict == "wrong"


def test_float32_is_differentiated_in_float64() -> None:
    """The gradient is float32's, the truth is not; the tolerance is float32's."""
    for name in ("norm, eps 1e-5", "tanh layer", "softmax loss"):
        pair = RIGHT[name]
        for seed in range(30):
            rng = np.random.default_rng(seed)
            inputs = [x.astype(np.float32) for x in pair.draw(rng)]
            result = check(pair.forward, pair.backward, inputs, seed=seed)
            assert result.verdict == "ok", result
            assert 1e-5 < result.rtol <= 1e-2
    pair = WRONG["norm, psi dropped"]
    for seed in range(30):
        inputs = [x.astype(np.float32) for x in pair.draw(np.random.default_rng(seed))]
        assert check(pair.forward, pair.backward, inputs, seed=seed).verdict == "wrong"


def test_a_forward_that_stays_float32() -> None:
    """Steps are then chosen for its rounding; where its differences are too noisy to tell, the verdict says so."""
    pair = tanh_layer()

    def forward(x: Any, w: Any) -> Any:
        y, cache = pair.forward(x.astype(np.float32), w.astype(np.float32))
        return y, cache

    right, wrong = Counter[str](), Counter[str]()
    for seed in range(100):
        inputs = [x.astype(np.float32) for x in pair.draw(np.random.default_rng(seed))]
        right[check(forward, pair.backward, inputs, seed=seed).verdict] += 1
        wrong[check(forward, tanh_layer("square forgotten").backward, inputs, seed=seed).verdict] += 1
    assert right["ok"] >= 95
    assert right["ok"] + right["undecided"] == 100
    assert wrong == {"wrong": 100}


@pytest.mark.parametrize("shape", [(40, 5), (6, 7, 11)])
def test_large_inputs_are_checked_along_directions(shape: tuple[int, ...]) -> None:
    """One wrong element among hundreds is seen, and named."""
    calls: Counter[str] = Counter()

    def forward(x: Any) -> Any:
        calls["forward"] += 1
        return np.tanh(x), x

    for seed in range(20):
        rng = np.random.default_rng(seed)
        x, where = rng.standard_normal(shape), tuple(int(rng.integers(n)) for n in shape)

        def backward(dout: Any, x: Any) -> Any:
            return dout / np.cosh(x) ** 2

        def wrong(dout: Any, x: Any, where: Any = where) -> Any:
            dx = dout / np.cosh(x) ** 2
            dx[where] += 1e-3
            return dx

        calls.clear()
        result = check(forward, backward, (x,), seed=seed)
        assert (result.verdict, result.worst.index) == ("ok", None)
        assert calls["forward"] < 60
        result = check(forward, wrong, (x,), seed=seed)
        assert (result.verdict, result.worst.index) == ("wrong", where)
        np.testing.assert_allclose(result.worst.analytic - result.worst.numeric, 1e-3, rtol=1e-4)


def test_a_gradient_that_is_zero() -> None:
    """A bias before batch normalisation: 0 is right, the rounding of 0 too, 1e-6 of the output is not."""
    pair = norm(1e-5)

    def forward(b: Any, x: Any) -> Any:
        return pair.forward(x + b, np.ones(2), np.zeros(2))

    for seed in range(30):
        x = np.random.default_rng(seed).standard_normal((5, 2))
        for size, verdict in ((0.0, "ok"), (1e-15, "ok"), (1e-6, "wrong")):

            def backward(dz: Any, cache: Any, size: float = size) -> Any:
                return np.full(2, size)

            result = check(lambda b, x=x: forward(b, x), backward, (np.full(2, 0.1),), seed=seed)
            assert result.verdict == verdict, result
    assert check(lambda x: (0 * x, None), lambda dout, _: 0 * dout, (np.zeros(3),)).worst.error == 0


def test_cotangents_are_random_and_bounded_away_from_zero() -> None:
    """Never ones, never the output, never one small enough to hide an element; the same for the same seed."""
    pair = norm(1e-5)
    inputs = pair.draw(np.random.default_rng(0))
    seen: list[Any] = []

    def backward(dz: Any, cache: Any) -> Any:
        seen.append(dz.copy())
        return pair.backward(dz, cache)

    for seed in (3, 3, 4):
        check(pair.forward, backward, inputs, seed=seed)
    first, again, other = (seen[k : k + 3] for k in range(0, len(seen), len(seen) // 3))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert all((a != b).any() for a, b in zip(first, other, strict=True))
    y = pair.forward(*inputs)[1][0].ravel()
    for dz in [*first, *other]:
        assert np.all((np.abs(dz) >= 0.5) & (np.abs(dz) <= 1.5))
        basis = np.stack([np.ones(y.size), y], axis=1)
        left = dz.ravel() - basis @ np.linalg.lstsq(basis, dz.ravel())[0]
        assert np.linalg.norm(left) > 0.2


def test_noise_is_told_from_error() -> None:
    """Where the forward is too coarse for its differences to tell, the verdict says so; a large error is one."""

    def forward(x: Any) -> Any:
        return np.sin(x) + 1e-5 * np.sin(1e9 * np.sin(1e9 * x.real)), x

    def real_forward(x: Any) -> Any:
        return forward(np.asarray(x, dtype=np.float64))

    def backward(dout: Any, x: Any) -> Any:
        return dout * np.cos(x)

    for seed in range(20):
        x = np.random.default_rng(seed).standard_normal((3, 2))
        result = check(real_forward, backward, (x,), seed=seed)
        assert result.verdict == "undecided"
        with pytest.raises(GradientError, match="undecided"):
            result.raise_for_error()
        assert check(real_forward, lambda dout, x: 1.5 * backward(dout, x), (x,), seed=seed).verdict == "wrong"
        # the complex step is not noisy, and decides where differences cannot contradict it
        assert check(forward, backward, (x,), seed=seed).verdict == "ok"


@pytest.mark.parametrize("offset", [1e6, 1e9, 1e12])
@pytest.mark.parametrize("of_sum", [False, True])
def test_an_offset_that_backward_has_no_part_in_excuses_no_error(offset: float, of_sum: bool) -> None:
    """The complex step shows it. Without that, differences cannot, and the result says so."""

    def forward(x: Any) -> Any:
        return (np.sum(x * x) if of_sum else x * x) + offset, x

    def off_by(part: float) -> Any:
        return lambda dout, x: 2 * (1 + part) * dout * x

    x = np.random.default_rng(0).standard_normal((6, 7))
    assert check(forward, off_by(0), (x,)).verdict == "ok"
    for part in (1e-3, 1e-5):
        assert check(forward, off_by(part), (x,)).verdict == "wrong"
        real = check(lambda x: forward(np.real(x)), off_by(part), (x,))
        assert real.verdict != "ok" or "rounding explains an error of" in str(real), real


@pytest.mark.parametrize(
    ("dtype", "low", "high"), [("float32", -4, 4), ("float32", -5, 12), ("float64", 5, 15), ("float64", 15, 25)]
)
def test_a_backward_from_a_saturated_output_is_right(dtype: str, low: float, high: float) -> None:
    """1 - y * y inherits the rounding of the 1 that y has come to, however little y moves around there."""

    def sigmoid(x: Any) -> Any:
        return 1 / (1 + np.exp(-x))

    def softmax(x: Any) -> Any:
        e = np.exp(x - np.max(x.real, axis=-1, keepdims=True))
        return e / np.sum(e, axis=-1, keepdims=True)

    for seed in range(4):
        x = np.random.default_rng(seed).uniform(low, high, (3, 4)).astype(dtype)
        for f, backward in (
            (np.tanh, lambda dout, y: dout * (1 - y * y)),
            (sigmoid, lambda dout, y: dout * y * (1 - y)),
            (softmax, lambda dout, y: y * (dout - np.sum(dout * y, axis=-1, keepdims=True))),
        ):
            result = check(lambda x, f=f: (f(x), f(x)), backward, (x,))
            assert result.verdict == "ok", (f, result)


def test_an_accepted_error_above_the_tolerance_is_told_to_be_rounding() -> None:
    """Batch norm in single precision at a mean of 10^3 and 10^4 standard deviations."""

    def forward(x: Any) -> Any:
        centred = x - np.mean(x, axis=0)
        sigma = np.sqrt(np.mean(centred**2, axis=0) + x.dtype.type(1e-5))
        return centred / sigma, (centred / sigma, sigma)

    def with_psi(part: float) -> Any:
        def backward(dout: Any, cache: Any) -> Any:
            y, sigma = cache
            return (dout - np.mean(dout, axis=0) - part * y * np.mean(y * dout, axis=0)) / sigma

        return backward

    drawn = np.random.default_rng(0).standard_normal((8, 4))
    for mean in (1e3, 1e4):
        x = (drawn + mean).astype(np.float32)
        assert check(forward, with_psi(1), (x,)).verdict == "ok"
        assert check(forward, with_psi(0.9), (x,)).verdict == "wrong"
        almost = check(forward, with_psi(0.999), (x,))
        assert almost.verdict == "ok"
        assert almost.worst.error > almost.rtol
        assert re.search(r"rounding explains an error of [1-9]e-0[23] here, more than rtol", str(almost)), almost


@pytest.mark.parametrize("value", [0.0, 0.1, 1.0, 1e4])
def test_constant_channels(value: float) -> None:
    """A channel without spread is looked at on the scale of its value, a zero one on that of the others."""
    right, wrong = norm(1e-5), norm(1e-5, "gamma forgotten")
    for rows in (2, 3, 6):
        for seed in range(5):
            x = np.random.default_rng(seed).standard_normal((rows, 2))
            x[:, 1] = value
            inputs = (x, np.array([2.0, -1.5]), np.zeros(2))
            assert check(right.forward, right.backward, inputs, seed=seed).verdict == "ok"
            assert check(wrong.forward, wrong.backward, inputs, seed=seed).verdict == "wrong"


def test_a_bend_much_narrower_than_the_value() -> None:
    """All values equal, and sqrt(eps) a hundred-millionth of them: the step goes down to where the slope settles."""
    right, wrong = norm(1e-5), norm(1e-5, "gamma forgotten")
    for seed in range(5):
        inputs = (np.full((3, 1), 1e5), np.array([1.3]), np.array([0.2]))
        assert check(right.forward, right.backward, inputs, seed=seed).verdict == "ok"
        assert check(wrong.forward, wrong.backward, inputs, seed=seed).verdict == "wrong"


def test_float32_far_from_zero_is_not_called_wrong() -> None:
    """At 1e4 float32 leaves a spread of 0.01 three bits; what rounding may explain is undecided, and raises."""
    pair = norm(1e-5)
    verdicts = Counter[str]()
    for seed in range(20):
        x = 1e4 + 0.01 * np.random.default_rng(seed).standard_normal((5, 2))
        inputs = [a.astype(np.float32) for a in (x, np.array([2.0, -1.5]), np.zeros(2))]
        verdicts[check(pair.forward, pair.backward, inputs, seed=seed).verdict] += 1
    assert verdicts["undecided"] >= 5
    assert verdicts["ok"] + verdicts["undecided"] == 20


def test_the_tolerance_is_the_callers_if_given() -> None:
    """One per cent passes at five per cent."""
    assert run(WRONG["norm, one per cent"], 0, rtol=0.05).verdict == "ok"
    assert run(WRONG["norm, one per cent"], 0, rtol=0.005).verdict == "wrong"


def test_a_mistake_on_one_element_is_named() -> None:
    """The worst element is the wrong one."""
    for seed in range(20):
        assert run(WRONG["norm, one element"], seed).worst.index == (0, 0)
    pair = row_max("at the smallest")
    result = run(pair, 0)
    assert abs(result.worst.analytic - result.worst.numeric) > 0.4


@pytest.mark.parametrize("slope", [0.0, 1.0])
def test_a_jump_is_called_one(slope: float) -> None:
    """A step at 0, and rounding at a half, with either slope that somebody may give them: there is none."""
    for f, x in ((lambda x: np.where(x.real > 0, 1.0, 0.0), 0.0), (np.round, 0.5)):
        result = check(lambda x, f=f: (f(x), None), lambda dout, _: slope * dout, (np.array([x]),))
        assert result.verdict == "undecided"
        assert result.worst.reason == "forward jumps here, and has no derivative"


def test_a_jump_excuses_no_other_output() -> None:
    """One that jumps and one that does not, of the same number."""

    def forward(x: Any) -> Any:
        return np.concat([np.where(x.real > 0, 1.0, 0.0), np.sin(x.real)]), x

    x = np.zeros(1)
    assert check(forward, lambda dout, x: dout[1:] * np.cos(x), (x,)).verdict == "undecided"
    assert check(forward, lambda dout, x: 1.01 * dout[1:] * np.cos(x), (x,)).verdict == "wrong"


@pytest.mark.parametrize("size", [3, 100])
@pytest.mark.parametrize("summed", [False, True])
def test_a_value_apart_from_those_around_it(size: int, summed: bool) -> None:
    """sin(x) / x, and somebody forgot what it comes to at 0; the gradient there is that of the others, 0."""
    x = np.random.default_rng(0).standard_normal(size)
    x[1] = 0

    def sinc(at_zero: float) -> Any:
        def forward(x: Any) -> Any:
            out = np.where(x == 0, at_zero, np.sin(x) / np.where(x == 0, 1, x))
            return np.sum(out) if summed else out, x

        return forward

    def backward(dout: Any, x: Any) -> Any:
        return dout * np.where(x == 0, 0, (x * np.cos(x) - np.sin(x)) / np.where(x == 0, 1, x) ** 2)

    assert check(sinc(1), backward, (x,)).verdict == "ok"
    for at_zero in (0, 1 + 1e-6):
        result = check(sinc(at_zero), backward, (x,))
        assert result.verdict == "undecided"
        assert result.worst.reason == "forward jumps here, and has no derivative"
    assert check(sinc(0), lambda dout, x: backward(dout, x) * (1 + 1e-3 * (x == x[0])), (x,)).verdict == "wrong"


def test_what_rounding_makes_of_the_nearest_values_is_no_jump() -> None:
    """1 - cos(x) is 0 below 1e-8, and (1 - cos(x)) / x**2 is a half."""

    def forward(x: Any) -> Any:
        return np.where(x == 0, 0.5, (1 - np.cos(x)) / np.where(x == 0, 1, x) ** 2), x

    assert check(forward, lambda dout, _: 0 * dout, (np.zeros(1),)).verdict == "ok"


@pytest.mark.parametrize("power", [1.5, 2, 3])
def test_a_bend_that_moves_on_one_side_alone_is_no_jump(power: float) -> None:
    """max(x, 0)**p, whose derivative at 0 is 0, and not 1."""

    def backward(dout: Any, x: Any) -> Any:
        return dout * (power * np.maximum(x, 0) ** (power - 1) + (x == 0))

    def forward(x: Any) -> Any:  # of real numbers alone: the complex step would decide
        return np.maximum(x.astype(float, casting="safe"), 0) ** power, x

    assert check(forward, backward, (np.array([0.0, 1.0, -1.0, 2.0]),)).verdict == "wrong"


def test_a_derivative_of_0_has_no_part_of_its_size() -> None:
    """Rounding, whose backward lets gradients through."""
    result = check(lambda x: (np.round(x), None), lambda dout, _: dout, (np.array([0.3, -1.2]),))
    assert result.verdict == "undecided"
    assert "only to be less than" in result.worst.reason
    assert "inf" not in str(result.worst)


@pytest.mark.parametrize(("low", "high"), [(1e-5, np.inf), (0, 2e3)])
def test_a_backward_that_is_not_linear_at_one_element_alone(low: float, high: float) -> None:
    """The two numbers and the error that are reported are those of that element."""
    seen: list[Any] = []

    def backward(dout: Any, x: Any) -> Any:
        dx = dout * (1 - np.tanh(x) ** 2)
        dx[3] = np.clip(dx[3], -high, high) * (abs(dx[3]) >= low)
        seen.append(dx)
        return dx

    (found,) = check(lambda x: (np.tanh(x), x), backward, (np.arange(1.0, 6.0) / 4,)).inputs
    assert (found.verdict, found.index) == ("wrong", (3,))
    assert found.reason.startswith("backward is not linear in dout: these are its gradient for ")
    assert found.numeric == seen[0][3]
    assert abs(found.analytic) < 0.99 * abs(found.numeric)
    assert found.error == abs(found.analytic - found.numeric) / np.max(abs(seen[0]))


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize(
    "backward",
    [
        lambda dout, cache: dout * cache * dout.size / np.count_nonzero(dout),
        lambda dout, cache: np.where((dout == 0).any(), 0.5, 1.0) * dout * cache,
        lambda dout, cache: dout * (dout / dout) * cache,
        lambda dout, cache: dout * cache + (dout == 0),
    ],
)
def test_a_backward_that_is_wrong_for_a_dout_with_zeros_alone(backward: Any) -> None:
    """As that of a masked mean which takes what arrives as 0 for what is masked."""
    (found,) = check(lambda x: (x**2, 2 * x), backward, (np.array([0.3, -1.2, 2.0, 0.7]),)).inputs
    assert found.verdict == "wrong"
    assert "the sum of its gradients for dout with every other element 0 and for the rest of it" in found.reason


@pytest.mark.parametrize("seed", [16, 23, 92, 96, 104])
def test_rounding_inside_of_backward_is_not_taken_for_what_is_not_linear(seed: int) -> None:
    """The gradient of two values with nothing beside them is 0 but for rounding, which is another for every dout."""
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal((4, 4)) * 1e4 + 1e6).astype(np.float32)
    gamma, beta = rng.standard_normal((2, 4)).astype(np.float32)
    config = group_norm.Config(groups=2)
    state = group_norm.init(4, config, dtype=x.dtype)
    result = check(
        lambda *inputs: group_norm.forward(*inputs, state, config)[:2],
        lambda dout, cache: group_norm.backward(dout, cache, state)[:3],
        (x, gamma, beta),
        seed=seed,
    )
    assert result.verdict != "wrong", result


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("slope", [1e-312, 1e303])
def test_what_overflows_or_underflows_for_a_multiple_of_dout_is_no_error(slope: float) -> None:
    """Also on the way to a gradient of common size, or if backward puts the largest number for infinity."""
    x = np.array([0.5, -1.0])
    for backward in (
        lambda dout, _: slope / 3 * dout * 3,
        lambda dout, _: np.nan_to_num(slope * dout),
        lambda dout, _: np.nan_to_num(100 * slope * dout) / 100,
    ):
        assert check(lambda x: (slope * x, None), backward, (x,)).verdict == "ok"
    assert check(lambda x: (x, None), lambda dout, _: 1e303 * dout / 1e303, (x,)).verdict == "ok"


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_derivative_near_the_largest_number() -> None:
    """Which a cotangent over many decades, times the spread of the input, takes beyond it."""
    for f, slope, x in ((np.exp, np.exp, [1.0, 700.0]), (lambda x: x / 2, lambda x: 0 * x + 0.5, [1e308, -1e307])):
        for factor, verdict in ((1.0, "ok"), (1.01, "wrong")):
            result = check(
                lambda x, f=f: (f(x), x),
                lambda dout, x, factor=factor, slope=slope: factor * dout * slope(x),
                (np.array(x),),
            )
            assert result.verdict == verdict, result
            assert result.worst.complex_error == pytest.approx(factor - 1, rel=0.02, abs=1e-15)


@pytest.mark.parametrize("slope", [1e6, 1e200])
def test_large_gradients_are_held_to_be_linear(slope: float) -> None:
    """Also where the squares of what forward rounds would overflow."""
    result = check(
        lambda x: (slope * x, None),
        lambda dout, _: np.clip(slope * dout, -1e4 * slope, 1e4 * slope),
        (np.array([0.5, -1.0]),),
    )
    assert result.verdict == "wrong"


def test_a_gradient_of_0_stays_0_for_any_multiple_of_dout() -> None:
    """Up to what backward rounds."""
    x = np.array([0.5, -1.0])

    def constant(x: Any) -> Any:
        return 0 * x + 1, None

    assert check(constant, lambda dout, _: dout + 7.3 - 7.3 - dout, (x,)).verdict == "ok"
    assert check(constant, lambda dout, _: np.maximum(abs(dout) - 1e5, 0), (x,)).verdict == "wrong"


@pytest.mark.parametrize("size", [1.0, 1e-20])
def test_the_steps_of_a_coarse_output_are_named(size: float) -> None:
    """Whatever its size."""
    result = check(
        lambda x: (size * np.round(np.tanh(x), 6), x),
        lambda dout, x: size * dout * (1 - np.tanh(x) ** 2),
        (np.array([0.3, -1.2]),),
    )
    assert result.verdict == "undecided"
    assert re.search(f"an output of .* moves in steps of {1e-6 * size:.0e}", result.worst.reason), result

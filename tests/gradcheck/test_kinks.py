"""Points where a function is not differentiable are called that, and excuse nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mabn_ref.gradcheck import check
from mabn_ref.gradcheck.kinks import find_kinks
from mabn_ref.nn import threshold
from tests.gradcheck.passes import relu, row_max

KINKED = "not differentiable here"


def clip(x: Any) -> Any:
    return np.clip(x, -1, 1), x


def clip_backward(dout: Any, x: Any) -> Any:
    return dout * (abs(x) <= 1)


CASES: dict[str, Any] = {
    "relu": (relu().forward, relu().backward, 0.0),
    "relu, slope 1 at 0": (relu().forward, lambda dout, x: dout * (x >= 0), 0.0),
    "relu, slope 1/2 at 0": (relu().forward, lambda dout, x: dout * (1 + np.sign(x)) / 2, 0.0),
    "clip": (clip, clip_backward, 1.0),
    "abs": (lambda x: (abs(x), x), lambda dout, x: dout * np.sign(x), 0.0),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("shape", [(4, 3), (40, 3)])
def test_a_kink_is_called_one(name: str, shape: tuple[int, ...]) -> None:
    """Whichever subgradient is returned; and the element is named."""
    forward, backward, kink = CASES[name]
    for seed in range(10):
        rng = np.random.default_rng(seed)
        x, where = rng.standard_normal(shape), (int(rng.integers(shape[0])), int(rng.integers(shape[1])))
        assert check(forward, backward, (x,), seed=seed).verdict == "ok"
        x[where] = kink
        result = check(forward, backward, (x,), seed=seed)
        assert (result.verdict, result.worst.index) == (KINKED, where), result
        result.raise_for_error()


def test_a_tied_maximum() -> None:
    """The gradient goes to one of the two."""
    x = np.array([[1.0, 3.0, 3.0], [0.5, -2.0, 0.1]])
    assert check(row_max().forward, row_max().backward, (x,)).verdict == KINKED


@pytest.mark.parametrize("distance", [1e-2, 1e-4, 1e-6, -1e-5, 3e-7, -3e-8])
@pytest.mark.parametrize("name", ["relu", "clip", "abs"])
def test_next_to_a_kink_is_smooth(name: str, distance: float) -> None:
    """The step shrinks until the kink is outside; the gradient is then judged as anywhere."""
    forward, backward, kink = CASES[name]
    for seed in range(4):
        x = np.random.default_rng(seed).standard_normal((4, 3))
        x[1, 1] = kink + distance
        assert check(forward, backward, (x,), seed=seed).verdict == "ok"

        def wrong(dout: Any, x: Any) -> Any:
            dx = backward(dout, x)
            dx[1, 1] += 0.01
            return dx

        result = check(forward, wrong, (x,), seed=seed)
        assert (result.verdict, result.worst.index) == ("wrong", (1, 1)), result


def test_kinks_that_no_step_is_clear_of_are_the_reason_that_is_given() -> None:
    """Two of them in one output, a few smallest steps away."""

    def forward(x: Any, tau: Any) -> Any:
        return np.sum(np.maximum(x, tau), axis=0), x > tau

    def backward(dout: Any, above: Any) -> Any:
        return dout * above, np.sum(dout * ~above, axis=0)

    for near in ((2e-12, 7e-13), (1e-10, 1e-12)):
        result = check(forward, backward, (np.array([[*near, -1.3]]).T, np.zeros(1)))
        assert (result.verdict, result.worst.name) == ("undecided", "tau"), result
        assert "a kink lies too near: differences show" in result.worst.reason


def test_moves_that_are_multiples_by_chance_are_no_rounding() -> None:
    """The steps to the right of 3/32 move the second output by 29, 13 and 1 times a 32nd, the others not at all."""
    x = np.array([[-1.82e-8], [0.0937548811679036]])
    assert check(threshold.forward, threshold.backward, (x, np.zeros(1))).verdict == "ok"


@pytest.mark.parametrize("size", [1000, 5000])
def test_among_many_outputs_that_are_off_some_move_by_multiples_by_chance(size: int) -> None:
    for seed in range(4):
        x = np.random.default_rng(seed).standard_normal(size)
        for f, slope in ((lambda x: np.maximum(x, 0), x > 0), (lambda x: np.clip(x, -1, 1), abs(x) < 1)):
            result = check(lambda x: (f(x), None), lambda dout, _: dout * slope, (x,))  # noqa: B023
            assert result.verdict == "ok", result


@pytest.mark.parametrize("x", [np.zeros(4), np.r_[np.zeros(4), 0.3, -2.0]], ids=["zeros", "some zeros"])
def test_a_slope_that_vanishes_with_the_step_has_no_kink(x: Any) -> None:
    """Squares of one side, at 0: every step shows another slope, each an eighth of the one before."""
    assert (
        check(lambda x: (np.maximum(x, 0) ** 2, x), lambda dout, x: 2 * dout * np.maximum(x, 0), (x,)).verdict == "ok"
    )
    assert check(lambda x: (x * abs(x), x), lambda dout, x: 2 * dout * abs(x), (x,)).verdict == "ok"
    assert check(lambda x: (x * abs(x), x), lambda dout, x: dout * (2 * abs(x) + 1e-6), (x,)).verdict == "wrong"


@pytest.mark.parametrize("seed", [0, 1, 8, 18, 32])
def test_a_kink_is_found_among_those_beside_it(seed: int) -> None:
    """In a sum of 300 sizes, one of 0; others are so small that larger steps cross their kinks."""
    x = np.random.default_rng(seed).standard_normal(300)
    x[10] = 0
    for at_zero, verdict in ((0.5, KINKED), (1.4, "wrong")):
        result = check(
            lambda x: (np.sum(x * np.sign(x.real)), x),
            lambda dout, x, at_zero=at_zero: dout * np.where(x == 0, at_zero, np.sign(x)),
            (x,),
            seed=seed,
        )
        assert (result.verdict, result.worst.index) == (verdict, (10,)), result


def test_a_kink_does_not_excuse_a_mistake_elsewhere() -> None:
    """One element at the kink, another with a wrong slope."""
    for seed in range(15):
        x = np.random.default_rng(seed).standard_normal((4, 3))
        x[0, 0], x[2, 1] = 0.0, 1.0

        def wrong(dout: Any, x: Any) -> Any:
            dx = dout * (x > 0)
            dx[2, 1] *= 1.001
            return dx

        result = check(relu().forward, wrong, (x,), seed=seed)
        assert (result.verdict, result.worst.index) == ("wrong", (2, 1))


def test_a_kink_excuses_no_more_than_its_size() -> None:
    """A slope of 3 at the kink of ReLU is no subgradient."""
    for seed in range(15):
        rng = np.random.default_rng(seed)
        for shape in ((4, 3), (40, 3)):
            x = rng.standard_normal(shape)
            x[0, 0] = 0.0
            assert check(relu().forward, lambda dout, x: dout * ((x > 0) + 3 * (x == 0)), (x,)).verdict == "wrong"


@pytest.mark.parametrize("steepness", [1.0, 1e2, 1e4])
def test_a_steep_smooth_function_has_no_kink(steepness: float) -> None:
    """However curved: the right gradient is accepted and a wrong one rejected."""

    def forward(x: Any) -> Any:
        return np.logaddexp(0, steepness * x) / steepness if np.isrealobj(x) else None, x

    def backward(dout: Any, x: Any) -> Any:
        return dout / (1 + np.exp(-steepness * x))

    for seed in range(10):
        x = np.random.default_rng(seed).standard_normal((4, 3))
        x[1, 1], x[2, 2] = 0.0, 0.3 / steepness
        with np.errstate(over="ignore"):
            assert check(forward, backward, (x,), seed=seed).verdict == "ok"
            result = check(forward, lambda dout, x: backward(dout, x) * (1 + 1e-3 * (x == 0)), (x,), seed=seed)
        assert (result.verdict, result.worst.index) == ("wrong", (1, 1)), result


@pytest.mark.parametrize(
    ("jumps", "change", "found"),
    [
        ([1e-6, 1e-5, 1.1e-5, 8e-4, 7e-3], 1e-6, (0, False)),
        ([1e-6, 1e-5, 1.1e-5, 1e-5, 7e-3], 1e-6, (4, True)),
        ([1e-6, 1e-5, 1.1e-5, 1e-5, 4e-6], 1e-6, (4, False)),  # it falls again: the kink is not at the point
        ([1e-6, 1e-5, 1.1e-5, 1e-5, 7e-3], 1e-4, (0, False)),  # the slope does not stay
        ([1e-6, 1e-5, 1.4e-5, 2e-5, 2.8e-5], 1e-6, (0, False)),  # the jump does not
        ([1e-11, 1e-10, 1.1e-10, 1e-10, 1e-10], 1e-12, (0, False)),  # below the floor
        ([0.0] * 5, 0.0, (0, False)),
    ],
)
def test_one_coincidence_is_no_kink(jumps: list[float], change: float, found: tuple[int, bool]) -> None:
    """Among rounding errors two jumps may be alike; a kink shows at three steps or more, and until rounding."""
    column = np.array(jumps)[:, None]
    first, kinked = find_kinks(column, np.full((4, 1), change), np.full((5, 1), 1e-9))
    assert (int(first[0]), bool(kinked[0])) == found


@pytest.mark.parametrize("seed", range(4))
def test_a_wrong_slope_is_found_among_outputs_with_a_kink_at_the_same_place(seed: int) -> None:
    """Twelve times |x|: together they allow a slope that none of them has."""

    def forward(x: Any) -> Any:
        return np.abs(x.real) * np.ones(12), x

    result = check(forward, lambda dout, _: 1.5 * dout[:1], (np.zeros(1),), seed=seed)
    assert result.verdict == "wrong"
    assert "slopes to either side are" in result.worst.reason
    assert (
        check(forward, lambda dout, _: 0.9 * dout[:1], (np.zeros(1),), seed=seed).verdict == "not differentiable here"
    )

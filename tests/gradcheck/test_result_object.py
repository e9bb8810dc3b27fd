"""What a result says, and when it raises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mabn_ref.gradcheck import GradientError, check
from tests.gradcheck.passes import norm, slope_two


def test_repr_of_a_failure_has_it_all() -> None:
    """HIPS autograd's test: a slope of 2.001 for 2 fails, with the right message."""
    pair = slope_two(2.001)
    result = check(pair.forward, pair.backward, (np.array([0.25, -4.0]),), names=("weights",), seed=7)
    with pytest.raises(GradientError) as caught:
        result.raise_for_error()
    lines = str(caught.value).splitlines()
    assert str(caught.value) == repr(result)
    assert lines[0] == "gradient check: wrong (rtol 1e-07, seed 7)"
    assert lines[1].startswith(
        "  weights: wrong; worst error by central differences 5.0e-04, by complex step 5.0e-04;"
    )
    assert "(order 1.00)" in lines[1]
    worst = result.worst
    assert lines[2].strip() == (
        f"at weights[{worst.index[0]}] backward says {worst.analytic:.9g}, differences say {worst.numeric:.9g} "
        f"(step {worst.step:.1e})"
    )
    assert worst.analytic / worst.numeric == pytest.approx(2.001 / 2, rel=1e-9)
    assert isinstance(caught.value, AssertionError)


def test_worst_is_the_worst_verdict_first() -> None:
    """A gradient that is wrong by one per cent comes before one that a kink excuses by half."""

    def forward(x: Any, w: Any) -> Any:
        return np.maximum(x, 0) + w, x

    result = check(forward, lambda dout, x: (dout * (x > 0), 1.01 * dout), (np.array([0.0, 1.0]), np.ones(2)))
    assert [found.verdict for found in result.inputs] == ["not differentiable here", "wrong"]
    assert result.inputs[0].error > 0.2 > 0.02 > result.inputs[1].error
    assert (result.verdict, result.worst.name) == ("wrong", "w")


def test_ok_does_not_raise_and_fits_a_line_each() -> None:
    """And is the same for the same seed."""
    pair = norm(1e-5)
    inputs = pair.draw(np.random.default_rng(0))
    result = check(pair.forward, pair.backward, inputs, seed=3)
    result.raise_for_error()
    assert len(repr(result).splitlines()) == 4
    assert repr(check(pair.forward, pair.backward, inputs, seed=3)) == repr(result)


def test_the_callers_random_state_is_left_alone() -> None:
    """No global seed is set or drawn from."""
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    check(slope_two().forward, slope_two().backward, (np.ones(3),))
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002

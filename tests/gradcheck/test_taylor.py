"""The Taylor remainder has order 2 for a gradient and 1 for a wrong one, and measures the error."""

from __future__ import annotations

import numpy as np
import pytest

from mabn_ref.gradcheck import check
from tests.gradcheck.passes import RIGHT, WRONG, slope_two, softmax_loss, tanh_layer


@pytest.mark.parametrize("name", ["norm, eps 1e-5", "tanh layer", "softmax loss"])
def test_order_two(name: str) -> None:
    """And a first-order part far below any error that matters."""
    pair = RIGHT[name]
    for seed in range(15):
        result = check(pair.forward, pair.backward, pair.draw(np.random.default_rng(seed)), seed=seed)
        taylor = result.inputs[0].taylor
        assert taylor.order == pytest.approx(2, abs=0.2)
        assert taylor.a < 1e-5


@pytest.mark.parametrize("name", ["norm, one per cent", "norm, unbiased", "norm, psi dropped", "norm, zero"])
def test_order_one(name: str) -> None:
    """Printed with the failure."""
    pair = WRONG[name]
    orders = []
    for seed in range(15):
        result = check(pair.forward, pair.backward, pair.draw(np.random.default_rng(seed)), seed=seed)
        orders.append(result.inputs[0].taylor.order)
        assert f"Taylor {result.inputs[0].taylor}" in repr(result)
    assert np.median(orders) == pytest.approx(1, abs=0.05)


def test_measures_the_error() -> None:
    """A slope of 2.001 for 2 is off by one part in two thousand, times the length of the direction, 1/2 to 3/2."""
    pair = slope_two(2.001)
    for seed in range(20):
        taylor = check(pair.forward, pair.backward, (np.array([0.7]),), seed=seed).worst.taylor
        length = taylor.a / (0.001 / 2.001)
        assert length * 64 == pytest.approx(round(length * 64), rel=1e-9)
        assert 0.5 <= round(length, 6) <= 1.5
        assert str(taylor) == f"{taylor.a:.1e} (order 1.00)"


def test_exact_where_the_remainder_is_rounding() -> None:
    """A linear function has no other; `floor` says how much of a it explains."""
    w = np.random.default_rng(0).standard_normal((5, 4))
    for seed in range(20):
        x = np.random.default_rng(seed).standard_normal((3, 5)) + 3
        taylor = check(lambda x: (x @ w, None), lambda dout, _: dout @ w.T, (x,), seed=seed).worst.taylor
        assert str(taylor) == "exact"
        assert np.isnan(taylor.order)
        assert 0 < taylor.a <= taylor.floor < 1e-7


def test_scalar_loss_and_matrix() -> None:
    """Every input has one."""
    for pair in (softmax_loss(), tanh_layer()):
        result = check(pair.forward, pair.backward, pair.draw(np.random.default_rng(1)))
        assert all(found.taylor.a < 1e-5 for found in result.inputs)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_direction_is_as_long_as_the_input_is_spread(scale: float) -> None:
    """Else the remainder of a small input is far from straight, and that of a large one is rounding."""
    x = scale * np.array([0.3, -1.2, 0.8])
    result = check(lambda x: (np.sin(x / scale), x), lambda dout, x: dout * np.cos(x / scale) / scale, (x,))
    assert result.worst.taylor.order == pytest.approx(2, abs=0.1)

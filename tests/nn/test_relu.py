from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from mabn_ref.gradcheck import check
from mabn_ref.nn import relu
from tests.strategies import dimensions, sample, seeds


@given(dims=dimensions(values=1), seed=seeds)
def test_gradient_away_from_the_kink(dims, seed):
    """Scales of 1e-3 to 1e3, ranks 2 to 5; no value closer to 0 than a step of the differences.

    eq: relu-forward, relu-backward
    """
    rng = np.random.default_rng(seed)
    x = sample(rng, dims.shape)
    x += np.copysign(0.1 * np.abs(x).max(axis=tuple(range(x.ndim - 1))), x)
    check(relu.forward, relu.backward, (x,)).raise_for_error()
    out, cache = relu.forward(x)
    dout = rng.standard_normal(x.shape)
    assert np.array_equal(out, np.where(x > 0, x, 0))
    assert np.array_equal(relu.backward(dout, cache), np.where(x > 0, dout, 0))


@pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 3, 3, 2)])
def test_gradient(central_differences, shape):
    """eq: relu-forward, relu-backward"""
    rng = np.random.default_rng(0)
    x, dout = rng.standard_normal(shape), rng.standard_normal(shape)
    out, cache = relu.forward(x)
    assert out.tolist() == [max(v, 0.0) for v in x] if x.ndim == 1 else out.shape == shape
    expected = central_differences(lambda v: np.sum(dout * relu.forward(v)[0]), x)
    np.testing.assert_allclose(relu.backward(dout, cache), expected, rtol=1e-9, atol=1e-10)
    assert (x < 0).any()
    assert (x > 0).any()


def test_the_gradient_at_zero_is_zero_and_nan_stays():
    """eq: relu-backward"""
    out, cache = relu.forward(np.array([0.0, -0.0, np.nan, np.inf, -np.inf]))
    assert np.array_equal(out, [0.0, 0.0, np.nan, np.inf, 0.0], equal_nan=True)
    assert relu.backward(np.array([3.0, 3.0, 3.0, 3.0, 3.0]), cache).tolist() == [0.0, 0.0, 3.0, 3.0, 0.0]
    assert np.isnan(relu.backward(np.full(5, np.nan), cache)).all()


def test_bad_input_is_refused():
    with pytest.raises(TypeError, match="x has dtype int64, expected float32 or float64"):
        relu.forward(np.arange(3))
    _, cache = relu.forward(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"dout has shape \(3, 2\), expected \(2, 3\)"):
        relu.backward(np.zeros((3, 2)), cache)

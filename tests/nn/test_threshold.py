from __future__ import annotations

import numpy as np
import pytest

from mabn_ref.gradcheck import check
from mabn_ref.nn import relu, threshold


def test_both_passes_and_relu_at_threshold_zero():
    """eq: threshold-forward, threshold-backward, relu-forward"""
    rng = np.random.default_rng(0)
    x, dout, tau = rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 3, 4)), rng.standard_normal(4)
    check(threshold.forward, threshold.backward, (x, tau)).raise_for_error()
    out, cache = threshold.forward(x, tau)
    np.testing.assert_array_equal(out, np.where(x > tau, x, tau))
    dx, dtau = threshold.backward(dout, cache)
    np.testing.assert_allclose(dx.sum(axis=(0, 1)) + dtau, dout.sum(axis=(0, 1)), rtol=1e-12)
    zero, held = threshold.forward(x, np.zeros(4))
    other, relu_cache = relu.forward(x)
    np.testing.assert_array_equal(zero, other)
    np.testing.assert_array_equal(threshold.backward(dout, held)[0], relu.backward(dout, relu_cache))


def test_at_the_threshold_the_gradient_is_the_thresholds_and_nan_passes():
    """eq: threshold-backward"""
    out, cache = threshold.forward(np.array([[1.0], [np.nan], [1.5]]), np.array([1.0]))
    np.testing.assert_array_equal(out.ravel(), [1.0, np.nan, 1.5])
    dx, dtau = threshold.backward(np.array([[2.0], [3.0], [4.0]]), cache)
    assert dx.ravel().tolist() == [0.0, 3.0, 4.0]
    assert dtau.tolist() == [2.0]


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"tau has shape \(2,\), expected \(3,\): one for each channel of x"):
        threshold.forward(np.zeros((2, 3)), np.zeros(2))
    with pytest.raises(ValueError, match=r"x has shape \(\), expected \(..., C\): channels last"):
        threshold.forward(np.float64(1.0), np.zeros(1))
    with pytest.raises(TypeError, match="x has dtype int64"):
        threshold.forward(np.zeros((2, 3), dtype=int), np.zeros(3))
    _, cache = threshold.forward(np.zeros((2, 3)), np.zeros(3))
    with pytest.raises(ValueError, match=r"dout has shape \(3, 2\), expected \(2, 3\)"):
        threshold.backward(np.zeros((3, 2)), cache)

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabn_ref.nn import centralize


@given(st.tuples(*[st.integers(1, 3)] * 4), st.integers(0, 2**32 - 1))
def test_gradient(central_differences, shape, seed):
    """eq: centralize-forward (18), centralize-backward"""
    rng = np.random.default_rng(seed)
    w, dw_c = rng.standard_normal(shape), rng.standard_normal(shape)
    w_c, cache = centralize.forward(w)
    for o in range(shape[3]):
        np.testing.assert_allclose(w_c[..., o], w[..., o] - w[..., o].sum() / w[..., o].size, rtol=1e-13, atol=1e-14)
    expected = central_differences(lambda v: np.sum(dw_c * centralize.forward(v)[0]), w, h=1.0)
    np.testing.assert_allclose(centralize.backward(dw_c, cache), expected, rtol=1e-12, atol=1e-13)


def test_a_constant_on_a_filter_changes_nothing():
    """eq: centralize-forward (18)"""
    rng = np.random.default_rng(0)
    w = rng.standard_normal((3, 3, 4, 5))
    np.testing.assert_allclose(
        centralize.forward(w + rng.standard_normal(5))[0], centralize.forward(w)[0], atol=1e-14
    )


def test_a_large_mean_leaves_no_rounding_behind():
    """eq: centralize-forward (18)"""
    small = np.random.default_rng(1).integers(-8, 9, (3, 3, 4, 5)) / 8
    w_c, _ = centralize.forward((small + 2.0**20).astype(np.float32))  # exact
    np.testing.assert_allclose(w_c, small - small.mean(axis=(0, 1, 2)), rtol=0, atol=1e-6)
    w_c, _ = centralize.forward(np.full((3, 3, 4, 5), 0.1))
    assert not w_c.any()


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"w has shape \(3, 3\), expected \(kh, kw, in, out\)"):
        centralize.forward(np.zeros((3, 3)))
    with pytest.raises(TypeError, match="w has dtype int64"):
        centralize.forward(np.zeros((1, 1, 2, 2), dtype=int))
    _, cache = centralize.forward(np.zeros((1, 1, 2, 2)))
    with pytest.raises(ValueError, match=r"dw_c has shape \(1, 1, 2, 3\), expected \(1, 1, 2, 2\)"):
        centralize.backward(np.zeros((1, 1, 2, 3)), cache)

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


def test_float32_stays_float32_and_inputs_stay(frozen):
    w, dw_c = frozen(*np.random.default_rng(1).standard_normal((2, 3, 3, 4, 5), dtype=np.float32))
    w_c, cache = centralize.forward(w)
    assert w_c.dtype == centralize.backward(dw_c, cache).dtype == np.float32


def test_runs_in_another_array_library(strict, to_numpy):
    w, dw_c = np.random.default_rng(2).standard_normal((2, 3, 3, 4, 5))
    w_c, cache = centralize.forward(w)
    other, other_cache = centralize.forward(strict(w))
    np.testing.assert_allclose(to_numpy(other), w_c, atol=1e-14)
    np.testing.assert_allclose(
        to_numpy(centralize.backward(strict(dw_c), other_cache)), centralize.backward(dw_c, cache), atol=1e-14
    )


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"w has shape \(3, 3\), expected \(kh, kw, in, out\)"):
        centralize.forward(np.zeros((3, 3)))
    with pytest.raises(TypeError, match="w has dtype int64"):
        centralize.forward(np.zeros((1, 1, 2, 2), dtype=int))
    _, cache = centralize.forward(np.zeros((1, 1, 2, 2)))
    with pytest.raises(ValueError, match=r"dw_c has shape \(1, 1, 2, 3\), expected \(1, 1, 2, 2\)"):
        centralize.backward(np.zeros((1, 1, 2, 3)), cache)

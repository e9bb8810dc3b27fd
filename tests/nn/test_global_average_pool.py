from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabn_ref.nn import global_average_pool


@given(st.tuples(*[st.integers(1, 4)] * 4), st.integers(0, 2**32 - 1))
def test_gradient(central_differences, shape, seed):
    """eq: global-average-pool-forward, global-average-pool-backward"""
    rng = np.random.default_rng(seed)
    x, dout = rng.standard_normal(shape), rng.standard_normal((shape[0], shape[3]))
    out, cache = global_average_pool.forward(x)
    np.testing.assert_allclose(out, x.reshape(shape[0], -1, shape[3]).sum(1) / (shape[1] * shape[2]), atol=1e-14)
    expected = central_differences(lambda v: np.sum(dout * global_average_pool.forward(v)[0]), x, h=1.0)
    np.testing.assert_allclose(global_average_pool.backward(dout, cache), expected, rtol=1e-11, atol=1e-12)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"x has shape \(2, 3\), expected \(N, H, W, C\): channels last"):
        global_average_pool.forward(np.zeros((2, 3)))
    with pytest.raises(TypeError, match="x has dtype float16"):
        global_average_pool.forward(np.zeros((2, 3, 3, 1), dtype=np.float16))
    _, cache = global_average_pool.forward(np.zeros((2, 3, 3, 5)))
    with pytest.raises(ValueError, match=r"dout has shape \(2, 3\), expected \(2, 5\)"):
        global_average_pool.backward(np.zeros((2, 3)), cache)

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabn_ref.nn import linear


@given(st.tuples(*[st.integers(1, 5)] * 3), st.integers(0, 2**32 - 1))
def test_gradient(central_differences, sizes, seed):
    """eq: linear-forward, linear-backward"""
    n, features_in, features_out = sizes
    rng = np.random.default_rng(seed)
    x, w, b = (rng.standard_normal(s) for s in ((n, features_in), (features_in, features_out), features_out))
    dout = rng.standard_normal((n, features_out))
    out, cache = linear.forward(x, w, b)
    for i, o in np.ndindex(n, features_out):
        assert out[i, o] == pytest.approx(
            sum(x[i, k] * w[k, o] for k in range(features_in)) + b[o], rel=1e-12, abs=1e-12
        )
    dx, dw, db = linear.backward(dout, cache)
    for ours, expected in (
        (dx, central_differences(lambda v: np.sum(dout * linear.forward(v, w, b)[0]), x, h=1.0)),
        (dw, central_differences(lambda v: np.sum(dout * linear.forward(x, v, b)[0]), w, h=1.0)),
        (db, central_differences(lambda v: np.sum(dout * linear.forward(x, w, v)[0]), b, h=1.0)),
    ):
        np.testing.assert_allclose(ours, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.frameworks
def test_agrees_with_pytorch():
    """eq: linear-forward, linear-backward"""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    rng = np.random.default_rng(0)
    x, w, b, dout = (rng.standard_normal(shape) for shape in ((6, 4), (4, 5), (5,), (6, 5)))
    tx, tw, tb = (torch.tensor(v, requires_grad=True) for v in (x, w.T, b))
    tout = torch.nn.functional.linear(tx, tw, tb)
    tout.backward(torch.tensor(dout))
    out, cache = linear.forward(x, w, b)
    dx, dw, db = linear.backward(dout, cache)
    for ours, theirs in ((out, tout.detach()), (dx, tx.grad), (dw, tw.grad.T), (db, tb.grad)):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-12, atol=1e-12)


def test_bad_input_is_refused():
    x, w, b = np.zeros((3, 4)), np.zeros((4, 2)), np.zeros(2)
    with pytest.raises(ValueError, match=r"x has shape \(4,\), expected \(N, in\)"):
        linear.forward(x[0], w, b)
    with pytest.raises(ValueError, match=r"w has shape \(2,\), expected \(in, out\)"):
        linear.forward(x, w[0], b)
    with pytest.raises(ValueError, match=r"x has 4 features, expected 2: w \(in, out\) has shape \(2, 4\)"):
        linear.forward(x, w.T, b)
    with pytest.raises(ValueError, match=r"b has shape \(4,\), expected \(2,\)"):
        linear.forward(x, w, np.zeros(4))
    with pytest.raises(TypeError, match="b has dtype float32, expected float64, the dtype of x"):
        linear.forward(x, w, b.astype(np.float32))
    _, cache = linear.forward(x, w, b)
    with pytest.raises(ValueError, match=r"dout has shape \(3, 4\), expected \(3, 2\)"):
        linear.backward(x, cache)

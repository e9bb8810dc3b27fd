from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabn_ref.nn import upsample

shapes = st.tuples(*[st.integers(1, 3)] * 4)


@given(shapes, st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_both_passes_pixel_by_pixel(shape, factor, seed):
    """Backward is the transpose of forward: <dout, forward(x)> = <backward(dout), x>.

    eq: upsample-forward, upsample-backward
    """
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    out, cache = upsample.forward(x, factor=factor)
    assert out.shape == (shape[0], factor * shape[1], factor * shape[2], shape[3])
    for i, j in np.ndindex(*out.shape[1:3]):
        np.testing.assert_array_equal(out[:, i, j], x[:, i // factor, j // factor])
    dout = rng.standard_normal(out.shape)
    dx = upsample.backward(dout, cache)
    assert dx.shape == shape
    np.testing.assert_allclose(np.sum(dout * out), np.sum(dx * x), rtol=1e-11, atol=1e-12)
    h, w = rng.integers(0, shape[1]), rng.integers(0, shape[2])
    square = dout[:, factor * h : factor * (h + 1), factor * w : factor * (w + 1)]
    np.testing.assert_allclose(dx[:, h, w], square.sum(axis=(1, 2)), rtol=1e-12, atol=1e-13)


@pytest.mark.frameworks
def test_against_autograd():
    """eq: upsample-forward, upsample-backward"""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    rng = np.random.default_rng(0)
    x, dout = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal((2, 9, 12, 5))
    leaf = torch.tensor(x.transpose(0, 3, 1, 2).copy(), requires_grad=True)
    theirs = torch.nn.functional.interpolate(leaf, scale_factor=3, mode="nearest")
    theirs.backward(torch.tensor(dout.transpose(0, 3, 1, 2).copy()))
    out, cache = upsample.forward(x, factor=3)
    np.testing.assert_array_equal(out, theirs.detach().numpy().transpose(0, 2, 3, 1))
    dx = upsample.backward(dout, cache)
    np.testing.assert_allclose(dx, leaf.grad.numpy().transpose(0, 2, 3, 1), rtol=1e-12, atol=1e-12)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"x has shape \(3, 3\), expected \(N, H, W, C\): channels last"):
        upsample.forward(np.zeros((3, 3)))
    with pytest.raises(TypeError, match="x has dtype int64"):
        upsample.forward(np.zeros((1, 1, 2, 2), dtype=int))
    with pytest.raises(ValueError, match="factor is 0, expected an integer of at least 1"):
        upsample.forward(np.zeros((1, 1, 2, 2)), factor=0)
    with pytest.raises(TypeError, match=r"factor is 1\.5, expected an integer of at least 1"):
        upsample.forward(np.zeros((1, 1, 2, 2)), factor=1.5)
    _, cache = upsample.forward(np.zeros((1, 1, 2, 2)))
    with pytest.raises(ValueError, match=r"dout has shape \(1, 1, 2, 2\), expected \(1, 2, 4, 2\)"):
        upsample.backward(np.zeros((1, 1, 2, 2)), cache)

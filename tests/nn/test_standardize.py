from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabn_ref.gradcheck import check, exact
from mabn_ref.nn import centralize, standardize

shapes = st.tuples(*[st.integers(1, 3)] * 4).filter(lambda shape: shape[0] * shape[1] * shape[2] > 1)
seeds = st.integers(0, 2**32 - 1)
EPS = [0.0, 1e-5, 0.1, 1.0]


def draw(rng, shape):
    """Filters of very different scales and offsets, and a cotangent."""
    scale = 10 ** rng.uniform(-3, 3, shape[3])
    return scale * (rng.standard_normal(shape) + rng.uniform(-3, 3, shape[3])), rng.standard_normal(shape)


@given(shape=shapes, seed=seeds, eps=st.sampled_from(EPS))
def test_forward_one_filter_at_a_time(shape, seed, eps):
    """eq: standardize-forward"""
    w, _ = draw(np.random.default_rng(seed), shape)
    w_s, cache = standardize.forward(w, eps=eps)
    for o in range(shape[3]):
        values = w[..., o].ravel().tolist()
        mean = sum(values) / len(values)
        sigma = (sum((v - mean) ** 2 for v in values) / len(values) + eps) ** 0.5
        np.testing.assert_allclose(w_s[..., o].ravel(), [(v - mean) / sigma for v in values], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(cache.sigma[0, 0, 0, o], sigma, rtol=1e-12)


@given(
    shape=shapes.filter(lambda shape: shape[0] * shape[1] * shape[2] > 2), seed=seeds, eps=st.sampled_from(EPS[1:])
)
def test_gradient(shape, seed, eps):
    """Central differences and complex step. eq: standardize-backward"""
    w, _ = draw(np.random.default_rng(seed), shape)
    check(lambda w: standardize.forward(w, eps=eps), standardize.backward, (w,), seed=seed % 97).raise_for_error()


def test_gradient_in_exact_arithmetic():
    """eq: standardize-forward, standardize-backward"""
    w = exact(1e3 + 1e-3 * np.random.default_rng(0).standard_normal((2, 1, 3, 2)))
    result = check(lambda w: standardize.forward(w, eps=1e-5), standardize.backward, (w,))
    assert result.verdict == "ok", result
    assert result.worst.error <= 1e-25


@given(shape=shapes, seed=seeds)
def test_what_standardising_removes(shape, seed):
    """A filter's shift and scale leave W_s as it is, so that dW has no part along either; and signs survive.

    eq: standardize-forward, standardize-backward
    """
    rng = np.random.default_rng(seed)
    w, dw_s = draw(rng, shape)
    w_s, cache = standardize.forward(w, eps=0.0)
    n = w[..., 0].size
    np.testing.assert_allclose(w_s.sum((0, 1, 2)), 0, atol=1e-11 * n)
    np.testing.assert_allclose((w_s**2).sum((0, 1, 2)), n, rtol=1e-12)
    np.testing.assert_allclose(standardize.forward(8 * w, eps=0.0)[0], w_s, rtol=1e-12, atol=1e-12)
    scaled = standardize.backward(dw_s, cache) * cache.sigma
    np.testing.assert_allclose(scaled.sum((0, 1, 2)), 0, atol=1e-12 * n)
    np.testing.assert_allclose((scaled * w_s).sum((0, 1, 2)), 0, atol=1e-11 * n)
    w_c = centralize.forward(w)[0]
    np.testing.assert_allclose(w_s * cache.sigma, w_c, rtol=1e-12, atol=1e-12 * np.abs(w).max())


@pytest.mark.frameworks
@pytest.mark.parametrize("eps", EPS)
def test_against_autograd(eps):
    """1e-12 against PyTorch's automatic differentiation. eq: standardize-forward, standardize-backward"""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    rng = np.random.default_rng(4)
    for shape in ((3, 3, 4, 5), (1, 1, 7, 2), (2, 3, 1, 3)):
        w, dw_s = draw(rng, shape)
        leaf = torch.tensor(w, requires_grad=True)
        var, mean = torch.var_mean(leaf, dim=(0, 1, 2), correction=0, keepdim=True)
        theirs = (leaf - mean) / torch.sqrt(var + eps)
        theirs.backward(torch.tensor(dw_s))
        w_s, cache = standardize.forward(w, eps=eps)
        for ours, other in ((w_s, theirs.detach().numpy()), (standardize.backward(dw_s, cache), leaf.grad.numpy())):
            size = np.abs(other).max(axis=(0, 1, 2))
            assert np.all(np.abs(ours - other) <= 1e-12 * size)


def test_nan_is_not_masked():
    w = np.ones((1, 1, 3, 2))
    w[0, 0, 1, 0] = np.nan
    w_s, cache = standardize.forward(w)
    assert np.all(np.isnan(w_s[..., 0]))
    assert not np.any(np.isnan(w_s[..., 1]))
    assert np.all(np.isnan(standardize.backward(np.ones_like(w), cache)[..., 0]))


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"w has shape \(3, 3\), expected \(kh, kw, in, out\)"):
        standardize.forward(np.zeros((3, 3)))
    with pytest.raises(ValueError, match=r"w has shape \(1, 1, 1, 5\): one value per filter"):
        standardize.forward(np.zeros((1, 1, 1, 5)))
    with pytest.raises(TypeError, match="w has dtype int64"):
        standardize.forward(np.zeros((1, 1, 2, 2), dtype=int))
    with pytest.raises(ValueError, match=r"eps is -0.1, expected a finite number of at least 0"):
        standardize.forward(np.zeros((1, 1, 2, 2)), eps=-0.1)
    with pytest.raises(TypeError, match=r"eps is None"):
        standardize.forward(np.zeros((1, 1, 2, 2)), eps=None)
    _, cache = standardize.forward(np.zeros((1, 1, 2, 2)))
    with pytest.raises(ValueError, match=r"dw_s has shape \(1, 1, 2, 3\), expected \(1, 1, 2, 2\)"):
        standardize.backward(np.zeros((1, 1, 2, 3)), cache)
    with pytest.raises(TypeError, match="dw_s has dtype float32, expected float64"):
        standardize.backward(np.zeros((1, 1, 2, 2), dtype=np.float32), cache)
    with np.errstate(over="ignore"), pytest.raises(OverflowError, match="w "):
        standardize.forward(np.full((1, 1, 2, 2), 1e200) * [[1.0], [-1.0]])


def test_bad_input_of_scaled_filters_is_refused():
    w, gain = np.random.default_rng(0).standard_normal((2, 2, 3, 4)), np.ones(4)
    with pytest.raises(ValueError, match=r"w has shape \(3, 4\), expected \(kh, kw, in, out\)"):
        standardize.scaled(w[0, 0], gain)
    with pytest.raises(ValueError, match=r"gain has shape \(3,\), expected \(4,\), one for each filter"):
        standardize.scaled(w, gain[:3])
    with pytest.raises(ValueError, match=r"eps is -1, expected a finite number of at least 0"):
        standardize.scaled(w, gain, eps=-1)
    out, cache = standardize.scaled(w, gain)
    with pytest.raises(ValueError, match=r"dout has shape \(1, 2, 3, 4\), expected \(2, 2, 3, 4\)"):
        standardize.scaled_backward(out[:1], cache)


def test_the_usual_eps():
    """PyTorch's batch norm has 1e-5, and Brock's code 1e-4."""
    w, gain = np.random.default_rng(0).standard_normal((2, 2, 3, 4)), np.ones(4)
    np.testing.assert_array_equal(standardize.forward(w)[0], standardize.forward(w, eps=1e-5)[0])
    np.testing.assert_array_equal(standardize.scaled(w, gain)[0], standardize.scaled(w, gain, eps=1e-4)[0])

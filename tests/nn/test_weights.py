from __future__ import annotations

import numpy as np
import pytest

from mabn_ref.gradcheck import check
from mabn_ref.nn import centralize, standardize


def drawn(shape=(2, 3, 2, 4)):
    rng = np.random.default_rng(0)
    return rng.standard_normal(shape) + 1, rng.uniform(0.5, 2, shape[-1])


@pytest.mark.parametrize("eps", [0.0, 1e-4, 1.0])
def test_both_passes(eps):
    """eq: scaled-standardize-forward, scaled-standardize-backward"""
    w, gain = drawn()
    check(
        lambda w, gain: standardize.scaled(w, gain, eps=eps), standardize.scaled_backward, (w, gain)
    ).raise_for_error()
    out, _ = standardize.scaled(w, gain, eps=eps)
    for o in range(4):
        f = w[..., o]
        expected = gain[o] * (f - f.mean()) / np.sqrt(f.size * f.var() + eps)
        np.testing.assert_allclose(out[..., o], expected, rtol=1e-12, atol=1e-14)
    if not eps:
        np.testing.assert_allclose(np.sqrt((out**2).sum(axis=(0, 1, 2))), gain, rtol=1e-12)


def test_another_array_library_and_float32(strict, to_numpy, frozen):
    w, gain = frozen(*drawn())
    out, cache = standardize.scaled(w, gain)
    other, held = standardize.scaled(strict(w), strict(gain))
    np.testing.assert_allclose(to_numpy(other), out, rtol=1e-13)
    for a, b in zip(standardize.scaled_backward(other, held), standardize.scaled_backward(out, cache), strict=True):
        np.testing.assert_allclose(to_numpy(a), b, rtol=1e-10, atol=1e-13)
    single, _ = standardize.scaled(w.astype(np.float32), gain.astype(np.float32))
    assert single.dtype == np.float32


def test_bad_input_is_refused():
    w, gain = drawn()
    with pytest.raises(ValueError, match=r"gain has shape \(3,\), expected \(4,\), one for each filter"):
        standardize.scaled(w, gain[:3])
    with pytest.raises(ValueError, match=r"eps is -1"):
        standardize.scaled(w, gain, eps=-1.0)


def test_a_step_along_a_centralised_gradient_leaves_every_filters_mean():
    """eq: gradient-centralize"""
    rng = np.random.default_rng(1)
    w, dw = 3 + rng.standard_normal((2, 3, 3, 4, 5))
    centred = centralize.of_gradient(dw)
    np.testing.assert_allclose(centred, dw - dw.mean(axis=(0, 1, 2)), rtol=1e-12, atol=1e-13)
    moved = w - 0.3 * centred
    np.testing.assert_allclose(moved.mean(axis=(0, 1, 2)), w.mean(axis=(0, 1, 2)), rtol=1e-13)
    with pytest.raises(ValueError, match=r"dw has shape \(3, 3\), expected \(kh, kw, in, out\)"):
        centralize.of_gradient(np.ones((3, 3)))

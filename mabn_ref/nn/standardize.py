"""Weight standardisation: every output filter to mean 0 and variance 1.

Qiao et al., "Micro-Batch Training with Batch-Channel Normalization and Weight Standardization", 2019. It is weight
centralisation (`mabn_ref.nn.centralize`) and a division, which adds a second statistic to the backward pass.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from mabn_ref.arrays import Array, check_at_least, check_own, check_shaped, check_squares, copied, namespace, total
from mabn_ref.nn import centralize
from mabn_ref.nn.common import check_cotangent, check_rank, check_varied


class Cache(NamedTuple):
    """What `backward` needs: a copy of the output, and `sigma` (1, 1, 1, out), sqrt(variance + eps) per filter."""

    w_s: Array
    sigma: Array


def forward(w: Array, *, eps: float = 1e-5) -> tuple[Array, Cache]:
    """Return W_s = (W - mean(W)) / sqrt(var(W) + eps), mean and biased variance over (kh, kw, in) of each filter.

    Implements :eq:`standardize-forward`. A filter has at least two numbers. If the sum of the squares of finite
    values of `w` is too large for its dtype, that is an OverflowError.
    """
    check_rank("w", w, "kh, kw, in, out")
    check_at_least("eps", eps, 0)
    check_varied(math.prod(w.shape[:3]), f"w has shape {tuple(w.shape)}", "filter")
    xp, axes, eps = namespace(w), (0, 1, 2), float(eps)
    centred = centralize.centred(w)
    var = xp.mean(centred * centred, axis=axes, keepdims=True)
    check_squares("w", w, var, place="filter")
    sigma = xp.sqrt(var + eps)
    w_s = centred / sigma  # eq: standardize-forward
    return w_s, Cache(copied(w_s), sigma)


def backward(dw_s: Array, cache: Cache) -> Array:
    """Return dL/dW: :eq:`standardize-backward`, which is :eq:`bn-backward` (4) for a filter.

    Examples
    --------
    Any two different numbers are -1 and 1 when standardised:

    >>> import numpy as np
    >>> w_s, cache = forward(np.array([1.0, 3.0]).reshape(1, 1, 2, 1), eps=0.0)
    >>> w_s.ravel(), backward(np.array([5.0, 6.0]).reshape(1, 1, 2, 1), cache).ravel()
    (array([-1.,  1.]), array([0., 0.]))
    """
    check_own((cache, Cache))
    check_cotangent("dw_s", dw_s, tuple(cache.w_s.shape), cache.w_s, "w")
    xp, axes, (w_s, sigma) = namespace(dw_s), (0, 1, 2), cache
    g = xp.mean(dw_s, axis=axes, keepdims=True)
    psi = xp.mean(w_s * dw_s, axis=axes, keepdims=True)
    dw: Array = (dw_s - g - w_s * psi) / sigma  # eq: standardize-backward
    return dw


def scaled(w: Array, gain: Array, *, eps: float = 1e-4) -> tuple[Array, tuple[Cache, Array]]:
    """Return filters of length gain, (out,), and a cache for `scaled_backward`: :eq:`scaled-standardize-forward`.

    Brock, De and Smith, 2021. Such filters preserve the scale of their input without a normaliser.
    """
    check_at_least("eps", eps, 0)
    check_rank("w", w, "kh, kw, in, out")
    check_shaped("gain", gain, tuple(w.shape[3:]), ", one for each filter", like=w, like_name="w")
    n = math.prod(w.shape[:3])
    w_s, cache = forward(w, eps=eps / n)
    return w_s * (gain / math.sqrt(n)), (cache, copied(gain))  # eq: scaled-standardize-forward


def scaled_backward(dout: Array, cache: tuple[Cache, Array]) -> tuple[Array, Array]:
    """Return dL/dW and dL/dgain of `scaled`: :eq:`scaled-standardize-backward`."""
    standardized, gain = cache
    check_cotangent("dout", dout, tuple(standardized.w_s.shape), standardized.w_s, "w")
    root = math.sqrt(math.prod(dout.shape[:3]))
    dgain = total(dout * standardized.w_s) / root  # eq: scaled-standardize-backward
    return backward(dout * (gain / root), standardized), dgain  # eq: scaled-standardize-backward

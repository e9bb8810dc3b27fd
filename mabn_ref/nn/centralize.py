"""Weight centralisation (18): subtract its mean from every output filter, without dividing by anything.

MABN drops the mean of the activations from its statistics; filters that sum to zero keep that mean small.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from mabn_ref.arrays import Array, check_own, namespace
from mabn_ref.nn.common import check_cotangent, check_rank


class Cache(NamedTuple):
    """The shape (kh, kw, in, out) and dtype of w, to check dL/dW_c; as centring is linear, no more is needed."""

    shape: tuple[int, ...]
    dtype: Any


def forward(w: Array) -> tuple[Array, Cache]:
    """Return W_c = W - mean(W), the mean taken per output filter over (kh, kw, in), so that each filter sums to zero.

    Implements :eq:`centralize-forward`, equation (18) of Yan et al. (2020).

    Examples
    --------
    >>> import numpy as np
    >>> w_c, cache = forward(np.array([1.0, 2.0, 6.0]).reshape(1, 1, 3, 1))
    >>> w_c[0, 0, :, 0]
    array([-2., -1.,  3.])
    """
    check_rank("w", w, "kh, kw, in, out")
    return centred(w), Cache(tuple(w.shape), w.dtype)


def centred(w: Array) -> Array:
    """Each filter of (kh, kw, in, out) minus its mean.

    The filter's first number is subtracted from all, then the mean of the differences from these, so that a large
    mean leaves no rounding behind, and equal numbers become exactly 0.
    """
    w = w - w[:1, :1, :1, :]
    w_c: Array = w - namespace(w).mean(w, axis=(0, 1, 2), keepdims=True)  # eq: centralize-forward (18)
    return w_c


def backward(dw_c: Array, cache: Cache) -> Array:
    """Return dL/dW, by the same subtraction, as centring is a symmetric projection: :eq:`centralize-backward`."""
    check_own((cache, Cache))
    check_cotangent("dw_c", dw_c, cache.shape, cache.dtype, "w")
    return centred(dw_c)  # eq: centralize-backward


def of_gradient(dw: Array) -> Array:
    """Gradient centralisation: the gradient of a weight minus its mean per filter: :eq:`gradient-centralize`.

    Yong et al., 2020. The weight itself is not centred. This goes between backward and the optimiser: a step without
    weight decay then leaves the mean of every filter unchanged.
    """
    check_rank("dw", dw, "kh, kw, in, out")
    return centred(dw)  # eq: gradient-centralize

"""Weight centralisation (18): subtract from every output filter its mean; nothing is divided.

MABN drops the mean of the activations from its statistics; filters that sum to zero keep that mean small.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from mabn_ref.arrays import Array, check_own, namespace
from mabn_ref.nn.checks import check_cotangent, check_rank

__all__ = ["Cache", "backward", "forward"]


class Cache(NamedTuple):
    """What `backward` needs: centring is linear, so only what a cotangent is checked against.

    Attributes
    ----------
    shape : tuple of int
        (kh, kw, in, out).
    dtype : dtype
        Of the weight.
    """

    shape: tuple[int, ...]
    dtype: Any


def forward(w: Array) -> tuple[Array, Cache]:
    """Return W_c = W - mean(W), the mean taken per output filter over (kh, kw, in).

    Parameters
    ----------
    w : array of float32 or float64, shape (kh, kw, in, out)
        A convolution's weight.

    Returns
    -------
    w_c : array, shape (kh, kw, in, out)
        The centred weight: every filter ``w_c[:, :, :, o]`` sums to zero.
    cache : Cache
        For `backward`.

    Raises
    ------
    TypeError
        If `w` has an integer, boolean or half dtype.
    ValueError
        If `w` has another rank than 4.

    Notes
    -----
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
    """Each filter of (kh, kw, in, out) less its mean.

    The mean is taken of the distances from the filter's first number, and subtracted from these, so that a large mean
    leaves no rounding behind, and equal numbers leave exactly 0.

    Examples
    --------
    >>> import numpy as np
    >>> centred(np.full((1, 1, 3, 1), np.float32(0.1))).ravel()
    array([0., 0., 0.], dtype=float32)
    """
    w = w - w[:1, :1, :1, :]
    w_c: Array = w - namespace(w).mean(w, axis=(0, 1, 2), keepdims=True)  # eq: centralize-forward (18)
    return w_c


def backward(dw_c: Array, cache: Cache) -> Array:
    """Return dL/dW: centring is a symmetric projection, so its backward pass is the same subtraction.

    Parameters
    ----------
    dw_c : array, shape (kh, kw, in, out)
        dL/dW_c.
    cache : Cache
        From `forward`.

    Returns
    -------
    array, shape (kh, kw, in, out)
        dL/dW.

    Raises
    ------
    TypeError, ValueError
        If `dw_c` has not the dtype or shape of the weight, or `cache` is none of this layer.

    Notes
    -----
    Implements :eq:`centralize-backward`.

    Examples
    --------
    >>> import numpy as np
    >>> w_c, cache = forward(np.ones((1, 1, 3, 1)))
    >>> backward(np.array([1.0, 2.0, 6.0]).reshape(1, 1, 3, 1), cache)[0, 0, :, 0]
    array([-2., -1.,  3.])
    """
    check_own((cache, Cache))
    check_cotangent("dw_c", dw_c, cache.shape, cache.dtype, "w")
    return centred(dw_c)  # eq: centralize-backward

"""Rectified linear unit: the positive part."""

from __future__ import annotations

from typing import Any, NamedTuple

from mabn_ref.arrays import Array, check_float_array, check_own, namespace
from mabn_ref.nn.checks import check_cotangent

__all__ = ["Cache", "backward", "forward"]


class Cache(NamedTuple):
    """What `backward` needs.

    Attributes
    ----------
    passes : array of bool, any shape
        Where the input was not zero or below: there the gradient passes.
    dtype : dtype
        Of the input.
    """

    passes: Array
    dtype: Any


def forward(x: Array) -> tuple[Array, Cache]:
    """Return max(x, 0); NaN stays NaN.

    Parameters
    ----------
    x : array of float32 or float64, any shape
        The input.

    Returns
    -------
    out : array, the shape and dtype of `x`
        The positive part.
    cache : Cache
        For `backward`.

    Raises
    ------
    TypeError
        If `x` has an integer, boolean or half dtype.

    Notes
    -----
    Implements :eq:`relu-forward`.

    Examples
    --------
    >>> import numpy as np
    >>> out, cache = forward(np.array([-1.0, 0.0, 2.0, np.nan]))
    >>> out
    array([ 0.,  0.,  2., nan])
    """
    check_float_array("x", x)
    out = namespace(x).maximum(x, 0)  # eq: relu-forward
    return out, Cache(~(x <= 0), x.dtype)  # NaN passes: it is never masked


def backward(dout: Array, cache: Cache) -> Array:
    """Return dL/dx: `dout` where the input was positive, zero elsewhere, at exactly 0 too.

    Parameters
    ----------
    dout : array, the shape and dtype of the output
        dL/dout.
    cache : Cache
        From `forward`.

    Returns
    -------
    array, the shape and dtype of the output
        dL/dx.

    Raises
    ------
    TypeError, ValueError
        If `dout` has not the dtype or shape of the output, or `cache` is none of this layer.

    Notes
    -----
    Implements :eq:`relu-backward`.

    Examples
    --------
    >>> import numpy as np
    >>> out, cache = forward(np.array([-1.0, 0.0, 2.0]))
    >>> backward(np.array([5.0, 6.0, 7.0]), cache)
    array([0., 0., 7.])
    """
    check_own((cache, Cache))
    check_cotangent("dout", dout, tuple(cache.passes.shape), cache.dtype, "x")
    # A product with the mask is ten times faster than a choice by it.
    positive = namespace(dout).astype(cache.passes, dout.dtype)
    dx = dout * positive  # eq: relu-backward
    return dx

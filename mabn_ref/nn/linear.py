"""Affine map of feature vectors."""

from __future__ import annotations

from typing import NamedTuple

from mabn_ref.arrays import Array, check_float_array, check_own, copied, total
from mabn_ref.nn.checks import check_cotangent, check_rank

__all__ = ["Cache", "backward", "forward"]


class Cache(NamedTuple):
    """What `backward` needs.

    Attributes
    ----------
    x : array, shape (N, in)
        A copy of the input.
    w : array, shape (in, out)
        A copy of the weight.
    """

    x: Array
    w: Array


def forward(x: Array, w: Array, b: Array) -> tuple[Array, Cache]:
    """Return x @ w + b.

    Parameters
    ----------
    x : array of float32 or float64, shape (N, in)
        Feature vectors.
    w : array of the dtype of `x`, shape (in, out)
        Weight.
    b : array of the dtype of `x`, shape (out,)
        Bias.

    Returns
    -------
    out : array, shape (N, out)
        The images of the vectors.
    cache : Cache
        For `backward`.

    Raises
    ------
    TypeError
        If an array has an integer, boolean or half dtype, or the dtypes differ.
    ValueError
        If ranks or feature counts do not fit.

    Notes
    -----
    Implements :eq:`linear-forward`.

    Examples
    --------
    >>> import numpy as np
    >>> out, cache = forward(np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]]), np.array([0.5]))
    >>> out
    array([[11.5]])
    """
    check_rank("x", x, "N, in")
    check_rank("w", w, "in, out", like=x)
    check_float_array("b", b, like=x)
    if x.shape[1] != w.shape[0]:
        raise ValueError(
            f"x has {x.shape[1]} features, expected {w.shape[0]}: w (in, out) has shape {tuple(w.shape)}"
        )
    if tuple(b.shape) != (w.shape[1],):
        raise ValueError(
            f"b has shape {tuple(b.shape)}, expected ({w.shape[1]},): w (in, out) has shape {tuple(w.shape)}"
        )
    out = x @ w + b  # eq: linear-forward
    return out, Cache(copied(x), copied(w))


def backward(dout: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """Return the gradients of `forward`.

    Parameters
    ----------
    dout : array, shape (N, out)
        dL/dout.
    cache : Cache
        From `forward`.

    Returns
    -------
    dx : array, shape (N, in)
        dL/dx.
    dw : array, shape (in, out)
        dL/dw.
    db : array, shape (out,)
        dL/db.

    Raises
    ------
    TypeError, ValueError
        If `dout` has not the dtype or shape of the output, or `cache` is none of this layer.

    Notes
    -----
    Implements :eq:`linear-backward`.

    Examples
    --------
    >>> import numpy as np
    >>> out, cache = forward(np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]]), np.array([0.5]))
    >>> dx, dw, db = backward(np.array([[10.0]]), cache)
    >>> dx, dw[:, 0], db
    (array([[30., 40.]]), array([10., 20.]), array([10.]))
    """
    check_own((cache, Cache))
    check_cotangent("dout", dout, (cache.x.shape[0], cache.w.shape[1]), cache.x, "x")
    dx = dout @ cache.w.T  # eq: linear-backward
    dw = cache.x.T @ dout  # eq: linear-backward
    db = total(dout)  # eq: linear-backward
    return dx, dw, db

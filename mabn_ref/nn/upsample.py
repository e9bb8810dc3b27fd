"""Nearest upsampling: every pixel becomes a square of pixels."""

from __future__ import annotations

from typing import Any, NamedTuple

from mabn_ref.arrays import Array, check_own, namespace
from mabn_ref.nn.checks import check_cotangent, check_rank, check_whole

__all__ = ["Cache", "backward", "forward"]


class Cache(NamedTuple):
    """What `backward` needs.

    Attributes
    ----------
    x_shape : tuple of int
        (N, H, W, C).
    dtype : dtype
        Of x.
    factor : int
        The side of a square.
    """

    x_shape: tuple[int, ...]
    dtype: Any
    factor: int


def forward(x: Array, *, factor: int = 2) -> tuple[Array, Cache]:
    """Repeat every pixel `factor` times along both axes.

    Parameters
    ----------
    x : array of float32 or float64, shape (N, H, W, C)
        Images.
    factor : int
        How much larger the output is along each axis.

    Returns
    -------
    out : array, shape (N, factor * H, factor * W, C)
        The larger images.
    cache : Cache
        For `backward`.

    Raises
    ------
    TypeError
        If `x` has an integer, boolean or half dtype, or `factor` is no integer.
    ValueError
        If `x` has another rank than 4, or `factor` is below 1.

    Notes
    -----
    Implements :eq:`upsample-forward`.

    Examples
    --------
    >>> import numpy as np
    >>> out, cache = forward(np.array([[1.0, 2.0]]).reshape(1, 1, 2, 1))
    >>> out[0, :, :, 0]
    array([[1., 1., 2., 2.],
           [1., 1., 2., 2.]])
    """
    check_rank("x", x, "N, H, W, C")
    check_whole("factor", factor, 1)
    xp = namespace(x)
    out = xp.repeat(xp.repeat(x, factor, axis=1), factor, axis=2)  # eq: upsample-forward
    return out, Cache(tuple(x.shape), x.dtype, int(factor))


def backward(dout: Array, cache: Cache) -> Array:
    """Add up the gradients of every square.

    Parameters
    ----------
    dout : array, shape (N, factor * H, factor * W, C)
        dL/dout.
    cache : Cache
        From `forward`.

    Returns
    -------
    array, shape (N, H, W, C)
        dL/dx.

    Raises
    ------
    TypeError, ValueError
        If `dout` has not the dtype or shape of the output, or `cache` is none of this layer.

    Notes
    -----
    Implements :eq:`upsample-backward`.

    Examples
    --------
    >>> import numpy as np
    >>> out, cache = forward(np.zeros((1, 1, 2, 1)))
    >>> backward(np.arange(8.0).reshape(1, 2, 4, 1), cache)[0, :, :, 0]
    array([[10., 18.]])
    """
    check_own((cache, Cache))
    (n, h, w, c), s = cache.x_shape, cache.factor
    check_cotangent("dout", dout, (n, h * s, w * s, c), cache.dtype, "x")
    xp = namespace(dout)
    squares = xp.reshape(dout, (n, h, s, w, s, c))
    dx: Array = xp.sum(squares, axis=(2, 4))  # eq: upsample-backward
    return dx

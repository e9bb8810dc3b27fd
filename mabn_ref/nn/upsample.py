"""Nearest upsampling: every pixel becomes a square of pixels."""

from __future__ import annotations

from typing import Any, NamedTuple

from mabn_ref.arrays import Array, check_at_least, check_own, namespace
from mabn_ref.nn.common import check_cotangent, check_rank


class Cache(NamedTuple):
    """What `backward` needs: the shape (N, H, W, C) and dtype of x, and the side of a square."""

    x_shape: tuple[int, ...]
    dtype: Any
    factor: int


def forward(x: Array, *, factor: int = 2) -> tuple[Array, Cache]:
    """Repeat every pixel `factor` times along both axes: (N, H, W, C) to (N, factor * H, factor * W, C).

    Implements :eq:`upsample-forward`. `factor` is an integer of at least 1.
    """
    check_rank("x", x, "N, H, W, C")
    check_at_least("factor", factor, 1, whole=True)
    xp = namespace(x)
    out = xp.repeat(xp.repeat(x, factor, axis=1), factor, axis=2)  # eq: upsample-forward
    return out, Cache(tuple(x.shape), x.dtype, int(factor))


def backward(dout: Array, cache: Cache) -> Array:
    """Add up the gradients of every square: :eq:`upsample-backward`.

    Examples
    --------
    >>> import numpy as np
    >>> out, cache = forward(np.array([[1.0, 2.0]]).reshape(1, 1, 2, 1))
    >>> out[0, :, :, 0]
    array([[1., 1., 2., 2.],
           [1., 1., 2., 2.]])
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

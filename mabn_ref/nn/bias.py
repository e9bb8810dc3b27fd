"""A bias: one number per channel, added at every position."""

from __future__ import annotations

from typing import Any, NamedTuple

from mabn_ref.arrays import Array, check_float_array, check_own, total
from mabn_ref.nn.common import check_cotangent, check_rank


class Cache(NamedTuple):
    """What `backward` needs: the shape and dtype of x."""

    x_shape: tuple[int, ...]
    dtype: Any


def forward(x: Array, b: Array) -> tuple[Array, Cache]:
    """Add b (C,) to the channels of x (..., C): :eq:`bias-forward`."""
    check_float_array("x", x)
    check_rank("b", b, "C", like=x)
    if len(x.shape) < 2 or x.shape[-1] != b.shape[0] or 0 in x.shape:
        raise ValueError(f"x has shape {tuple(x.shape)}, expected (..., {b.shape[0]}): channels last, no axis empty")
    out = x + b  # eq: bias-forward
    return out, Cache(tuple(x.shape), x.dtype)


def backward(dout: Array, cache: Cache) -> tuple[Array, Array]:
    """Return dL/dx, which is dL/dout itself, and dL/db, its sum over all positions: :eq:`bias-backward`.

    Examples
    --------
    >>> import numpy as np
    >>> out, cache = forward(np.zeros((2, 3)), np.array([1.0, 2.0, 3.0]))
    >>> backward(np.array([[1.0, 0.0, 2.0], [1.0, 1.0, 1.0]]), cache)[1]
    array([2., 1., 3.])
    """
    check_own((cache, Cache))
    check_cotangent("dout", dout, cache.x_shape, cache.dtype, "x")
    dx = 1 * dout  # a copy, so that later changes to dout do not reach it
    db = total(dout)  # eq: bias-backward
    return dx, db

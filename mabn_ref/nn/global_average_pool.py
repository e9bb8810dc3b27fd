"""Global average pooling: the mean of every channel over the image."""

from __future__ import annotations

from typing import Any, NamedTuple

from mabn_ref.arrays import Array, check_own, namespace, sums
from mabn_ref.nn.common import check_cotangent, check_rank


class Cache(NamedTuple):
    """What `backward` needs: the shape (N, H, W, C) and dtype of x."""

    x_shape: tuple[int, ...]
    dtype: Any


def forward(x: Array) -> tuple[Array, Cache]:
    """Average every channel of (N, H, W, C) over its image, to (N, C): :eq:`global-average-pool-forward`."""
    check_rank("x", x, "N, H, W, C")
    n, h, w, channels = x.shape
    out = sums(namespace(x).reshape(x, (n, h * w, channels))) / (h * w)  # eq: global-average-pool-forward
    return out, Cache(tuple(x.shape), x.dtype)


def backward(dout: Array, cache: Cache) -> Array:
    """Spread every channel's gradient (N, C) evenly over its positions: :eq:`global-average-pool-backward`.

    Examples
    --------
    >>> import numpy as np
    >>> out, cache = forward(np.arange(8.0).reshape(1, 2, 2, 2))
    >>> out
    array([[3., 4.]])
    >>> backward(np.array([[8.0, 4.0]]), cache)[0, 0]
    array([[2., 1.],
           [2., 1.]])
    """
    check_own((cache, Cache))
    n, h, w, c = cache.x_shape
    check_cotangent("dout", dout, (n, c), cache.dtype, "x")
    xp = namespace(dout)
    dx: Array = xp.tile(dout[:, None, None, :] / (h * w), (1, h, w, 1))  # eq: global-average-pool-backward
    return dx

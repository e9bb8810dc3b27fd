"""Global average pooling: the mean of every channel over the image."""

from __future__ import annotations

from typing import Any, NamedTuple

from mabn_ref.arrays import Array, check_own, namespace, sums
from mabn_ref.nn.checks import check_cotangent, check_rank

__all__ = ["Cache", "backward", "forward"]


class Cache(NamedTuple):
    """What `backward` needs.

    Attributes
    ----------
    x_shape : tuple of int
        (N, H, W, C).
    dtype : dtype
        Of x.
    """

    x_shape: tuple[int, ...]
    dtype: Any


def forward(x: Array) -> tuple[Array, Cache]:
    """Average every channel over the positions of its image.

    Parameters
    ----------
    x : array of float32 or float64, shape (N, H, W, C)
        Images, channels last.

    Returns
    -------
    out : array, shape (N, C)
        The means.
    cache : Cache
        For `backward`.

    Raises
    ------
    TypeError
        If `x` has an integer, boolean or half dtype.
    ValueError
        If `x` has another rank than 4.

    Notes
    -----
    Implements :eq:`global-average-pool-forward`.

    Examples
    --------
    >>> import numpy as np
    >>> out, cache = forward(np.arange(8.0).reshape(1, 2, 2, 2))
    >>> out
    array([[3., 4.]])
    """
    check_rank("x", x, "N, H, W, C")
    n, h, w, channels = x.shape
    out = sums(namespace(x).reshape(x, (n, h * w, channels))) / (h * w)  # eq: global-average-pool-forward
    return out, Cache(tuple(x.shape), x.dtype)


def backward(dout: Array, cache: Cache) -> Array:
    """Spread every channel's gradient evenly over its positions.

    Parameters
    ----------
    dout : array, shape (N, C)
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
    Implements :eq:`global-average-pool-backward`.

    Examples
    --------
    >>> import numpy as np
    >>> out, cache = forward(np.zeros((1, 2, 2, 1)))
    >>> backward(np.array([[8.0]]), cache)[0, :, :, 0]
    array([[2., 2.],
           [2., 2.]])
    """
    check_own((cache, Cache))
    n, h, w, c = cache.x_shape
    check_cotangent("dout", dout, (n, c), cache.dtype, "x")
    xp = namespace(dout)
    dx: Array = xp.tile(dout[:, None, None, :] / (h * w), (1, h, w, 1))  # eq: global-average-pool-backward
    return dx

"""Convolution as its definition reads: a loop over kernel offsets, in both directions, on any array library.

The oracle of `mabn_ref.nn.conv2d`, with its names and its checks, and two to three times slower.
"""

from __future__ import annotations

from typing import NamedTuple

from mabn_ref.arrays import Array, check_own, copied, namespace, zeros
from mabn_ref.nn.common import check_cotangent
from mabn_ref.nn.conv2d import check_arguments

__all__ = ["Cache", "backward", "forward"]


class Cache(NamedTuple):
    """What `backward` needs: x with its zeros around it, a copy of the kernel, and what `forward` was given."""

    padded: Array
    w: Array
    out_shape: tuple[int, ...]
    stride: int
    padding: int


def forward(x: Array, w: Array, *, stride: int = 1, padding: int = 0) -> tuple[Array, Cache]:
    """Return what `mabn_ref.nn.conv2d.forward` returns."""
    check_arguments(x, w, stride, padding)
    xp = namespace(x)
    n, height, width, channels_in = x.shape
    kh, kw, _, channels_out = w.shape
    padded = zeros((n, height + 2 * padding, width + 2 * padding, channels_in), like=x)
    padded[:, padding : padding + height, padding : padding + width, :] = x
    h_out, w_out = (padded.shape[1] - kh) // stride + 1, (padded.shape[2] - kw) // stride + 1
    out = zeros((n, h_out, w_out, channels_out), like=x)
    for a in range(kh):
        for b in range(kw):
            window = _window(a, b, h_out, w_out, stride)
            out += xp.tensordot(padded[window], w[a, b, :, :], axes=1)  # eq: conv2d-forward
    return out, Cache(padded, copied(w), tuple(out.shape), stride, padding)


def backward(dout: Array, cache: Cache) -> tuple[Array, Array]:
    """Return what `mabn_ref.nn.conv2d.backward` returns.

    Examples
    --------
    >>> import numpy as np
    >>> out, cache = forward(np.ones((1, 3, 3, 1)), np.ones((2, 2, 1, 1)))
    >>> dx, dw = backward(np.ones((1, 2, 2, 1)), cache)
    >>> dx[0, :, :, 0]
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    """
    check_own((cache, Cache))
    check_cotangent("dout", dout, cache.out_shape, cache.w, "w")
    xp = namespace(dout)
    _, h_out, w_out, _ = cache.out_shape
    kh, kw, _, _ = cache.w.shape
    dpadded = zeros(tuple(cache.padded.shape), like=dout)
    dw = zeros(tuple(cache.w.shape), like=dout)
    for a in range(kh):
        for b in range(kw):
            window = _window(a, b, h_out, w_out, cache.stride)
            dpadded[window] += xp.tensordot(dout, cache.w[a, b, :, :].T, axes=1)  # eq: conv2d-backward
            seen = cache.padded[window]
            dw[a, b, :, :] = xp.tensordot(seen, dout, axes=((0, 1, 2), (0, 1, 2)))  # eq: conv2d-backward
    inner_rows = slice(cache.padding, dpadded.shape[1] - cache.padding)
    inner_columns = slice(cache.padding, dpadded.shape[2] - cache.padding)
    return dpadded[:, inner_rows, inner_columns, :], dw


def _window(a: int, b: int, h_out: int, w_out: int, stride: int) -> tuple[slice, slice, slice, slice]:
    """The part of the padded image that kernel offset (a, b) sees, one value per output position."""
    rows = slice(a, a + stride * (h_out - 1) + 1, stride)
    columns = slice(b, b + stride * (w_out - 1) + 1, stride)
    return slice(None), rows, columns, slice(None)

"""Winograd's way to compute the convolution that networks use most, 3x3 with stride 1, with fewer products.

A square of 2x2 outputs sees a tile of 4x4 inputs. As `mabn_ref.nn.conv2d` computes them, the four take 36 products in
each channel; here they take 16, and sums and differences, :eq:`winograd-line`. `conv2d` calls it where it `pays`. But
for rounding nothing changes, as long as values are finite and at most a quarter of the largest number: sums of up to
four of them would overflow, and an infinity becomes a NaN. This file trades clarity for speed: all arrays are made
for a few images at a time, so that they stay in the processor's cache, and in memory that is used again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.nn.common import blocks

_LEAST_CHANNELS = 32
"""With fewer, the sums and differences take as long as the products that they save."""
_LEAST_TILES = 128
"""With fewer, what becomes of the kernel does."""

_G = np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]])
"""What becomes of three weights: G of :eq:`winograd-line`."""
_BOTH_WAYS = np.kron(_G, _G)
"""The same along the rows and along the columns of a kernel: (4 * 4, 3 * 3)."""


def pays(padded: Array, w: Array, stride: int) -> bool:
    """Whether this file computes such a convolution, and quicker: `padded` are the images with their zeros.

    Both sides have to be even, zeros included. Libraries other than NumPy have their own ways, and exact numbers
    would be rounded by a half.
    """
    (kh, kw, *channels), (n, height, width, _) = w.shape, padded.shape
    fits = isinstance(padded, np.ndarray) and padded.dtype.kind in "fc" and (kh, kw, stride) == (3, 3, 1)
    enough = min(channels) >= _LEAST_CHANNELS and n * (height // 2 - 1) * (width // 2 - 1) >= _LEAST_TILES
    return fits and enough and height % 2 == width % 2 == 0


def correlate(padded: Array, w: Array) -> Array:
    """Slide `w` (3, 3, in, out) over `padded` (N, H, W, in), H and W even: (N, H - 2, W - 2, out).

    Implements :eq:`winograd-forward`. `conv2d` has checked the arguments. Either may be complex.

    Examples
    --------
    >>> x = np.arange(16.0).reshape(1, 4, 4, 1)
    >>> correlate(x, np.ones((3, 3, 1, 1)))[0, :, :, 0]
    array([[45., 54.],
           [81., 90.]])
    """
    n, height, width, channels_in = padded.shape
    h, v, channels_out = height // 2 - 1, width // 2 - 1, w.shape[3]
    dtype = np.result_type(padded, w)  # complex if one of them is
    kernel = _BOTH_WAYS.astype(w.dtype) @ w.reshape(9, -1)  # eq: winograd-forward
    kernel = kernel.reshape(4, 4, channels_in, channels_out)
    out = np.empty((n, h, 2, v, 2, channels_out), dtype=dtype)
    cuts = blocks(padded, 16 * h * v * max(channels_in, channels_out))
    products = np.empty((4, 4, cuts[0].stop * h * v, channels_out), dtype=dtype)
    rows = np.empty((2, 4, cuts[0].stop, h, v, channels_out), dtype=dtype)
    for block, seen in zip(cuts, _seen_by_tiles(padded, cuts), strict=True):
        images = block.stop - block.start
        of_tiles = products[:, :, : images * h * v]
        np.matmul(seen, kernel, out=of_tiles, dtype=dtype, casting="safe")  # eq: winograd-forward
        _two_of_four(of_tiles.reshape(4, 4, images, h, v, channels_out), *rows[:, :, :images])
        for row in (0, 1):
            _two_of_four(rows[row, :, :images], out[block, :, row, :, 0], out[block, :, row, :, 1])
    return out.reshape(n, height - 2, width - 2, channels_out)


def weight_gradient(padded: Array, dout: Array) -> Array:
    """dL/dw of `correlate`, (3, 3, in, out), for `dout` of the output's shape: :eq:`winograd-backward`."""
    n, height, width, channels_in = padded.shape
    h, v, channels_out = height // 2 - 1, width // 2 - 1, dout.shape[3]
    dout = dout.reshape(n, h, 2, v, 2, channels_out)
    dtype = np.result_type(padded, dout)
    dkernel = np.zeros((4, 4, channels_in, channels_out), dtype=dtype)
    cuts = blocks(padded, 16 * h * v * max(channels_in, channels_out))
    columns = np.empty((4, cuts[0].stop, h, 2, v, channels_out), dtype=dout.dtype)
    tiles = np.empty((4, 4, cuts[0].stop, h, v, channels_out), dtype=dout.dtype)
    for block, seen in zip(cuts, _seen_by_tiles(padded, cuts), strict=True):
        images = block.stop - block.start
        of_columns = _four_of_two(dout[block, :, :, :, 0], dout[block, :, :, :, 1], columns[:, :images])
        of_tiles = _four_of_two(of_columns[:, :, :, 0], of_columns[:, :, :, 1], tiles[:, :, :images])
        of_tiles = of_tiles.reshape(4, 4, -1, channels_out)
        dkernel += np.matmul(seen.mT, of_tiles, dtype=dtype, casting="safe")  # eq: winograd-backward
    dw = _BOTH_WAYS.astype(dtype).T @ dkernel.reshape(16, -1)  # eq: winograd-backward
    return dw.reshape(3, 3, channels_in, channels_out)


def _seen_by_tiles(padded: Array, cuts: Sequence[slice]) -> Iterator[Array]:
    """B^T d B of every tile d of 4x4 inputs, (4, 4, images * tiles, C), one block of images after the other.

    The array is gone when the next one comes: all are written into the same memory.
    """
    _, height, width, c = padded.shape
    h, v, size = height // 2 - 1, width // 2 - 1, cuts[0].stop
    columns = np.empty((4, size, height, v, c), dtype=padded.dtype)
    tiles = np.empty((4, 4, size, h, v, c), dtype=padded.dtype)
    for block in cuts:
        images = block.stop - block.start
        of_columns = _four_of_four(padded[block], columns[:, :images])
        yield _four_of_four(of_columns, tiles[:, :, :images]).reshape(4, 4, -1, c)


def _four_of_four(d: Array, out: Array) -> Array:
    """B^T along the third axis, at every second place, where the tiles begin."""
    d0, d1, d2, d3 = (d[:, :, k : d.shape[2] - 3 + k : 2] for k in range(4))
    np.subtract(d0, d2, out=out[0])  # eq: winograd-line
    np.add(d1, d2, out=out[1])  # eq: winograd-line
    np.subtract(d2, d1, out=out[2])  # eq: winograd-line
    np.subtract(d3, d1, out=out[3])  # eq: winograd-line
    return out


def _two_of_four(m: Array, out0: Array, out1: Array) -> None:
    """A^T along the first axis."""
    both = m[1] + m[2]
    np.add(both, m[0], out=out0)  # eq: winograd-line
    np.subtract(m[1], m[2], out=both)
    np.add(both, m[3], out=out1)  # eq: winograd-line


def _four_of_two(dout0: Array, dout1: Array, out: Array) -> Array:
    """A: how the four products share the gradients of the two outputs."""
    out[0] = dout0  # eq: winograd-backward
    np.add(dout0, dout1, out=out[1])  # eq: winograd-backward
    np.subtract(dout0, dout1, out=out[2])  # eq: winograd-backward
    out[3] = dout1  # eq: winograd-backward
    return out

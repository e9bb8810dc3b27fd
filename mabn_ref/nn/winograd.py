"""Winograd's way to compute the convolution that networks use most, 3x3 with stride 1, with fewer products.

A square of 2x2 outputs sees a tile of 4x4 inputs. As `mabn_ref.nn.conv2d` computes them, the four take 36 products in
each channel; here they take 16, and sums and differences, :eq:`winograd-line`. `conv2d` calls it where it `pays`. But
for rounding nothing changes, as long as values are finite and at most a quarter of the largest number: sums of up to
four of them would overflow, and an infinity becomes a NaN.

This file trades clarity for speed. It takes some images at a time and brings them into the order (H, W, N, C), so
that long pieces of memory are added: NumPy first copies short ones into a buffer, which takes longer than adding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.nn.common import blocks

_LEAST_CHANNELS = 32
"""With fewer, the sums and differences take as long as the products that they save."""
_LEAST_TILES = 64
"""With fewer, what becomes of the kernel does."""
_LEAST_PRODUCTS = 400_000
"""Tiles times channels of the input times channels of the output. With fewer, NumPy's calls do."""

_G = np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]])
"""What becomes of three weights: G of :eq:`winograd-line`."""
_BOTH_WAYS = np.kron(_G, _G)
"""The same along the rows and along the columns of a kernel: (4 * 4, 3 * 3)."""
_OF_FOUR = (np.subtract, 0, 2), (np.add, 1, 2), (np.subtract, 2, 1), (np.subtract, 3, 1)
"""What becomes of four inputs: B^T of :eq:`winograd-line`, row by row, an operation and what of."""
_OF_TWO = (np.positive, 0), (np.add, 0, 1), (np.subtract, 0, 1), (np.positive, 1)
"""What becomes of the gradients of two outputs: A."""


def pays(padded: Array, w: Array, stride: int) -> bool:
    """Whether this file computes such a convolution, and quicker: `padded` are the images with their zeros.

    Both sides have to be even, zeros included. Libraries other than NumPy have their own ways, and exact numbers
    would be rounded by a half.
    """
    (kh, kw, *channels), (n, height, width, _) = w.shape, padded.shape
    fits = isinstance(padded, np.ndarray) and padded.dtype.kind in "fc" and (kh, kw, stride) == (3, 3, 1)
    tiles = n * (height // 2 - 1) * (width // 2 - 1)
    enough = min(channels) >= _LEAST_CHANNELS and tiles >= _LEAST_TILES
    enough = enough and tiles * math.prod(channels) >= _LEAST_PRODUCTS
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
    for block in _cuts(padded, channels_out):
        products = np.empty((4, h * v * (block.stop - block.start), channels_out), dtype=dtype)
        rows = np.empty((4, 2, *products.shape[1:]), dtype=dtype)
        for seen, of_row, row in zip(_seen_by_tiles(padded[block]), kernel, rows, strict=True):
            np.matmul(seen, of_row, out=products, dtype=dtype, casting="safe")  # eq: winograd-forward
            _two_of_four(products, out=row)
        squares = products.reshape(2, 2, h, v, -1, channels_out)  # the memory is used again
        _two_of_four(rows.reshape(4, *squares.shape[1:]), out=squares)
        out[block] = squares.transpose(4, 2, 0, 3, 1, 5)
    return out.reshape(n, height - 2, width - 2, channels_out)


def weight_gradient(padded: Array, dout: Array) -> Array:
    """dL/dw of `correlate`, (3, 3, in, out), for `dout` of the output's shape: :eq:`winograd-backward`."""
    channels_in, channels_out = padded.shape[3], dout.shape[3]
    dtype = np.result_type(padded, dout)
    dkernel = np.zeros((4, 4, channels_in, channels_out), dtype=dtype)
    for block in _cuts(padded, channels_out):
        for row, (seen, shared) in enumerate(zip(_seen_by_tiles(padded[block]), _shared(dout[block]), strict=True)):
            dkernel[row] += np.matmul(seen.mT, shared, dtype=dtype, casting="safe")  # eq: winograd-backward
    dw = _BOTH_WAYS.astype(dtype).T @ dkernel.reshape(16, -1)  # eq: winograd-backward
    return dw.reshape(3, 3, channels_in, channels_out)


def _cuts(padded: Array, channels_out: int) -> list[slice]:
    """Blocks of images."""
    _, height, width, channels_in = padded.shape
    return blocks(padded, 4 * (height // 2 - 1) * (width // 2 - 1) * max(channels_in, channels_out))


def _seen_by_tiles(images: Array) -> Iterator[Array]:
    """B^T d B of every tile d of 4x4 inputs, row by row, each (4, tiles, C), all in the same memory."""
    lines = _every_other(images)
    _, _, h, v, n, c = lines.shape
    row, tiles = (np.empty(shape, dtype=images.dtype) for shape in ((2, h - 1, v, n, c), (4, h - 1, v - 1, n, c)))
    for down in _OF_FOUR:
        _combine(_four(lines), *down, out=row)  # eq: winograd-line
        for across, tile in zip(_OF_FOUR, tiles, strict=True):
            _combine(_four(row), *across, out=tile)  # eq: winograd-line
        yield tiles.reshape(4, -1, c)


def _shared(dout: Array) -> Iterator[Array]:
    """A dout A^T of every square of 2x2 outputs, as `_seen_by_tiles`: how the products share its gradient."""
    lines = _every_other(dout)
    tiles = np.empty((4, *lines.shape[2:]), dtype=dout.dtype)
    row = tiles[::3]  # the first and the last column stay as they are
    for down in _OF_TWO:
        _combine(lines, *down, out=row)  # eq: winograd-backward
        for across, tile in zip(_OF_TWO[1:3], tiles[1:3], strict=True):
            _combine(row, *across, out=tile)  # eq: winograd-backward
        yield tiles.reshape(4, -1, dout.shape[3])


def _two_of_four(m: Array, out: Array) -> None:
    """A^T along the first axis."""
    np.add(m[1], m[2], out=out[0])
    out[0] += m[0]  # eq: winograd-line
    np.subtract(m[1], m[2], out=out[1])
    out[1] += m[3]  # eq: winograd-line


def _combine(lines: Any, operation: Any, *of: int, out: Array) -> None:
    operation(*(lines[k] for k in of), out=out)


def _every_other(images: Array) -> Array:
    """The even and the odd rows, and of each the even and the odd columns: (2, 2, H / 2, W / 2, N, C)."""
    n, height, width, c = images.shape
    places = images.reshape(n, height // 2, 2, width // 2, 2, c).transpose(2, 4, 1, 3, 0, 5)
    return np.ascontiguousarray(places)


def _four(lines: Array) -> list[Array]:
    """The four lines that each tile sees, of the even and the odd ones, which are along the second axis of each."""
    tiles = lines.shape[2] - 1
    return [lines[k % 2, :, k // 2 : k // 2 + tiles] for k in range(4)]

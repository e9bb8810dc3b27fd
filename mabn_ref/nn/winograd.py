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
_OF_FOUR = (np.subtract, 0, 2), (np.add, 1, 2), (np.subtract, 2, 1), (np.subtract, 3, 1)
"""What becomes of four inputs: B^T of :eq:`winograd-line`, row by row, an operation and what of."""
_OF_TWO = (np.positive, 0), (np.add, 0, 1), (np.subtract, 0, 1), (np.positive, 1)
"""What becomes of the gradients of two outputs: A."""


def pays(x: Array, w: Array, stride: int, padding: int) -> bool:
    """Whether this file computes the convolution of x (N, H, W, in) and w (kh, kw, in, out), and quicker.

    Both sides of the images have to be even. Libraries other than NumPy have their own ways, and exact numbers
    would be rounded by a half.
    """
    (kh, kw, *channels), (n, height, width, _) = w.shape, x.shape
    fits = isinstance(x, np.ndarray) and x.dtype.kind in "fc" and (kh, kw, stride) == (3, 3, 1)
    tiles = n * (height // 2 + padding - 1) * (width // 2 + padding - 1)
    enough = min(channels) >= _LEAST_CHANNELS and tiles >= _LEAST_TILES
    enough = enough and tiles * math.prod(channels) >= _LEAST_PRODUCTS
    return fits and enough and height % 2 == width % 2 == 0


def arranged(x: Array, padding: int, channels_out: int) -> list[Array]:
    """Images (N, H, W, C) as this file takes them, a copy with zeros around, in blocks of some images.

    A block has the even and the odd rows, and of each the even and the odd columns: (2, 2, H / 2, W / 2, images, C).
    `channels_out`, the other side of the convolution, is asked for the size of the blocks.
    """
    _, height, width, c = x.shape
    cuts = blocks(x, 4 * (height // 2 + padding - 1) * (width // 2 + padding - 1) * max(c, channels_out))
    return [_every_other(x[block], padding) for block in cuts]


def correlate(images: list[Array], w: Array, *, turned: bool = False) -> Array:
    """Slide `w` (3, 3, in, out) over images (N, H, W, in), zeros included, `arranged`: (N, H - 2, W - 2, out).

    Implements :eq:`winograd-forward`. `turned` is for backward, where images are gradients of the output: the kernel
    is turned around, and its channels are exchanged. `conv2d` has checked the arguments. Either may be complex.

    Examples
    --------
    >>> x = np.arange(16.0).reshape(1, 4, 4, 1)
    >>> correlate(arranged(x, 0, 1), np.ones((3, 3, 1, 1)))[0, :, :, 0]
    array([[45., 54.],
           [81., 90.]])
    """
    dtype = np.result_type(images[0], w)  # complex if one of them is
    g = _G[:, ::-1] if turned else _G
    kernel = np.kron(g, g).astype(w.dtype) @ w.reshape(9, -1)  # eq: winograd-forward
    kernel = kernel.reshape(4, 4, *w.shape[2:])
    kernel = kernel.mT if turned else kernel
    h, v = images[0].shape[2] - 1, images[0].shape[3] - 1
    n, channels_out = sum(block.shape[4] for block in images), kernel.shape[3]
    out, done = np.empty((n, h, 2, v, 2, channels_out), dtype=dtype), 0
    for block in images:
        products = np.empty((4, h * v * block.shape[4], channels_out), dtype=dtype)
        rows = np.empty((4, 2, *products.shape[1:]), dtype=dtype)
        for seen, of_row, row in zip(_seen_by_tiles(block), kernel, rows, strict=True):
            np.matmul(seen, of_row, out=products, dtype=dtype, casting="safe")  # eq: winograd-forward
            _two_of_four(products, out=row)
        squares = products.reshape(2, 2, h, v, -1, channels_out)  # the memory is used again
        _two_of_four(rows.reshape(4, *squares.shape[1:]), out=squares)
        out[done : done + block.shape[4]] = squares.transpose(4, 2, 0, 3, 1, 5)
        done += block.shape[4]
    return out.reshape(n, 2 * h, 2 * v, channels_out)


def weight_gradient(images: list[Array], dout: Array) -> Array:
    """dL/dw of `correlate`, (3, 3, in, out), for `dout` of the output's shape: :eq:`winograd-backward`."""
    channels_in, channels_out = images[0].shape[5], dout.shape[3]
    dtype, done = np.result_type(images[0], dout), 0
    dkernel = np.zeros((4, 4, channels_in, channels_out), dtype=dtype)
    for block in images:
        shared = _shared(dout[done : done + block.shape[4]])
        for row, (seen, of_row) in enumerate(zip(_seen_by_tiles(block), shared, strict=True)):
            dkernel[row] += np.matmul(seen.mT, of_row, dtype=dtype, casting="safe")  # eq: winograd-backward
        done += block.shape[4]
    dw = np.kron(_G, _G).astype(dtype).T @ dkernel.reshape(16, -1)  # eq: winograd-backward
    return dw.reshape(3, 3, channels_in, channels_out)


def _seen_by_tiles(lines: Array) -> Iterator[Array]:
    """B^T d B of every tile d of 4x4 inputs, row by row, each (4, tiles, C), all in the same memory."""
    _, _, h, v, n, c = lines.shape
    row, tiles = (np.empty(shape, dtype=lines.dtype) for shape in ((2, h - 1, v, n, c), (4, h - 1, v - 1, n, c)))
    for down in _OF_FOUR:
        _combine(_four(lines), *down, out=row)  # eq: winograd-line
        for across, tile in zip(_OF_FOUR, tiles, strict=True):
            _combine(_four(row), *across, out=tile)  # eq: winograd-line
        yield tiles.reshape(4, -1, c)


def _shared(dout: Array) -> Iterator[Array]:
    """A dout A^T of every square of 2x2 outputs, as `_seen_by_tiles`: how the products share its gradient."""
    lines = _every_other(dout, 0)
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


def _every_other(x: Array, padding: int) -> Array:
    """The even and the odd rows of images with zeros around, and of each the even and the odd columns."""
    images = x.transpose(1, 2, 0, 3)
    height, width, *rest = images.shape
    lines = np.zeros((2, 2, height // 2 + padding, width // 2 + padding, *rest), dtype=x.dtype)
    for row in (0, 1):
        for column in (0, 1):
            part, line = images[row::2, column::2], lines[(row + padding) % 2, (column + padding) % 2]
            top, left = (row + padding) // 2, (column + padding) // 2
            line[top : top + part.shape[0], left : left + part.shape[1]] = part
    return lines


def _four(lines: Array) -> list[Array]:
    """The first to the fourth line of every tile, from the even and the odd ones, along the second axis of each."""
    tiles = lines.shape[2] - 1
    return [lines[k % 2, :, k // 2 : k // 2 + tiles] for k in range(4)]

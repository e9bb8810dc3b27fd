"""Winograd's algorithm for the convolution that networks use most, 3x3 with stride 1, with fewer products.

A square of 4x4 outputs sees a tile of 6x6 inputs. As `mabn_ref.nn.conv2d` computes them, the sixteen outputs take 144
products per channel; here they take 36, plus some products of small matrices, :eq:`winograd-forward`. `conv2d` calls
it where it `pays`. Compared with the direct sums, rounding errors are two to four times as large, an infinity or a
NaN makes all outputs of its tiles NaN, and very large numbers overflow sooner.

In one point this file trades clarity for speed: images are brought into the order (H, W, N, C) and processed by rows
of tiles, so that copies and products work on long pieces of memory that stay in the cache.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Iterator

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.nn.common import blocks

_CHANNELS = range(32, 257)
"""With fewer, the products with B and A take as long as those that they save; with more, those with G do."""
_LEAST_TILES = 16
"""In a row of tiles, over all images. With fewer, transforming the kernel takes longest."""
_LEAST_PRODUCTS = 100_000
"""Tiles times input channels times output channels. With fewer, the overhead of NumPy's calls takes longest."""

_SUMMED = 64
"""How many channels are summed at a time: the error of a sum of products grows with its length."""

_POINTS = (0, 5 / 8, -5 / 8, 3 / 2, -3 / 2)
"""The points, besides infinity, where :eq:`winograd-polynomials` evaluates: of the sets tried, none rounds less."""


def _values(coefficients: int) -> Array:
    """The matrix that evaluates a polynomial from its coefficients; at infinity its value is the last of them."""
    powers = np.vander(_POINTS, coefficients, increasing=True)  # eq: winograd-polynomials
    return np.vstack([powers, np.eye(coefficients)[-1]])


_A, _G, _B = _values(4), _values(3), np.linalg.inv(_values(6))  # eq: winograd-polynomials


def pays(x: Array, w: Array, stride: int, padding: int) -> bool:
    """Whether this file can compute the convolution of x (N, H, W, in) and w (kh, kw, in, out), and faster.

    Both sides of the output have to be multiples of 4. It takes only NumPy arrays, and no exact numbers, which the
    matrices would round.
    """
    (kh, kw, *channels), (n, height, width, _) = w.shape, x.shape
    sides = height + 2 * padding - 2, width + 2 * padding - 2
    fits = isinstance(x, np.ndarray) and x.dtype.kind in "fc" and (kh, kw, stride) == (3, 3, 1)
    in_a_row = n * (sides[1] // 4)
    enough = all(c in _CHANNELS for c in channels) and in_a_row >= _LEAST_TILES
    enough = enough and in_a_row * (sides[0] // 4) * math.prod(channels) >= _LEAST_PRODUCTS
    return fits and enough and sides[0] % 4 == sides[1] % 4 == 0


def arranged(x: Array, padding: int, channels_out: int) -> list[Array]:
    """Images (N, H, W, C) as this file needs them: (H, W, images, C) with zeros around, in blocks of a few images.

    `channels_out`, the number of channels on the other side of the convolution, helps to set the size of the blocks.
    """
    _, height, width, c = x.shape
    height, width = height + 2 * padding, width + 2 * padding
    arranged = []
    for block in blocks(x, 36 * (width // 4) * max(c, channels_out)):
        images = x[block].transpose(1, 2, 0, 3)
        padded = np.zeros((height, width, *images.shape[2:]), dtype=x.dtype)
        padded[padding : height - padding, padding : width - padding] = images
        arranged.append(padded)
    return arranged


def correlate(images: list[Array], w: Array, *, turned: bool = False) -> Array:
    """Slide `w` (3, 3, in, out) over `arranged` images, (N, H, W, in) with their zeros: (N, H - 2, W - 2, out).

    Implements :eq:`winograd-forward`. `turned` is for backward, where images are gradients of the output: the kernel
    is turned around, and its two axes of channels are swapped. `conv2d` has checked the arguments. Either may be
    complex.

    Examples
    --------
    >>> x = np.arange(36.0).reshape(1, 6, 6, 1)
    >>> correlate(arranged(x, 0, 1), np.ones((3, 3, 1, 1)))[0, ::3, ::3, 0].round(9)
    array([[ 63.,  90.],
           [225., 252.]])
    """
    g, w = (_G[:, ::-1], w.swapaxes(2, 3)) if turned else (_G, w)
    *_, channels_in, channels_out = w.shape
    cuts = [slice(start, start + _SUMMED) for start in range(0, channels_in, _SUMMED)]
    kernel = _both_ways(g, w).reshape(36, channels_in, channels_out)  # eq: winograd-forward
    h, v = (side // 4 for side in images[0].shape[:2])
    n, done = sum(block.shape[2] for block in images), 0
    out = np.empty((n, h, 4, v, 4, channels_out), dtype=np.result_type(images[0], w))  # complex if one of them is
    for block in images:
        until = done + block.shape[2]
        for row, seen in enumerate(_seen_by_tiles(block)):
            parts = (seen[..., cut] @ kernel[:, cut] for cut in cuts)  # eq: winograd-forward
            products = functools.reduce(operator.iadd, parts)
            squares = _both_ways(_A.T, products.reshape(6, 6, -1))  # eq: winograd-forward
            out[done:until, row] = squares.reshape(4, 4, v, -1, channels_out).transpose(3, 0, 2, 1, 4)
        done = until
    return out.reshape(n, 4 * h, 4 * v, channels_out)


def weight_gradient(images: list[Array], dout: Array) -> Array:
    """dL/dw of `correlate`, (3, 3, in, out), for `dout` of the output's shape: :eq:`winograd-backward`."""
    n, height, width, channels_out = dout.shape
    squares = dout.reshape(n, height // 4, 4, width // 4, 4, channels_out).transpose(1, 2, 4, 3, 0, 5)
    channels_in, dtype, done = images[0].shape[3], np.result_type(images[0], dout), 0
    dkernel = np.zeros((36, channels_in, channels_out), dtype=dtype)
    for block in images:
        until = done + block.shape[2]
        for row, seen in zip(squares[..., done:until, :], _seen_by_tiles(block), strict=True):
            shared = _both_ways(_A, row).reshape(36, -1, channels_out)  # eq: winograd-backward
            dkernel += seen.mT @ shared  # eq: winograd-backward
        done = until
    dw = _both_ways(_G.T, dkernel.reshape(6, 6, -1))  # eq: winograd-backward
    return dw.reshape(3, 3, channels_in, channels_out)


def _seen_by_tiles(images: Array) -> Iterator[Array]:
    """B^T d B of every tile d of 6x6 inputs, one row of tiles after the other, each (36, tiles, C).

    Neighbouring tiles share two columns of pixels, which are multiplied before they are copied. Each array overwrites
    the one before: all are written into the same memory.
    """
    height, width, n, c = images.shape
    matrix = _B.T.astype(images.dtype)
    down = np.empty((6, width, n * c), dtype=images.dtype)
    tiles = np.lib.stride_tricks.sliding_window_view(down, 6, axis=1)[:, ::4].swapaxes(2, 3)  # (6, tiles, 6, n * c)
    both = np.empty((6, 6, tiles.shape[1], n * c), dtype=images.dtype)
    for top in range(0, height - 2, 4):
        np.matmul(matrix, images[top : top + 6].reshape(6, -1), out=down.reshape(6, -1))  # eq: winograd-line
        np.matmul(matrix, tiles, out=both.swapaxes(1, 2))  # eq: winograd-line
        yield both.reshape(36, -1, c)


def _both_ways(matrix: Array, squares: Array) -> Array:
    """:eq:`winograd-line` along both axes: matrix @ square @ matrix.T for (side, side, ...), to (rows, rows, -1)."""
    matrix = matrix.astype(squares.dtype)
    squares = squares.reshape(*squares.shape[:2], -1)
    for _axis in (0, 1):
        squares = matrix @ squares.swapaxes(0, 1)  # eq: winograd-line
    return squares

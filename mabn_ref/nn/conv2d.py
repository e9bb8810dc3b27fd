"""Two-dimensional convolution (cross-correlation), channels last: gather what a kernel row sees, then multiply.

Padding puts zeros around the image. The kh*kw*in values that the kernel sees from one output position then become a
row of a matrix, so that forward and both gradients are matrix products. This file trades some clarity for speed: the
rows are gathered for a few images at a time, and multiplied while they are still in the processor's cache; large 3x3
convolutions with stride 1 are left to `mabn_ref.nn.winograd`. Both are tested against the definition, position by
position, in `mabn_ref.mistakes.plain.layers`.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mabn_ref.arrays import Array, check_at_least, check_own, copied, namespace, zeros
from mabn_ref.nn import winograd
from mabn_ref.nn.common import blocks, check_cotangent, check_rank


class Cache(NamedTuple):
    """What `backward` needs: copies of w and the padded x, the shapes of x and out, and the options of `forward`."""

    padded: Array | list[Array]  #: in the form of `mabn_ref.nn.winograd`, if that computed `forward`
    w: Array
    x_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    stride: int
    padding: int


def forward(x: Array, w: Array, *, stride: int = 1, padding: int = 0) -> tuple[Array, Cache]:
    """Slide `w` (kh, kw, in, out) over `x` (N, H, W, in).

    out[n, i, j, :] = sum over a, b of x[n, i*stride + a, j*stride + b, :] @ w[a, b], shape (N, H_out, W_out, out),
    where H_out = (H + 2*padding - kh) // stride + 1, and likewise W_out. Implements :eq:`conv2d-forward`. As is usual
    in deep learning this is a cross-correlation: the kernel is not flipped.

    `stride`, at least 1, is the distance between neighbouring output positions in pixels of `x`; `padding`, at least
    0, is how many zeros are added on each of the four sides. The kernel is at most as large as the padded image.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(16.0).reshape(1, 4, 4, 1)
    >>> out, cache = forward(x, np.ones((2, 2, 1, 1)), stride=2)
    >>> out[0, :, :, 0]
    array([[10., 18.],
           [42., 50.]])
    """
    check_arguments(x, w, stride, padding)
    padded: Array | list[Array]
    if winograd.pays(x, w, stride, padding):
        padded = winograd.arranged(x, padding, w.shape[3])
        out = winograd.correlate(padded, w)  # eq: winograd-forward
    else:
        padded = _pad(x, padding, padding) if padding else copied(x)
        out = _correlate(padded, w, stride)  # eq: conv2d-forward
    return out, Cache(padded, copied(w), tuple(x.shape), tuple(out.shape), stride, padding)


def backward(dout: Array, cache: Cache) -> tuple[Array, Array]:
    """Return dL/dx and dL/dw, from `input_gradient` and `weight_gradient`: :eq:`conv2d-backward`."""
    return input_gradient(dout, cache), weight_gradient(dout, cache)


def weight_gradient(dout: Array, cache: Cache) -> Array:
    """Return only dL/dw, which is all that the first layer of a network needs; arguments as for `backward`."""
    check_own((cache, Cache))
    check_cotangent("dout", dout, cache.out_shape, cache.w, "w")
    xp = namespace(dout)
    kh, kw, _, channels_out = cache.w.shape
    if isinstance(cache.padded, list):
        return winograd.weight_gradient(cache.padded, dout)  # eq: winograd-backward
    products = (
        seen.T @ xp.reshape(dout[block, ...], (-1, channels_out))  # eq: conv2d-backward
        for block, seen in _seen_by_blocks(cache.padded, kh, kw, cache.stride)
    )
    dw = functools.reduce(operator.iadd, products)
    return xp.reshape(dw, cache.w.shape)


def input_gradient(dout: Array, cache: Cache) -> Array:
    """Return only dL/dx; arguments as for `backward`."""
    check_own((cache, Cache))
    check_cotangent("dout", dout, cache.out_shape, cache.w, "w")
    xp = namespace(dout)
    kh, kw, channels_in, channels_out = cache.w.shape
    n, h, w, _ = cache.x_shape
    stride, padding = cache.stride, cache.padding
    if stride == 1 and padding < min(kh, kw):
        # Every input position gathers from the outputs that saw it: forward again, with the kernel turned around.
        if winograd.pays(dout, cache.w, 1, kh - 1 - padding):
            images = winograd.arranged(dout, kh - 1 - padding, channels_in)
            return winograd.correlate(images, cache.w, turned=True)  # eq: winograd-forward
        turned = xp.permute_dims(xp.flip(cache.w, axis=(0, 1)), (0, 1, 3, 2))
        return _correlate(_pad(dout, kh - 1 - padding, kw - 1 - padding), turned, 1)  # eq: conv2d-backward
    # Positions that are a multiple of the stride apart are added up together, (rows, columns, N, in), so that each
    # kernel position adds to long pieces of memory. If the stride exceeds the kernel, no output saw the others.
    _, h_out, w_out, _ = cache.out_shape
    starts = [(top, left) for top in range(min(kh, stride)) for left in range(min(kw, stride))]
    rows, columns = h_out + (kh - 1) // stride, w_out + (kw - 1) // stride
    dx = zeros((n, h + 2 * padding, w + 2 * padding, channels_in), like=dout)
    for block in blocks(dout, rows * columns * channels_in):
        d = xp.reshape(xp.permute_dims(dout[block, ...], (1, 2, 0, 3)), (-1, channels_out))
        for top, left in starts:
            apart = zeros((rows, columns, block.stop - block.start, channels_in), like=dout)
            for a in range(top, kh, stride):
                for b in range(left, kw, stride):
                    seen = apart[a // stride :, b // stride :, :, :][:h_out, :w_out, :, :]
                    seen += xp.reshape(d @ cache.w[a, b, :, :].T, seen.shape)  # eq: conv2d-backward
            there = dx[block, top::stride, left::stride, :]
            high, wide = min(rows, there.shape[1]), min(columns, there.shape[2])
            there[:, :high, :wide, :] = xp.permute_dims(apart[:high, :wide, :, :], (2, 0, 1, 3))
    return dx[:, padding : padding + h, padding : padding + w, :]


def check_arguments(x: Array, w: Array, stride: int, padding: int) -> None:
    """Refuse arguments of `forward` that do not fit together."""
    check_rank("x", x, "N, H, W, C")
    check_rank("w", w, "kh, kw, in, out", like=x)
    if x.shape[3] != w.shape[2]:
        raise ValueError(
            f"x has shape {tuple(x.shape)}, that is {x.shape[3]} channels (channels last), expected {w.shape[2]}: "
            f"w has shape {tuple(w.shape)}, that is (kh, kw, in, out)"
        )
    check_at_least("stride", stride, 1, whole=True)
    check_at_least("padding", padding, 0, whole=True)
    padded = (x.shape[1] + 2 * int(padding), x.shape[2] + 2 * int(padding))
    if w.shape[0] > padded[0] or w.shape[1] > padded[1]:
        raise ValueError(
            f"w has a kernel of {tuple(w.shape[:2])}, expected at most {padded}, the size of x with its padding"
        )


def _correlate(padded: Array, w: Array, stride: int) -> Array:
    """Slide `w` over images that are padded already."""
    xp = namespace(padded)
    kh, kw, _, channels_out = w.shape
    n, height, width, _ = padded.shape
    shape = (n, _positions(height, kh, stride), _positions(width, kw, stride), channels_out)
    kernel, cuts = xp.reshape(w, (-1, channels_out)), _seen_by_blocks(padded, kh, kw, stride)
    if xp is not np:
        ((_, seen),) = cuts
        return xp.reshape(seen @ kernel, shape)
    out = np.empty(shape, dtype=np.result_type(padded, w))
    for block, seen in cuts:
        np.matmul(seen, kernel, out=out[block].reshape(-1, channels_out))
    return out


def _pad(x: Array, rows: int, columns: int) -> Array:
    """Put `rows` lines of zeros above and below and `columns` left and right."""
    if rows == columns == 0:
        return x
    n, h, w, c = x.shape
    out = zeros((n, h + 2 * rows, w + 2 * columns, c), like=x)
    out[:, rows : rows + h, columns : columns + w, :] = x
    return out


def _seen_by_blocks(padded: Array, kh: int, kw: int, stride: int) -> Iterator[tuple[slice, Array]]:
    """What every output position sees, (images * H_out * W_out, kh*kw*C), one block of images after the other.

    Each array overwrites the one before: all are written into the same memory.
    """
    xp = namespace(padded)
    n, h, w, c = padded.shape
    h_out, w_out = _positions(h, kh, stride), _positions(w, kw, stride)
    cuts = blocks(padded, h_out * w_out * kh * kw * c)
    if hasattr(xp, "lib"):
        # NumPy and CuPy: a view with overlapping strides costs nothing, and one copy of it less than kh*kw slices.
        sn, sh, sw, sc = padded.strides
        shape, strides = (n, h_out, w_out, kh, kw, c), (sn, sh * stride, sw * stride, sh, sw, sc)
        seen = xp.lib.stride_tricks.as_strided(padded, shape, strides)
        gathered = xp.empty((cuts[0].stop, *shape[1:]), dtype=padded.dtype)
        for block in cuts:
            part = gathered[: block.stop - block.start]
            part[...] = seen[block]
            yield block, xp.reshape(part, (-1, kh * kw * c))
    else:
        lines, places = ([_seen(a, h_out, stride) for a in range(kh)], [_seen(b, w_out, stride) for b in range(kw)])
        seen = xp.concat([padded[:, rows, columns, :] for rows in lines for columns in places], axis=3)
        yield cuts[0], xp.reshape(seen, (n * h_out * w_out, kh * kw * c))


def _positions(size: int, kernel: int, stride: int) -> int:
    """How many output positions fit on a side."""
    return (size - kernel) // stride + 1


def _seen(offset: int, positions: int, stride: int) -> slice:
    """The lines that `positions` output positions see through the kernel line `offset`."""
    return slice(offset, offset + stride * (positions - 1) + 1, stride)

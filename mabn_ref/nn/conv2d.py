"""Two-dimensional convolution (cross-correlation), channels last: gather what a kernel row sees, then multiply.

Padding puts zeros around the image. `_seen_by_rows` then writes under every output position the kw*in input values
that one row of the kernel sees, so that forward and the weight gradient are one matrix product for each of the kh
rows. The rows look at the same copies, a few lines apart: that takes kw copies of the image, where one product with
the whole kernel would take kh*kw. `mabn_ref.mistakes.plain.layers` has the definition, position by
position, that this is tested against.
"""

from __future__ import annotations

from typing import NamedTuple

from mabn_ref.arrays import Array, check_at_least, check_own, copied, namespace, zeros
from mabn_ref.nn.common import check_cotangent, check_rank


class Cache(NamedTuple):
    """What `backward` needs: copies of w and of x with its zeros around it, and what `forward` was given."""

    padded: Array
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
    padded = _pad(x, padding, padding) if padding else copied(x)
    out = _correlate(padded, w, stride)  # eq: conv2d-forward
    return out, Cache(padded, copied(w), tuple(x.shape), tuple(out.shape), stride, padding)


def backward(dout: Array, cache: Cache) -> tuple[Array, Array]:
    """Return dL/dx and dL/dw, each of which has a function of its own: :eq:`conv2d-backward`."""
    return input_gradient(dout, cache), weight_gradient(dout, cache)


def weight_gradient(dout: Array, cache: Cache) -> Array:
    """Return dL/dw alone, as the first layer of a network needs it; arguments as for `backward`."""
    check_own((cache, Cache))
    check_cotangent("dout", dout, cache.out_shape, cache.w, "w")
    xp = namespace(dout)
    kh, kw, _, channels_out = cache.w.shape
    n, h_out, w_out, _ = cache.out_shape
    dw = []
    for seen in _seen_by_rows(cache.padded, kh, kw, cache.stride):
        if h_out * w_out >= channels_out:
            # Image by image: adding the products up is cheaper than the copy that one product for all would take.
            rows = xp.reshape(dout, (n, h_out * w_out, channels_out))
            dw.append(xp.sum(xp.matrix_transpose(seen) @ rows, axis=0))  # eq: conv2d-backward
        else:
            flat = xp.reshape(seen, (n * h_out * w_out, -1))
            dw.append(flat.T @ xp.reshape(dout, (-1, channels_out)))  # eq: conv2d-backward
    return xp.reshape(xp.stack(dw), cache.w.shape)


def input_gradient(dout: Array, cache: Cache) -> Array:
    """Return dL/dx alone; arguments as for `backward`."""
    check_own((cache, Cache))
    check_cotangent("dout", dout, cache.out_shape, cache.w, "w")
    xp = namespace(dout)
    kh, kw, channels_in, channels_out = cache.w.shape
    n, h, w, _ = cache.x_shape
    stride, padding = cache.stride, cache.padding
    if stride == 1 and padding < min(kh, kw):
        # Every input position gathers from the outputs that saw it: forward again, with the kernel turned around.
        turned = xp.permute_dims(xp.flip(cache.w, axis=(0, 1)), (0, 1, 3, 2))
        return _correlate(_pad(dout, kh - 1 - padding, kw - 1 - padding), turned, 1)  # eq: conv2d-backward
    dpatches = xp.reshape(dout, (-1, channels_out)) @ xp.reshape(cache.w, (-1, channels_out)).T  # eq: conv2d-backward
    dpatches = xp.reshape(dpatches, (*cache.out_shape[:3], kh, kw, channels_in))
    dx = zeros((n, h + 2 * padding, w + 2 * padding, channels_in), like=dout)
    for a in range(kh):
        for b in range(kw):
            rows = _seen(a, cache.out_shape[1], stride)
            columns = _seen(b, cache.out_shape[2], stride)
            dx[:, rows, columns, :] += dpatches[:, :, :, a, b, :]  # eq: conv2d-backward
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
    padded = (x.shape[1] + 2 * padding, x.shape[2] + 2 * padding)
    if w.shape[0] > padded[0] or w.shape[1] > padded[1]:
        raise ValueError(
            f"w has a kernel of {tuple(w.shape[:2])}, expected at most {padded}, the size of x with its padding"
        )


def _correlate(padded: Array, w: Array, stride: int) -> Array:
    """Slide `w` over images that have their zeros already."""
    xp = namespace(padded)
    kh, kw, _, channels_out = w.shape
    n, height, width, _ = padded.shape
    kernel = xp.reshape(w, (kh, -1, channels_out))
    seen = _seen_by_rows(padded, kh, kw, stride)
    out = seen[0] @ kernel[0, ...]
    for a in range(1, kh):
        out += seen[a] @ kernel[a, ...]
    return xp.reshape(out, (n, _positions(height, kh, stride), _positions(width, kw, stride), channels_out))


def _pad(x: Array, rows: int, columns: int) -> Array:
    """Put `rows` lines of zeros above and below and `columns` left and right."""
    if rows == columns == 0:
        return x
    n, h, w, c = x.shape
    out = zeros((n, h + 2 * rows, w + 2 * columns, c), like=x)
    out[:, rows : rows + h, columns : columns + w, :] = x
    return out


def _seen_by_rows(padded: Array, kh: int, kw: int, stride: int) -> list[Array]:
    """For each row of the kernel, what it sees under every output position: kh of (N, H_out * W_out, kw*C)."""
    n, h, w, c = padded.shape
    h_out, w_out = _positions(h, kh, stride), _positions(w, kw, stride)
    # Kernel row a sees the lines a, a + stride, ...: those of row a - stride, one further down.
    lines = [_side_by_side(padded[:, a::stride, :, :], kw, stride) for a in range(min(kh, stride))]
    rows = [lines[a % stride][:, a // stride : a // stride + h_out, :, :] for a in range(kh)]
    return [namespace(padded).reshape(row, (n, h_out * w_out, kw * c)) for row in rows]


def _side_by_side(x: Array, kw: int, stride: int) -> Array:
    """Copy the kw neighbours along a line that each output position sees: (N, L, W, C) -> (N, L, W_out, kw*C)."""
    xp = namespace(x)
    n, lines, w, c = x.shape
    w_out = _positions(w, kw, stride)
    if hasattr(xp, "lib"):
        # NumPy and CuPy: a view with overlapping strides costs nothing, and one copy of it half of kw slices.
        sn, sl, sw, sc = x.strides
        view = xp.lib.stride_tricks.as_strided(x, (n, lines, w_out, kw, c), (sn, sl, sw * stride, sw, sc))
        return xp.reshape(xp.ascontiguousarray(view), (n, lines, w_out, kw * c))
    neighbours = [x[:, :, b : b + stride * (w_out - 1) + 1 : stride, :] for b in range(kw)]
    return xp.concat(neighbours, axis=3)


def _positions(size: int, kernel: int, stride: int) -> int:
    """How many output positions fit on a side."""
    return (size - kernel) // stride + 1


def _seen(offset: int, positions: int, stride: int) -> slice:
    """The lines that `positions` output positions see through the kernel line `offset`."""
    return slice(offset, offset + stride * (positions - 1) + 1, stride)

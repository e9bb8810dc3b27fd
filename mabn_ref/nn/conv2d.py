"""Two-dimensional convolution (cross-correlation), channels last: gather the patches, then one matrix product.

Padding puts zeros around the image. `_patches` then writes under every output position the kh*kw*in input values that
it sees, so that forward and the weight gradient are matrix products. This is done a few images at a time: patches
that stay in the processor's cache are quicker to gather again in backward than to write to memory and read back.
`conv2d_plain` beside this file is the definition as a loop over kernel offsets, and the oracle of this one.
"""

from __future__ import annotations

from typing import NamedTuple

from mabn_ref.arrays import Array, namespace
from mabn_ref.nn.checks import check_cotangent, check_rank, check_whole
from mabn_ref.nn.creation import zeros

__all__ = ["Cache", "backward", "check_arguments", "forward", "input_gradient", "weight_gradient"]


class Cache(NamedTuple):
    """What `backward` needs.

    Attributes
    ----------
    padded : array, shape (N, H + 2 * padding, W + 2 * padding, in)
        x with its zeros around it.
    w : array, shape (kh, kw, in, out)
        The kernel of the forward pass.
    x_shape, out_shape : tuple of int
        (N, H, W, in) and (N, H_out, W_out, out).
    stride, padding : int
        As given to `forward`, in pixels.
    """

    padded: Array
    w: Array
    x_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    stride: int
    padding: int


def forward(x: Array, w: Array, *, stride: int = 1, padding: int = 0) -> tuple[Array, Cache]:
    """Slide `w` over `x`: out[n, i, j, :] = sum over a, b of x[n, i*stride + a, j*stride + b, :] @ w[a, b].

    Parameters
    ----------
    x : array of float32 or float64, shape (N, H, W, in)
        Images, channels last.
    w : array of the dtype of `x`, shape (kh, kw, in, out)
        The kernel.
    stride : int
        Distance of neighbouring output positions, in pixels of `x`; at least 1.
    padding : int
        Zeros added on each of the four sides, in pixels; at least 0.

    Returns
    -------
    out : array of the dtype of `x`, shape (N, H_out, W_out, out)
        H_out = (H + 2*padding - kh) // stride + 1, and W_out alike.
    cache : Cache
        For `backward`.

    Raises
    ------
    TypeError
        If an array has an integer, boolean or half dtype, the dtypes differ, or `stride` or `padding` is no integer.
    ValueError
        If a rank is not 4, the channels differ, `stride` < 1, `padding` < 0, or the kernel is larger than the padded
        image.

    Notes
    -----
    Implements :eq:`conv2d-forward`. As everywhere in deep learning this is a cross-correlation: the kernel is not
    flipped.

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
    padded = _pad(x, padding, padding)
    out = _correlate(padded, w, stride)  # eq: conv2d-forward
    return out, Cache(padded, w, tuple(x.shape), tuple(out.shape), stride, padding)


def backward(dout: Array, cache: Cache) -> tuple[Array, Array]:
    """Return the gradients of `forward`; `input_gradient` and `weight_gradient` give one of them alone.

    Parameters
    ----------
    dout : array, shape (N, H_out, W_out, out)
        dL/dout, of the dtype of the output.
    cache : Cache
        From `forward`.

    Returns
    -------
    dx : array, shape (N, H, W, in)
        dL/dx.
    dw : array, shape (kh, kw, in, out)
        dL/dw.

    Raises
    ------
    TypeError, ValueError
        If `dout` has not the dtype or shape of the output.

    Notes
    -----
    Implements :eq:`conv2d-backward`.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(4.0).reshape(1, 2, 2, 1)
    >>> out, cache = forward(x, np.full((1, 1, 1, 1), 5.0))
    >>> dx, dw = backward(np.ones((1, 2, 2, 1)), cache)
    >>> float(dx[0, 0, 0, 0]), float(dw[0, 0, 0, 0])
    (5.0, 6.0)
    """
    return input_gradient(dout, cache), weight_gradient(dout, cache)


def weight_gradient(dout: Array, cache: Cache) -> Array:
    """Return dL/dw alone, as the first layer of a network needs it; arguments as for `backward`.

    Examples
    --------
    >>> import numpy as np
    >>> out, cache = forward(np.ones((1, 3, 3, 1)), np.ones((2, 2, 1, 1)))
    >>> weight_gradient(np.ones((1, 2, 2, 1)), cache)[:, :, 0, 0]
    array([[4., 4.],
           [4., 4.]])
    """
    check_cotangent("dout", dout, cache.out_shape, cache.w, "w")
    xp = namespace(dout)
    kh, kw, _, channels_out = cache.w.shape
    dw = 0
    for images in _blocks(cache.out_shape, cache.w, dout):
        patches = _patches(cache.padded[images, ...], kh, kw, cache.stride)
        dw = dw + patches.T @ xp.reshape(dout[images, ...], (-1, channels_out))  # eq: conv2d-backward
    return xp.reshape(dw, cache.w.shape)


def input_gradient(dout: Array, cache: Cache) -> Array:
    """Return dL/dx alone; arguments as for `backward`.

    Examples
    --------
    >>> import numpy as np
    >>> out, cache = forward(np.ones((1, 3, 3, 1)), np.ones((2, 2, 1, 1)))
    >>> input_gradient(np.ones((1, 2, 2, 1)), cache)[0, :, :, 0]
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    """
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
    check_whole("stride", stride, 1)
    check_whole("padding", padding, 0)
    padded = (x.shape[1] + 2 * padding, x.shape[2] + 2 * padding)
    if w.shape[0] > padded[0] or w.shape[1] > padded[1]:
        raise ValueError(
            f"w has a kernel of {tuple(w.shape[:2])}, expected at most {padded}, the size of x with its padding"
        )


def _correlate(padded: Array, w: Array, stride: int) -> Array:
    """Slide `w` over images that have their zeros already."""
    xp = namespace(padded)
    kh, kw, _, channels_out = w.shape
    h_out, w_out = (padded.shape[1] - kh) // stride + 1, (padded.shape[2] - kw) // stride + 1
    out_shape = (padded.shape[0], h_out, w_out, channels_out)
    kernel = xp.reshape(w, (-1, channels_out))
    blocks = [_patches(padded[images, ...], kh, kw, stride) @ kernel for images in _blocks(out_shape, w, padded)]
    return xp.reshape(blocks[0] if len(blocks) == 1 else xp.concat(blocks), out_shape)


_BLOCK = 2**18
"""Patch values a block, 1 MiB in float32. Over a training step on a processor with 1 MiB of L2, blocks of 0.5 to 2
MiB did alike, 8 MiB a seventh worse, and all images at once a third."""


def _blocks(out_shape: tuple[int, ...], w: Array, x: Array) -> list[slice]:
    """Cut the images into blocks whose patches stay in the processor's cache; a GPU takes them all at once."""
    count = out_shape[0]
    if namespace(x).__name__ == "cupy":
        return [slice(0, count)]
    each = max(1, _BLOCK // (out_shape[1] * out_shape[2] * w.shape[0] * w.shape[1] * w.shape[2]))
    return [slice(start, min(start + each, count)) for start in range(0, count, each)]


def _pad(x: Array, rows: int, columns: int) -> Array:
    """Put `rows` lines of zeros above and below and `columns` left and right."""
    if rows == columns == 0:
        return x
    n, h, w, c = x.shape
    out = zeros((n, h + 2 * rows, w + 2 * columns, c), like=x)
    out[:, rows : rows + h, columns : columns + w, :] = x
    return out


def _patches(x: Array, kh: int, kw: int, stride: int) -> Array:
    """Copy the kh*kw*C values under every output position: (N, H, W, C) -> (N * H_out * W_out, kh * kw * C)."""
    xp = namespace(x)
    n, h, w, c = x.shape
    h_out, w_out = (h - kh) // stride + 1, (w - kw) // stride + 1
    if hasattr(xp, "lib"):
        # NumPy and CuPy: a view with overlapping strides costs nothing, and one copy of it a third of kh*kw slices.
        sn, sh, sw, sc = x.strides
        shape, strides = (n, h_out, w_out, kh, kw, c), (sn, sh * stride, sw * stride, sh, sw, sc)
        patches = xp.ascontiguousarray(xp.lib.stride_tricks.as_strided(x, shape, strides))
    else:
        offsets = [(a, b) for a in range(kh) for b in range(kw)]
        patches = xp.stack([x[:, _seen(a, h_out, stride), _seen(b, w_out, stride), :] for a, b in offsets], axis=3)
    return xp.reshape(patches, (n * h_out * w_out, kh * kw * c))


def _seen(offset: int, positions: int, stride: int) -> slice:
    """The lines that `positions` output positions see through the kernel line `offset`."""
    return slice(offset, offset + stride * (positions - 1) + 1, stride)

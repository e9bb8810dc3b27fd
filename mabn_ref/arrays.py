"""The array library an input belongs to, and the checks that every pass makes on its inputs.

There is no global switch: a function asks its input. NumPy, CuPy and array-api-strict arrays all answer with
the library that made them.
"""

from __future__ import annotations

import functools
import math
import sys
from typing import Any, TypeAlias

import numpy as np

__all__ = ["Array", "check_float_array", "check_squares", "less", "like", "namespace", "sums", "total"]

Array: TypeAlias = Any
"""An array of float32 or float64 of any library; arrays of complex or exact numbers pass through.

No static type covers the arrays of NumPy, CuPy and array-api-strict, so this one promises nothing to a type checker:
shapes and dtypes are in the docstrings and are checked when a function is called.
"""


def namespace(x: Array) -> Any:
    """Return the array library that made `x`.

    Parameters
    ----------
    x : array
        Any NumPy, CuPy or array-api-strict array.

    Returns
    -------
    module
        ``numpy``, ``cupy`` or ``array_api_strict``.

    Examples
    --------
    >>> import numpy as np
    >>> namespace(np.ones(3)).__name__
    'numpy'
    """
    if isinstance(x, np.ndarray):  # its subclasses may live anywhere
        return np
    return sys.modules[type(x).__module__.partition(".")[0]]


_BLOCK = 512


def sums(x: Array) -> Array:
    """Sum over the middle axis, block by block.

    A block of 512 values is summed as a matrix product with a row of ones, some eight times as fast as ``sum``; the
    sums of the blocks are summed in the same way. So each value goes through a few hundred additions and not through
    M, and the rounding of a long sum is that of a short one.

    Parameters
    ----------
    x : array, shape (G, M, C)
        Values.

    Returns
    -------
    array, shape (G, C)
        ``sum over m of x[g, m, c]``.

    Examples
    --------
    >>> import numpy as np
    >>> sums(np.full((1, 3, 2), 2.0))
    array([[6., 6.]])
    """
    xp = namespace(x)
    groups, values, channels = x.shape
    width = min(values, _BLOCK)
    ones = xp.reshape(xp.ones_like(x[:1, :width, :1]), (1, width))
    if values == width:
        return (ones @ x)[:, 0, :]
    whole = values - values % width
    parts = (ones @ xp.reshape(x[:, :whole, :], (groups, -1, width, channels)))[:, :, 0, :]
    if whole < values:
        parts = xp.concat([parts, sums(x[:, whole:, :])[:, None, :]], axis=1)
    return sums(parts)


def total(x: Array) -> Array:
    """Sum over all axes but the last, block by block as in `sums`.

    Parameters
    ----------
    x : array, shape (..., C)
        Values.

    Returns
    -------
    array, shape (C,)
        The sum per channel.

    Examples
    --------
    >>> import numpy as np
    >>> total(np.full((2, 3, 2), 2.0))
    array([12., 12.])
    """
    return sums(namespace(x).reshape(x, (1, -1, x.shape[-1])))[0, :]


def check_squares(name: str, x: Array, mean_square: Array, *, place: str = "channel") -> None:
    """Refuse finite values whose squares, or the sums of them, overflow; what is divided by them would become zero.

    Parameters
    ----------
    name : str
        The argument's name, for the message.
    x : array, shape (..., C)
        What was squared. If it holds an infinity or a NaN, anything passes: the outcome shows it.
    mean_square : array
        What the squares came to.
    place : str
        What the last axis of `x` counts.

    Raises
    ------
    OverflowError
        If `mean_square` is not finite although `x` is.

    Examples
    --------
    >>> import numpy as np
    >>> check_squares("x", np.array([[1.0, 1e200]]), np.array([[1.0, np.inf]]))
    Traceback (most recent call last):
    OverflowError: x reaches 1e+200 in channel 1, expected values whose squares sum up to at most 1.8e+308 (float64)
    """
    xp = namespace(x)
    if bool(xp.all(xp.abs(mean_square) < math.inf)):
        return
    sizes = xp.max(xp.abs(xp.reshape(x, (-1, x.shape[-1]))), axis=0)
    if bool(xp.all(sizes < math.inf)):
        where, most = int(xp.argmax(sizes)), float(xp.finfo(x.dtype).max)
        raise OverflowError(
            f"{name} reaches {float(sizes[where]):.3g} in {place} {where}, expected values whose squares sum up to "
            f"at most {most:.2g} ({_name(x.dtype)})"
        )


def less(x: Array, row: Array) -> Array:
    """``x - row[:, None, :]``, with several values of a channel in a row: some twice as fast for a few channels.

    Parameters
    ----------
    x : array, shape (G, M, C)
        Values.
    row : array, shape (G, C)
        What is subtracted.

    Returns
    -------
    array, shape (G, M, C)

    Examples
    --------
    >>> import numpy as np
    >>> less(np.array([[[5.0, 6.0], [7.0, 8.0]]]), np.array([[1.0, 2.0]]))
    array([[[4., 4.],
            [6., 6.]]])
    """
    xp = namespace(x)
    groups, values, channels = x.shape
    times = math.gcd(values, max(512 // channels, 1))
    rows = xp.reshape(x, (groups, values // times, times * channels))
    return xp.reshape(rows - xp.concat([row] * times, axis=1)[:, None, :], x.shape)


def check_float_array(name: str, x: Array, *, like: Array | None = None, like_name: str = "x") -> None:
    """Refuse anything but an array of float32 or float64 (complex and exact numbers pass).

    Parameters
    ----------
    name : str
        The argument's name, for the message.
    x : array
        The argument.
    like : array, optional
        Another argument whose dtype `x` must share when both are real floating arrays.
    like_name : str
        That argument's name.

    Raises
    ------
    TypeError
        If `x` is no array, or its dtype is an integer, boolean or half type, or differs from that of `like`.

    Examples
    --------
    >>> import numpy as np
    >>> check_float_array("x", np.arange(3))
    Traceback (most recent call last):
    TypeError: x has dtype int64, expected float32 or float64
    """
    if not hasattr(x, "dtype") or not hasattr(x, "shape"):
        raise TypeError(f"{name} is a {type(x).__name__}, expected an array of float32 or float64")
    dtype = _name(x.dtype)
    if dtype not in ("float32", "float64", "complex64", "complex128", "object"):
        raise TypeError(f"{name} has dtype {dtype}, expected float32 or float64")
    if like is not None and {dtype, _name(like.dtype)} == {"float32", "float64"}:
        raise TypeError(f"{name} has dtype {dtype}, expected {_name(like.dtype)}, the dtype of {like_name}")


def _name(dtype: Any) -> str:
    return _name_of(type(dtype).__module__, dtype)


@functools.cache  # NumPy takes longer to name a dtype than to sum a small array
def _name_of(library: str, dtype: Any) -> str:
    return str(dtype).rpartition(".")[2]  # `library` keeps dtypes of two of them from being compared


def like(x: Array, values: Any, dtype: Any = None) -> Array:
    """Make an array of a few host numbers beside `x`: its library, its device and, unless given, its dtype.

    Parameters
    ----------
    x : array
        The array to sit beside.
    values : sequence of numbers
        The values; small, since on a GPU they are copied.
    dtype : dtype, optional
        Another dtype than that of `x`.

    Returns
    -------
    array
        The values as an array.

    Examples
    --------
    >>> import numpy as np
    >>> like(np.ones(2, dtype=np.float32), [1, 2])
    array([1., 2.], dtype=float32)
    """
    xp = namespace(x)
    dtype = x.dtype if dtype is None else dtype
    if xp.__name__ == "cupy":  # its creation functions take no device: they use the current one
        return xp.asarray(values, dtype=dtype)
    return xp.asarray(values, dtype=dtype, device=x.device)

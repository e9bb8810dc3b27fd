"""The array library an input belongs to, and the checks that every pass makes on its inputs.

There is no global switch: a function asks its input. NumPy, CuPy and array-api-strict arrays all answer with
the library that made them.
"""

from __future__ import annotations

import functools
import math
import sys
from numbers import Integral, Rational, Real
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = Any
"""An array of float32 or float64 of NumPy, CuPy or array-api-strict; subclasses of NumPy's arrays are refused.

No static type covers the arrays of NumPy, CuPy and array-api-strict, so this one promises nothing to a type checker:
shapes and dtypes are in the docstrings and are checked when a function is called.
"""


def namespace(x: Array) -> Any:
    """Return the array library that made `x`: ``numpy``, ``cupy`` or ``array_api_strict``.

    Examples
    --------
    >>> import numpy as np
    >>> namespace(np.ones(3)).__name__
    'numpy'
    """
    if isinstance(x, np.ndarray):  # its subclasses may live anywhere
        return np
    return sys.modules[type(x).__module__.partition(".")[0]]


def reshaped(x: Array, shape: tuple[int, ...]) -> Array:
    """Return x in another shape; the method of an array, where there is one, takes a tenth of the function's time."""
    return x.reshape(shape) if hasattr(x, "reshape") else namespace(x).reshape(x, shape)


_BLOCK = 512


def sums(x: Array) -> Array:
    """Sum (G, M, C) over the middle axis, to (G, C), block by block.

    A block of 512 values is summed as a matrix product with a row of ones, some eight times as fast as ``sum``; the
    sums of the blocks are summed in the same way. So each value goes through a few hundred additions instead of M,
    and a long sum has no larger rounding error than a short one.

    Examples
    --------
    >>> import numpy as np
    >>> sums(np.full((1, 3, 2), 2.0))
    array([[6., 6.]])
    """
    groups, values, channels = x.shape
    width = min(values, _BLOCK)
    ones = namespace(x).ones((1, width), dtype=x.dtype, **_device(x))
    if values == width:
        return (ones @ x)[:, 0, :]
    whole = values - values % width
    parts = (ones @ reshaped(x[:, :whole, :], (groups, -1, width, channels)))[:, :, 0, :]
    if whole < values:
        parts = namespace(x).concat([parts, sums(x[:, whole:, :])[:, None, :]], axis=1)
    return sums(parts)


def total(x: Array) -> Array:
    """Sum over all axes but the last, block by block as in `sums`: one value per channel."""
    return sums(reshaped(x, (1, -1, x.shape[-1])))[0, :]


def check_squares(name: str, x: Array, mean_square: Array, *, place: str = "channel") -> None:
    """Refuse finite values whose squares, or the sum of these, overflow: dividing by that would give zero.

    Parameters
    ----------
    name : str
        The argument's name, for the message.
    x : array, shape (..., C)
        What was squared. If it holds an infinity or a NaN, nothing is refused, since the outcome shows it.
    mean_square : array
        The mean of the squares. If it is not finite although `x` is, that is an OverflowError.
    place : str
        What the last axis of `x` counts.

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
    """``x - row[:, None, :]`` for (G, M, C) and (G, C) or (1, C), with several values per channel in a row of memory.

    This is about twice as fast for a few channels. Long rows are best, since NumPy first copies those of fewer than
    8192 numbers into a buffer, as long as they are short compared with x.

    Examples
    --------
    >>> import numpy as np
    >>> less(np.array([[[5.0, 6.0], [7.0, 8.0]]]), np.array([[1.0, 2.0]]))
    array([[[4., 4.],
            [6., 6.]]])
    >>> less(np.array([[[5.0, 6.0]], [[7.0, 8.0]]]), np.array([[1.0, 2.0]])).tolist()
    [[[4.0, 4.0]], [[6.0, 6.0]]]
    """
    groups, values, channels = x.shape
    length = 8192 if values * channels >= 2**17 else 512
    times = math.gcd(values, 2 ** ((length - 1) // channels).bit_length())
    if times == 1:
        return x - row[:, None, :]
    rows = reshaped(x, (groups, values // times, times * channels))
    repeated = namespace(x).repeat(row[:, None, :], times, axis=1)
    return reshaped(rows - reshaped(repeated, (row.shape[0], 1, times * channels)), x.shape)


def check_at_least(name: str, value: Any, lowest: float, *, below: float = math.inf, whole: bool = False) -> None:
    """Refuse a value that is not a finite number (an integer if `whole`) in [`lowest`, `below`)."""
    if isinstance(value, bool) or not isinstance(value, Integral if whole else Real):
        raise TypeError(f"{name} is {shown(value)}, expected {range_in_words(lowest, below, whole)}")
    if not math.isfinite(value) or not lowest <= float(value) < below:
        raise ValueError(f"{name} is {shown(value)}, expected {range_in_words(lowest, below, whole)}")


def shown(value: Any) -> str:
    """Return a value as it is written in Python, a number of NumPy as the plain number.

    Examples
    --------
    >>> import numpy as np
    >>> shown(np.float32(0.1)), shown(np.bool_(True)), shown("sigma")
    ('0.1', 'True', "'sigma'")
    """
    if isinstance(value, np.number):
        return str(value)
    return repr(value.item() if isinstance(value, np.generic) else value)


def range_in_words(lowest: float, below: float, whole: bool) -> str:
    """Describe the values that `check_at_least` accepts."""
    if below < math.inf:
        return f"a number in [{lowest:g}, {below:g})"
    return f"{'an integer' if whole else 'a finite number'} of at least {lowest:g}"


def copied(x: Array) -> Array:
    """Return a copy, for code that keeps an array which its caller may change."""
    return x.copy() if hasattr(x, "copy") else 1 * x


def kind(value: Any) -> str:
    """Name what a value is, for a message: "None", "a dict", "a numpy.ma.MaskedArray", "an eval_norm.Config".

    Examples
    --------
    >>> import numpy as np
    >>> kind(np.ma.array([1.0])), kind(3), kind(None)
    ('a numpy.ma.MaskedArray', 'an int', 'None')
    """
    return kind_of(type(value))


def kind_of(own: type) -> str:
    """Name a class as `kind` names its instances."""
    if own is type(None):
        return "None"
    module = own.__module__
    if module.startswith("mabn_ref."):
        module = module.rpartition(".")[2]
    name = own.__qualname__ if module == "builtins" else f"{module}.{own.__qualname__}"
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def check_own(*pairs: tuple[Any, type]) -> None:
    """Refuse a `Config`, `State` or `Cache` that is not of exactly the expected class.

    A pair is an argument, named like its class in small letters, and that class. A subclass is refused too: Configs
    with the same fields may mean different methods.

    Examples
    --------
    >>> from mabn_ref.norms import batch_norm, mabn
    >>> check_own((mabn.Config(), batch_norm.Config))
    Traceback (most recent call last):
    TypeError: config is a mabn.Config, expected a batch_norm.Config
    """
    for value, own in pairs:
        if type(value) is not own:
            raise TypeError(f"{own.__name__.lower()} is {kind(value)}, expected {kind_of(own)}")


def check_generator(rng: Any) -> None:
    """Refuse anything but a generator of random numbers, such as a seed."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng is {shown(rng)}, expected a numpy Generator, such as numpy.random.default_rng(0)")


def check_plain(name: str, x: Array) -> None:
    """Refuse anything but an array of NumPy itself, CuPy or array-api-strict; NumPy's scalars pass.

    The operators of a subclass of ``numpy.ndarray`` may mean anything: those of a masked array leave values out.

    Examples
    --------
    >>> import numpy as np
    >>> check_plain("x", np.ma.array([1.0, 2.0], mask=[False, True]))
    Traceback (most recent call last):
    TypeError: x is a numpy.ma.MaskedArray, expected a plain numpy.ndarray: leave masked values out yourself
    """
    own = type(x)
    if own is np.ndarray or own.__module__.partition(".")[0] in _LIBRARIES or isinstance(x, np.generic):
        return
    if not hasattr(x, "dtype") or not hasattr(x, "shape"):
        raise TypeError(f"{name} is a {type(x).__name__}, expected an array of float32 or float64")
    wanted = f"{name} is {kind(x)}, expected a plain numpy.ndarray"
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{wanted}: leave masked values out yourself")
    raise TypeError(f"{wanted}, or an array of CuPy or array-api-strict; numpy.asarray({name}) makes one")


_LIBRARIES = ("cupy", "array_api_strict")
_REAL = ("float32", "float64")
_COMPLEX = ("complex64", "complex128")
_USUAL = (np.dtype("float32"), np.dtype("float64"))


def check_float_array(
    name: str, x: Array, *, like: Any = None, like_name: str = "x", real: bool = False, roots: bool = False
) -> None:
    """Refuse anything but a plain array of float32 or float64.

    There are two exceptions, for gradient checks: complex numbers whose imaginary part is a complex step, too small
    for its square to show, and object arrays of exact numbers, `mabn_ref.gradcheck.exact`. A larger imaginary part is
    a ValueError, everything else that is refused a TypeError.

    Parameters
    ----------
    name : str
        The argument's name, for the message.
    x : array
        The argument.
    like : array or dtype, optional
        Another argument, whose library `x` must share, or a dtype; if both dtypes are real they must be equal.
    like_name : str
        That argument's name.
    real : bool
        Refuse complex numbers unless `like` is complex, and exact numbers if `like` is real.
    roots : bool
        Whether square roots will be taken, which Python's fractions do not offer.

    Examples
    --------
    >>> import numpy as np
    >>> check_float_array("x", np.arange(3))
    Traceback (most recent call last):
    TypeError: x has dtype int64, expected float32 or float64
    """
    if (
        type(x) is np.ndarray
        and x.dtype in _USUAL
        and (like is None or (type(like) is np.ndarray and like.dtype is x.dtype))
    ):
        return  # the usual case, decided in a fraction of the time
    check_plain(name, x)
    if hasattr(like, "dtype") and namespace(x) is not namespace(like):
        library = namespace(like).__name__
        raise TypeError(f"{name} is {kind(x)}, expected an array of {library}, the library of {like_name}")
    dtype = _name(x.dtype)
    beside = None if like is None else _name(getattr(like, "dtype", like))
    if beside in _REAL and dtype != beside and (real or dtype in _REAL):
        raise TypeError(f"{name} has dtype {dtype}, expected {beside}, the dtype of {like_name}")
    if dtype in _COMPLEX and not (real and beside not in _COMPLEX):
        _check_step(name, x)
    elif dtype == "object":
        _check_exact(name, x, roots)
    elif dtype not in _REAL:
        swapped = f" in this machine's byte order; {name}.astype({name}.dtype.newbyteorder('=')) makes it so"
        hint = swapped if dtype[1:] in ("f4", "f8") else ""
        raise TypeError(f"{name} has dtype {dtype}, expected float32 or float64{hint}")


def check_shaped(name: str, x: Array, shape: tuple[int, ...], note: str = "", **beside: Any) -> None:
    """Refuse what `check_float_array` refuses, and an array of another shape than `shape`, with a ValueError.

    Parameters
    ----------
    name : str
        The argument's name, for the message.
    x : array
        The argument.
    shape : tuple of int
        The shape that it must have.
    note : str
        What the message says after the shape.
    beside
        Keywords of `check_float_array`.

    Examples
    --------
    >>> import numpy as np
    >>> check_shaped("b", np.ones(3), (2,), ", one for each output")
    Traceback (most recent call last):
    ValueError: b has shape (3,), expected (2,), one for each output
    """
    check_float_array(name, x, **beside)
    if tuple(x.shape) != shape:
        raise ValueError(f"{name} has shape {tuple(x.shape)}, expected {shape}{note}")


def check_inputs(x: Array, gamma: Array, beta: Array, samples: int = 1) -> None:
    """Refuse x, gamma and beta that do not fit together."""
    check_float_array("x", x, roots=True)
    check_shape(x, samples)
    channels = x.shape[-1]
    for name, value in (("gamma", gamma), ("beta", beta)):
        check_shaped(name, value, (channels,), f": x has {channels} channels, last axis", like=x)


def check_shape(x: Array, samples: int = 1) -> None:
    """Refuse x with fewer than `samples` samples, without channels, or with another axis empty."""
    if len(x.shape) < 2 or x.shape[0] < samples or 0 in x.shape[1:]:
        raise ValueError(f"x has shape {tuple(x.shape)}, expected (N, ..., C): channels last, no axis empty")


def check_varied(values: float, what: str, each: str = "channel") -> None:
    """Refuse to take the variance of one value per `each`; `what` says whose, with its shape, in the message."""
    if values == 1:
        said = f"one value per {each}, whose variance is 0 by construction"
        raise ValueError(f"{what}: {said}; expected at least 2 values per {each}")


def _check_step(name: str, x: Array) -> None:
    """Refuse complex numbers whose imaginary part is too large for a step: its square would show in the real part."""
    if 0 in x.shape:
        return
    xp = namespace(x)
    across, along = (float(xp.max(xp.abs(part(x)))) for part in (xp.imag, xp.real))
    if across > 2.0**-26 * (along or 1.0):
        raise ValueError(
            f"{name} has dtype {_name(x.dtype)} and imaginary parts of up to {across:.2g}, expected real numbers "
            "(or a complex step, below 1e-8 of the numbers themselves)"
        )


def _check_exact(name: str, x: Array, roots: bool) -> None:
    """Refuse object arrays of anything but exact numbers; ``numpy.sqrt`` calls the method ``sqrt`` of each."""
    found = {type(value) for value in x.ravel()}
    for own in sorted(found, key=str):
        if not (hasattr(own, "sqrt") or issubclass(own, int) or (issubclass(own, Rational) and not roots)):
            raise TypeError(
                f"{name} has dtype object and holds {kind_of(own)}, expected float32 or float64 "
                "(or the exact numbers of mabn_ref.gradcheck)"
            )


def _name(dtype: Any) -> str:
    return _name_of(type(dtype).__module__, dtype)


@functools.cache  # NumPy takes longer to name a dtype than to sum a small array
def _name_of(library: str, dtype: Any) -> str:
    return str(dtype).rpartition(".")[2]  # `library` keeps dtypes of two of them from being compared


def like(x: Array, values: Any, dtype: Any = None) -> Array:
    """Make an array of a few host numbers with the library, the device and, unless given, the dtype of `x`.

    Only a few, since a GPU has to copy them from the host.

    Examples
    --------
    >>> import numpy as np
    >>> like(np.ones(2, dtype=np.float32), [1, 2])
    array([1., 2.], dtype=float32)
    """
    return namespace(x).asarray(values, dtype=x.dtype if dtype is None else dtype, **_device(x))


def zeros(shape: tuple[int, ...], like: Array) -> Array:
    """Return zeros with the dtype of `like`, on its device."""
    return namespace(like).zeros(shape, dtype=like.dtype, **_device(like))


def arange(stop: int, like: Array) -> Array:
    """Return 0, 1, ..., stop - 1 as int64, on the device of `like`."""
    xp = namespace(like)
    return xp.arange(stop, dtype=xp.int64, **_device(like))


def _device(like: Array) -> dict[str, Any]:
    # CuPy creates on its current device and takes no such keyword.
    return {} if namespace(like).__name__ == "cupy" else {"device": like.device}

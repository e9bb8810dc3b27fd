"""New arrays beside an existing one: its array library and its device."""

from __future__ import annotations

from typing import Any

from mabn_ref.arrays import Array, namespace

__all__ = ["arange", "zeros"]


def zeros(shape: tuple[int, ...], like: Array) -> Array:
    """Return zeros of the dtype of `like`, on its device.

    Examples
    --------
    >>> import numpy as np
    >>> zeros((2,), like=np.ones(3, dtype=np.float32)).dtype
    dtype('float32')
    """
    out: Array = namespace(like).zeros(shape, dtype=like.dtype, **_device(like))
    return out


def arange(stop: int, like: Array) -> Array:
    """Return 0, 1, ..., stop - 1 as int64, on the device of `like`.

    Examples
    --------
    >>> import numpy as np
    >>> arange(3, like=np.ones(2))
    array([0, 1, 2])
    """
    xp = namespace(like)
    out: Array = xp.arange(stop, dtype=xp.int64, **_device(like))
    return out


def _device(like: Array) -> dict[str, Any]:
    # CuPy creates on its current device and takes no such keyword.
    return {} if namespace(like).__name__ == "cupy" else {"device": like.device}

"""The checks that every layer makes before anything is computed, and how many images it processes at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mabn_ref.arrays import Array, check_float_array, check_plain, check_shaped, namespace
from mabn_ref.arrays import check_varied as check_varied

_BLOCK_BYTES = 2**20
"""How much is gathered for one block of images: small enough for the cache, large enough for quick products."""


def check_rank(name: str, x: Array, axes: str, *, like: Array | None = None) -> None:
    """Refuse anything but a floating array with the named axes, none of them empty; `axes` reads "N, H, W, C"."""
    check_float_array(name, x, like=like)
    if len(x.shape) != axes.count(",") + 1 or 0 in x.shape:
        last = ": channels last, no axis empty" if axes.endswith(" C") else ", no axis empty"
        raise ValueError(f"{name} has shape {tuple(x.shape)}, expected ({axes}){last}")


def check_cotangent(name: str, value: Array, shape: tuple[int, ...], like: Any, like_name: str) -> None:
    """Refuse a cotangent whose shape or dtype is not that of the output it belongs to."""
    check_shaped(name, value, shape, ", the shape of the output", like=like, like_name=like_name, real=True)


def check_scalar_cotangent(name: str, value: Array | float, like: Array, like_name: str) -> Array | float:
    """Refuse the cotangent of a loss unless it is a number, or an array of shape () and the dtype of `like`."""
    if isinstance(value, (int, float)):
        return float(value)  # a NumPy float64 is a float too, and would turn float32 into float64
    check_shaped(name, value, (), ", the shape of the loss", like=like, like_name=like_name, real=True)
    return value


def check_integers(name: str, value: Array, logits: Array) -> None:
    """Refuse anything but a plain integer array of the library of `logits`."""
    if not hasattr(value, "dtype") or namespace(value) is not namespace(logits):
        raise TypeError(
            f"{name} is a {type(value).__module__}.{type(value).__name__}, expected an integer array of "
            f"{namespace(logits).__name__}, the library of logits"
        )
    check_plain(name, value)
    if not str(value.dtype).rpartition(".")[2].startswith(("int", "uint")):
        raise TypeError(f"{name} has dtype {value.dtype}, expected an integer dtype")


def check_targets(name: str, value: Array, logits: Array) -> None:
    """Refuse anything but zeros and ones, integers, of the shape of `logits`."""
    check_integers(name, value, logits)
    if tuple(value.shape) != tuple(logits.shape):
        raise ValueError(
            f"{name} has shape {tuple(value.shape)}, expected {tuple(logits.shape)}, the shape of logits"
        )
    if not bool(namespace(value).all((value == 0) | (value == 1))):
        raise ValueError(f"{name} has values other than 0 and 1, expected 1 where the answer is yes and 0 elsewhere")


def blocks(images: Array, values: int) -> list[slice]:
    """Cut images, each of which needs `values` values, into blocks; other libraries than NumPy get a single block."""
    n = images.shape[0]
    at_once = max(_BLOCK_BYTES // (values * images.dtype.itemsize), 1) if isinstance(images, np.ndarray) else n
    size = math.ceil(n / math.ceil(n / at_once))  # blocks of about the same size
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]

"""Where a run is computed: on the host with NumPy or on a CUDA device with CuPy, and how arrays are moved.

Weights, orders and augmentations are always drawn on the host, so that runs start from the same numbers on both.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from mabn_ref.arrays import namespace

DEVICES = ("cpu", "cuda")


class DeviceError(RuntimeError):
    """The device cannot be used; the message says why and what to do."""


def library(device: str) -> Any:
    """Return the array library that computes on `device`, one of `DEVICES`.

    For "cuda", raises ImportError if CuPy is not installed, and DeviceError if it is too old or a trial allocation
    fails: CuPy can be imported without a driver and without a device.
    """
    if device not in DEVICES:
        raise ValueError(f"device is {device!r}, expected one of {', '.join(DEVICES)}")
    if device == "cpu":
        return np
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        raise ImportError(
            'cupy is not installed: pip install "mabn_ref[cupy12x]" for CUDA 12, "mabn_ref[cupy13x]" for CUDA 13'
        ) from error
    try:
        cupy.zeros(1)
    except Exception as error:
        raise DeviceError(f"no CUDA device can be used, run with --device cpu instead: {error}") from error
    if not hasattr(cupy, "matrix_transpose"):  # CuPy has the names of the array-API standard since version 14
        raise DeviceError(
            f'cupy is version {cupy.__version__}, expected 14 or newer: pip install --upgrade "mabn_ref[cupy12x]"'
        )
    return cupy


def to_device(tree: Any, xp: Any) -> Any:
    """Copy the arrays of a tree of lists, tuples, dicts and states to the device of `xp`; leave all else as it is.

    Examples
    --------
    >>> to_device([{"w": np.ones(2)}, None, 3], np)
    [{'w': array([1., 1.])}, None, 3]
    """
    return mapped(tree, lambda _, value: xp.asarray(value) if hasattr(value, "dtype") else value)


def to_host(tree: Any) -> Any:
    """Copy the arrays of such a tree to the host; leave all else as it is."""

    def copied(_: str, value: Any) -> Any:
        if not hasattr(value, "dtype"):
            return value
        return namespace(value).asnumpy(value) if hasattr(namespace(value), "asnumpy") else np.asarray(value)

    return mapped(tree, copied)


def mapped(tree: Any, function: Callable[[str, Any], Any], place: str = "") -> Any:
    """Return such a tree with each value replaced by ``function(place, value)``, a place such as "/params/00/w"."""
    if isinstance(tree, dict):
        return {name: mapped(value, function, f"{place}/{name}") for name, value in tree.items()}
    if isinstance(tree, list):
        return [mapped(value, function, f"{place}/{number:02d}") for number, value in enumerate(tree)]
    if isinstance(tree, tuple):
        names = getattr(tree, "_fields", range(len(tree)))
        values = [mapped(value, function, f"{place}/{name}") for name, value in zip(names, tree, strict=True)]
        return type(tree)(*values) if hasattr(tree, "_fields") else tuple(values)
    return function(place, tree)


@contextlib.contextmanager
def out_of_memory_as_device_error() -> Iterator[None]:
    """Turn CuPy's out-of-memory error into a `DeviceError`."""
    try:
        yield
    except Exception as error:
        if type(error).__name__ != "OutOfMemoryError":
            raise
        raise DeviceError(
            f"the CUDA device is out of memory; use a smaller --width, or --device cpu: {error}"
        ) from error

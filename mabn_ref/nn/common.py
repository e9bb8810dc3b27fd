"""What every layer asks of its arguments, before anything is computed."""

from __future__ import annotations

from typing import Any

from mabn_ref.arrays import Array, check_float_array


def check_rank(name: str, x: Array, axes: str, *, like: Array | None = None, like_name: str = "x") -> None:
    """Refuse anything but a floating array with the named axes, none of them empty; `axes` reads "N, H, W, C"."""
    check_float_array(name, x, like=like, like_name=like_name)
    if len(x.shape) != axes.count(",") + 1 or 0 in x.shape:
        last = ": channels last, no axis empty" if axes.endswith(" C") else ", no axis empty"
        raise ValueError(f"{name} has shape {tuple(x.shape)}, expected ({axes}){last}")


def check_cotangent(name: str, value: Array, shape: tuple[int, ...], like: Any, like_name: str) -> None:
    """Refuse a cotangent whose shape or dtype is not that of the output it belongs to."""
    check_float_array(name, value, like=like, like_name=like_name, real=True)
    if tuple(value.shape) != shape:
        raise ValueError(f"{name} has shape {tuple(value.shape)}, expected {shape}, the shape of the output")

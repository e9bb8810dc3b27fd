"""What every source of images returns."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["CLASSES", "IMAGE_SHAPE", "Dataset", "Images", "Labels", "check_count", "check_images"]

CLASSES = 10
"""Classes in every data set here; labels are 0 to 9."""

IMAGE_SHAPE = (32, 32, 3)
"""Height, width, channels (red, green, blue): channels last."""

Images: TypeAlias = npt.NDArray[np.uint8]
Labels: TypeAlias = npt.NDArray[np.int64]


class Dataset(NamedTuple):
    """Images and their labels.

    Attributes
    ----------
    images : array of uint8, shape (N, 32, 32, 3)
        Pixel values 0 to 255, channels last, in the order red, green, blue.
    labels : array of int64, shape (N,)
        Class of each image, 0 to 9.
    """

    images: Images
    labels: Labels


def check_count(name: str, value: Any, *, at_least: int) -> None:
    """Refuse anything but an integer of at least `at_least`.

    Parameters
    ----------
    name : str
        The argument's name, for the message.
    value : object
        The argument.
    at_least : int
        The smallest value allowed.

    Raises
    ------
    TypeError
        If `value` is no integer (a bool is none).
    ValueError
        If it is smaller than `at_least`.

    Examples
    --------
    >>> check_count("size", 0, at_least=1)
    Traceback (most recent call last):
    ValueError: size is 0, expected an integer of at least 1
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} is {value!r}, expected an integer of at least {at_least}")
    if value < at_least:
        raise ValueError(f"{name} is {value}, expected an integer of at least {at_least}")


def check_images(images: Any) -> None:
    """Refuse anything but a batch of byte images with three channels, channels last.

    Parameters
    ----------
    images : object
        The argument.

    Raises
    ------
    TypeError
        If `images` is no array of uint8.
    ValueError
        If its shape is not (N, H, W, 3).

    Examples
    --------
    >>> check_images(np.zeros((2, 3, 32, 32), np.uint8))
    Traceback (most recent call last):
    ValueError: images has shape (2, 3, 32, 32), expected (N, H, W, 3), channels last
    """
    dtype = getattr(images, "dtype", None)
    if dtype != np.uint8:
        raise TypeError(f"images is {f'an array of {dtype}' if dtype else type(images).__name__}, expected uint8")
    if images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"images has shape {images.shape}, expected (N, H, W, 3), channels last")

"""What every source of images returns, and its checks.

Images are arrays of uint8, (N, H, W, 3), values 0 to 255, channels last in the order red, green, blue; labels are
integers, one for each image. What takes images leaves them unchanged, and raises TypeError for another dtype or for
a count that is not an integer, ValueError for another shape, another label or a count that is too small.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

CLASSES = 10
"""The most classes in a data set; labels are 0 to 9. A network has this many outputs, whichever labels occur."""

IMAGE_SHAPE = (32, 32, 3)
"""Height, width, channels (red, green, blue): channels last."""

Images: TypeAlias = npt.NDArray[np.uint8]
Labels: TypeAlias = npt.NDArray[np.int64]


class Dataset(NamedTuple):
    """Images (N, 32, 32, 3), uint8, and the class of each, 0 to 9: labels (N,), int64."""

    images: Images
    labels: Labels


def check_count(name: str, value: Any, *, at_least: int) -> None:
    """Refuse anything but an integer of at least `at_least`; a bool is not one.

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
    """Refuse anything but a batch of byte images with three channels, channels last."""
    dtype = getattr(images, "dtype", None)
    if dtype != np.uint8:
        raise TypeError(f"images is {f'an array of {dtype}' if dtype else type(images).__name__}, expected uint8")
    if images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"images has shape {images.shape}, expected (N, H, W, 3), channels last")


def check_dataset(dataset: Dataset) -> None:
    """Refuse a data set that does not have one or more images and one label, 0 to 9, for each."""
    images, labels = dataset
    check_images(images)
    dtype = getattr(labels, "dtype", None)
    if dtype is None or not np.issubdtype(dtype, np.integer):
        raise TypeError(
            f"labels is {f'an array of {dtype}' if dtype else type(labels).__name__}, expected an array of integers"
        )
    if labels.shape != (len(images),) or len(images) == 0:
        raise ValueError(
            f"labels has shape {labels.shape} beside {len(images)} images, expected one label per image, and at "
            "least one image"
        )
    wrong = (labels < 0) | (labels >= CLASSES)
    if np.any(wrong):
        at = int(np.argmax(wrong))
        raise ValueError(f"labels has {labels[at]} at {at}, expected 0 to {CLASSES - 1}")

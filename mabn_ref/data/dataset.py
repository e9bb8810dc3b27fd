"""What every source of images returns, and checks of it.

Images are arrays of uint8, (N, H, W, 3), values 0 to 255, channels last in the order red, green, blue; labels are
integers, one for each image. Functions that take images do not change them; they raise TypeError for another dtype or
for a count that is not an integer, ValueError for another shape, a label out of range or a count that is too small.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from mabn_ref.arrays import check_at_least

CLASSES = 10
"""The most classes in a data set; labels are 0 to 9. A network has this many outputs, whichever labels occur."""

Images: TypeAlias = npt.NDArray[np.uint8]
Labels: TypeAlias = npt.NDArray[np.int64]
Kind = TypeVar("Kind", bound=NamedTuple)


class Dataset(NamedTuple):
    """Images (N, 32, 32, 3), uint8, and the class of each, 0 to 9: labels (N,), int64."""

    images: Images
    labels: Labels


def drawn(
    block: Callable[[np.random.Generator], Kind], length: int, train_size: int, test_size: int, seed: int, stream: int
) -> tuple[Kind, Kind]:
    """Return a training set and a test set, drawn `length` at a time by `block`.

    The sets are the streams `stream` and ``stream + 1`` of the seed. Within them each block has a stream of its own,
    so a small set is the start of a large one.
    """
    check_at_least("train_size", train_size, 1, whole=True)
    check_at_least("test_size", test_size, 1, whole=True)
    check_at_least("seed", seed, 0, whole=True)

    def one(size: int, number: int) -> Kind:
        blocks = [block(np.random.default_rng([seed, number, index])) for index in range(-(-size // length))]
        return blocks[0]._make(np.concatenate(parts)[:size] for parts in zip(*blocks, strict=True))

    return one(train_size, stream), one(test_size, stream + 1)


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

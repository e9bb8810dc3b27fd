"""What happens to images before training: a class-balanced subset, a random flip and crop, standardised floats."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mabn_ref.arrays import check_at_least, check_generator
from mabn_ref.data.dataset import Dataset, Images, check_dataset, check_images

PADDING = 4
"""Black pixels added on each side before cropping back, so images move by up to 4 pixels each way."""

_BLOCK = 1024


def balanced(dataset: Dataset, size: int, seed: int) -> Dataset:
    """Return `size` images drawn at random, equally many of each class, in the order of `dataset`.

    Where `size` is not a multiple of the number of classes that occur, the counts of two classes differ by at most
    one, and the seed decides which classes get the extra image. Subsets of one seed are nested: a smaller one is part
    of every larger one. A class that holds fewer images than its share is an error.

    Examples
    --------
    >>> labels = np.repeat([3, 7], 20)
    >>> part = balanced(Dataset(np.zeros((40, 32, 32, 3), np.uint8), labels), size=20, seed=0)
    >>> np.unique(part.labels, return_counts=True)
    (array([3, 7]), array([10, 10]))
    """
    check_dataset(dataset)
    check_at_least("size", size, 1, whole=True)
    check_at_least("seed", seed, 0, whole=True)
    rng = np.random.default_rng(seed)
    classes, counts = np.unique(dataset.labels, return_counts=True)
    wanted = np.full(len(classes), size // len(classes))
    wanted[rng.permutation(len(classes))[: size % len(classes)]] += 1
    chosen = []
    for label, held, share in zip(classes, counts, wanted, strict=True):
        if held < share:
            raise ValueError(
                f"size is {size}, which needs {share} images of class {label}, but the data set holds {held}; "
                f"expected at most {len(classes) * min(counts)}, equally many per class"
            )
        chosen.append(rng.permutation(np.flatnonzero(dataset.labels == label))[:share])
    order = np.sort(np.concatenate(chosen))
    return Dataset(dataset.images[order], dataset.labels[order])


def flip_and_crop(images: Images, rng: np.random.Generator) -> Images:
    """Return each image flipped left to right with probability 1/2, then shifted by -4 to 4 pixels each way.

    What moves in from outside is black (0). NumPy draws the random numbers on the host, three draws per call, so a
    run can be repeated exactly.

    Examples
    --------
    >>> images = np.full((1, 32, 32, 3), 255, np.uint8)
    >>> out = flip_and_crop(images, np.random.default_rng(2))
    >>> int(np.sum(out[0, :, 16, 0] == 0)), int(np.sum(out[0, 16, :, 0] == 0))  # black rows, black columns
    (4, 2)
    """
    check_images(images)
    check_generator(rng)
    n, height, width, _ = images.shape
    flip = rng.random((n, 1, 1, 1)) < 0.5
    top = rng.integers(0, 2 * PADDING + 1, n)
    left = rng.integers(0, 2 * PADDING + 1, n)

    flipped = np.where(flip, images[:, :, ::-1], images)
    padded = np.pad(flipped, ((0, 0), (PADDING, PADDING), (PADDING, PADDING), (0, 0)))
    crops = np.lib.stride_tricks.sliding_window_view(padded, (height, width, 3), axis=(1, 2, 3))
    moved: Images = crops[np.arange(n), top, left, 0]
    return moved


def channel_statistics(images: Images) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the mean and standard deviation of each channel, float64, in units of pixel values, 0 to 255.

    `images` are the training images, at least one. The statistics come from a histogram of the 256 byte values, so
    that no array of floats the size of the images is made.
    """
    check_images(images)
    if images.size == 0:
        raise ValueError(f"images has shape {images.shape}, expected at least one pixel")
    counts = np.zeros((3, 256), np.int64)
    for start in range(0, len(images), _BLOCK):
        for channel in range(3):
            values = images[start : start + _BLOCK, ..., channel].ravel()
            counts[channel] += np.bincount(values, minlength=256)
    share = counts / counts.sum(axis=1, keepdims=True)
    value = np.arange(256.0)
    mean = np.sum(share * value, axis=1)
    var = np.sum(share * (value - mean[:, None]) ** 2, axis=1)
    return mean, np.sqrt(var)


def to_float(images: Images, mean: npt.ArrayLike, std: npt.ArrayLike, *, dtype: Any = np.float32) -> npt.NDArray[Any]:
    """Return ``(images - mean) / std`` per channel, in `dtype`; a channel with a `std` of 0 becomes 0.

    Such a channel is the same in all training images, and nothing can be learned from it. Where it differs, in test
    images or where a crop moves black in, it is 0 as well, since the network never saw such values.

    Parameters
    ----------
    images : array of uint8, shape (N, H, W, 3)
        Pixel values.
    mean, std : array, shape (3,)
        Constants of the training set, see `channel_statistics`; use the same ones for the test images.
    dtype : dtype, optional
        float32 (default) or float64.

    Examples
    --------
    >>> images = np.full((1, 1, 1, 3), 128, np.uint8)
    >>> to_float(images, mean=[128, 120, 120], std=[64, 64, 64])
    array([[[[0.   , 0.125, 0.125]]]], dtype=float32)
    """
    check_images(images)
    dtype = np.dtype(dtype)
    if dtype not in (np.float32, np.float64):
        raise TypeError(f"dtype is {dtype}, expected float32 or float64")
    mean, std = np.asarray(mean, dtype), np.asarray(std, dtype)
    for name, value in (("mean", mean), ("std", std)):
        if value.shape != (3,):
            raise ValueError(f"{name} has shape {value.shape}, expected (3,), one value per channel")
    if not (np.all(std >= 0) and np.all(np.isfinite(std)) and np.all(np.isfinite(mean))):
        raise ValueError(f"mean is {mean}, std is {std}, expected finite numbers and no std below 0")
    out: npt.NDArray[Any] = images.astype(dtype)
    out -= mean
    out /= np.where(std > 0, std, np.inf)
    return out

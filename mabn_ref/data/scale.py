"""From bytes to floats: standardise each colour channel by constants of the training set."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mabn_ref.data.dataset import Images, check_images

__all__ = ["channel_statistics", "to_float"]

_BLOCK = 1024


def channel_statistics(images: Images) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the mean and standard deviation of each channel, computed once from the training images.

    Counted from a histogram of the 256 byte values, so that no array of floats the size of the images is made.

    Parameters
    ----------
    images : array of uint8, shape (N, H, W, 3)
        The training images, at least one.

    Returns
    -------
    mean, std : array of float64, shape (3,)
        In units of pixel values, 0 to 255.

    Raises
    ------
    TypeError, ValueError
        If `images` is not uint8 or not (N, H, W, 3), or holds no pixel.

    Examples
    --------
    >>> import numpy as np
    >>> images = np.zeros((1, 2, 2, 3), np.uint8)
    >>> images[0, 0] = 100
    >>> channel_statistics(images)
    (array([50., 50., 50.]), array([50., 50., 50.]))
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

    Such a channel is the same in all training images, and nothing can be learned from it. It is 0 wherever it then
    differs, in test images or where a crop moves black in, since the network never met such values.

    Parameters
    ----------
    images : array of uint8, shape (N, H, W, 3)
        Pixel values, channels last.
    mean, std : array, shape (3,)
        Constants of the training set, see `channel_statistics`; the test images take the same ones.
    dtype : dtype, optional
        float32 (default) or float64.

    Returns
    -------
    array of `dtype`, shape (N, H, W, 3)
        Standardised images.

    Raises
    ------
    TypeError
        If `images` is not uint8, or `dtype` is not float32 or float64.
    ValueError
        If the shapes are not (N, H, W, 3) and (3,), or a standard deviation is negative or not finite.

    Examples
    --------
    >>> import numpy as np
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
            raise ValueError(f"{name} has shape {value.shape}, expected (3,), one value a channel")
    if not (np.all(std >= 0) and np.all(np.isfinite(std)) and np.all(np.isfinite(mean))):
        raise ValueError(f"mean is {mean}, std is {std}, expected finite numbers and no std below 0")
    out: npt.NDArray[Any] = images.astype(dtype)
    out -= mean
    out /= np.where(std > 0, std, np.inf)
    return out

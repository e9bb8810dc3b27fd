"""Which test images a network gets right, kept in a record; differences with intervals over seeds and images."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.train.table_layout import FEWEST, Interval, t_quantile


def packed(right: Array) -> dict[str, Any]:
    """Return whether each image was right as a JSON value, eight images to a byte.

    Examples
    --------
    >>> packed(np.array([True, False, True]))
    {'images': 3, 'bits': 'oA=='}
    """
    return {"images": len(right), "bits": base64.b64encode(np.packbits(right).tobytes()).decode()}


def unpacked(kept: dict[str, Any]) -> Array:
    """Return what was `packed`: True for each image that was right."""
    bits = np.frombuffer(base64.b64decode(kept["bits"]), np.uint8)
    return np.unpackbits(bits, count=kept["images"]).astype(bool)


def two_way(values: Array) -> Interval:
    """Return the mean of an array (seeds, images) with a 95 % interval for other seeds and other images.

    Each value is the true mean plus an effect of the seed, one of the image, and chance. With S seeds, I images, and
    the mean squares M of a two-way analysis of variance without repetition, the variance of the mean is estimated as

        (M_seeds + max(M_images - M_rest, 0)) / (S I),

    and the degrees of freedom of its t interval are (S - 1) (1 + max(M_images - M_rest, 0) / M_seeds)^2, rounded down
    and fewer than the images (S. L. Hillis, *Statistics in Medicine* 26, 2007). With fewer than `FEWEST` seeds
    there is no interval. If the means of all seeds are equal, which is less variation than chance gives, M_rest takes
    the place of M_seeds, and the degrees of freedom are one fewer than the images.

    Examples
    --------
    Four images: the first is always gained, and at most one of the others:

    >>> gained = np.array([[1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    >>> interval = two_way(gained)
    >>> round(interval.mean, 2), round(interval.half, 2), interval.freedom
    (0.33, 0.75, 3)
    """
    seeds, images = values.shape
    mean = float(np.mean(values))
    if seeds < FEWEST or images < 2:
        return Interval(mean, None, seeds)
    of_seeds, of_images = values.mean(axis=1, keepdims=True), values.mean(axis=0, keepdims=True)
    of_chance = values - of_seeds - of_images + mean
    square_seeds = images * float(np.sum((of_seeds - mean) ** 2)) / (seeds - 1)
    square_images = seeds * float(np.sum((of_images - mean) ** 2)) / (images - 1)
    square_rest = float(np.sum(of_chance**2)) / ((seeds - 1) * (images - 1))
    further, freedom = max(square_images - square_rest, 0.0), images - 1
    square = (square_seeds or square_rest) + further
    if square_seeds:  # sums of hits are whole numbers, so that equal means have no rounding
        freedom = int(min(freedom, (seeds - 1) * (square / square_seeds) ** 2))
    half = t_quantile(freedom) * math.sqrt(square / (seeds * images))
    return Interval(mean, half, seeds, freedom)

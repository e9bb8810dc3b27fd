"""Images to train on: CIFAR-10 from its binary files, and a procedural data set that needs no file at all.

`embedded` generates the default data set, `cifar` reads CIFAR-10, `fetch` downloads it; `subset` picks class-balanced
parts, `augment` flips and crops, `scale` turns bytes into standardised floats. NumPy alone, but for `fetch`.
"""

from __future__ import annotations

from mabn_ref.data.dataset import CLASSES, IMAGE_SHAPE, Dataset
from mabn_ref.data.scale import channel_statistics, to_float

__all__ = ["CLASSES", "IMAGE_SHAPE", "Dataset", "channel_statistics", "to_float"]

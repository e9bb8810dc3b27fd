"""Images to train on: CIFAR-10 from its binary files, and generated data sets that need no file at all.

`embedded` generates the default data set, `scenes` the same textures with a class for every pixel; `cifar` reads
CIFAR-10, `fetch` downloads it; `images` picks class-balanced parts, flips and crops, and turns bytes into
standardised floats. All but `fetch` need only NumPy.
"""

from mabn_ref.data.dataset import CLASSES, Dataset
from mabn_ref.data.images import channel_statistics, to_float

__all__ = ["CLASSES", "Dataset", "channel_statistics", "to_float"]

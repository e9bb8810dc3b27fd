"""What a network is trained to predict: the class of an image, or the class of every pixel.

The second is the paper's COCO and Cityscapes experiments in miniature: on the scenes of `mabn_ref.data.scenes`, with
a tiny encoder-decoder, and measured by the mean intersection over union of the classes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.data import CLASSES as CLASS_COUNT
from mabn_ref.data import Dataset, channel_statistics, scenes
from mabn_ref.nn import network, networks
from mabn_ref.train import datasets
from mabn_ref.train.config import RunConfig

EXAMPLES = 4
"""How many test scenes a record keeps the predictions of."""

_PIXEL_CLASSES = len(scenes.CLASS_NAMES)


class Task(NamedTuple):
    """What the training loop leaves open."""

    load: Callable[[RunConfig], datasets.Images]
    """Images with their labels, one per image or one per pixel."""
    network: Callable[..., list[network.Layer]]
    """Given a normaliser's module, its Config, `width`, `centralized` and `standardized`: layers up to the logits."""
    test_batch: int
    """Test images at a time."""
    figures: Callable[[Array, Array], dict[str, float]]
    """The figures of an epoch, `test_error` in % among them, from predictions and labels."""
    tested: str = "test images"
    """What messages call the images that are tested on."""
    examples: bool = False
    """Whether a record keeps the last predictions of the first test images."""


def encoder_decoder(
    module: Any, config: Any, *, centralized: bool = False, standardized: bool = False, width: int = 16
) -> list[network.Layer]:
    """Three convolutions down to a quarter of each side, two up again, and a class for every pixel.

    A 32x32 image becomes maps of 16, 8 and 8 pixels, then, after nearest upsampling, of 16 and 32. The weights of all
    convolutions but the last, which no normaliser follows, are centralised or standardised. The first convolution and
    the last map have `width` channels.
    """
    channels = [3, width, 2 * width, 2 * width, width, width]
    layers: list[network.Layer] = []
    for i, stride in enumerate((2, 2, 1, 1, 1), start=1):
        if i > 3:
            layers.append(network.Upsample(f"up{i - 3}"))
        conv = network.Conv(f"conv{i}", channels[i - 1], channels[i], stride=stride)
        layers.append(conv._replace(centralized=centralized, standardized=standardized))
        layers.append(network.Norm(f"norm{i}", module, channels[i], config))
        layers.append(network.ReLU(f"relu{i}"))
    return [*layers, network.Conv("head", width, _PIXEL_CLASSES, kernel=1, padding=0)]


def mean_iou(confusion: Array) -> float:
    """Return the mean over classes of intersection over union, in %.

    `confusion` counts pixels by true class and predicted class. Classes that are neither there nor predicted do not
    count.

    Examples
    --------
    Two classes, of which one pixel of four is taken for the other:

    >>> round(mean_iou(np.array([[2, 0], [1, 1]])), 2)
    58.33
    """
    both = np.diag(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - both
    return float(100 * np.mean(both[union > 0] / union[union > 0]))


def _error(predicted: Array, labels: Array) -> dict[str, float]:
    return {"test_error": 100 * int(np.sum(predicted != labels)) / len(labels)}


def _pixel_figures(predicted: Array, masks: Array) -> dict[str, float]:
    counts = np.bincount((_PIXEL_CLASSES * masks + predicted).ravel(), minlength=_PIXEL_CLASSES**2)
    iou = mean_iou(counts.reshape(_PIXEL_CLASSES, _PIXEL_CLASSES))
    return {"test_error": float(100 * np.mean(predicted != masks)), "mean_iou": iou}


def _scenes(config: RunConfig) -> datasets.Images:
    """Scenes, the same for all seeds; `data` is "embedded" and stands for them, and nothing is augmented."""
    if config.data != "embedded" or config.augment:
        raise ValueError(
            f"data is {config.data!r} and augment {config.augment}, expected 'embedded' and False: scenes are drawn"
        )
    train, test = scenes.generate(config.train_size or 0, config.test_size or 0, 0)
    mean, std = channel_statistics(train.images)
    return datasets.Images(Dataset(*train), Dataset(*test), mean, std)


CLASSES = Task(datasets.load, functools.partial(networks.small_network, classes=CLASS_COUNT), 250, _error)
PIXELS = Task(_scenes, encoder_decoder, 100, _pixel_figures, tested="test scenes", examples=True)

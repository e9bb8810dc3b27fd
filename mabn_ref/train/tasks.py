"""What a network is trained to predict: the class of an image, the class of every pixel, or boxes.

The second is the paper's Cityscapes experiments in miniature: a tiny encoder-decoder on the scenes of
`mabn_ref.data.scenes`, measured by the mean intersection over union of the classes. The third is its COCO
experiments: the detector of `mabn_ref.train.boxes` on the scenes of `mabn_ref.data.boxes`, measured by average
precision.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.data import CLASSES as CLASS_COUNT
from mabn_ref.data import boxes as box_scenes
from mabn_ref.data import scenes
from mabn_ref.nn import network, softmax_cross_entropy
from mabn_ref.nn.layers import normaliser
from mabn_ref.nn.networks import NETWORKS
from mabn_ref.train import boxes, datasets
from mabn_ref.train.average_precision import average_precision
from mabn_ref.train.config import RunConfig, head_config
from mabn_ref.train.devices import to_device, to_host

EXAMPLES = 4  #: the number of test scenes whose predictions a record keeps

LIKELY = 0.3  #: the lowest score of a detection that a record keeps

_PIXEL_CLASSES = len(scenes.CLASS_NAMES)
_OF_BOXES = ("heads", "exposure", "textured")


class Task:
    """What the training loop needs to know of a task; here, to predict the class of an image."""

    tested = "test images"  #: the name of the test images in messages
    test_batch = 250  #: test images per forward pass
    answers = 1  #: answers per image
    #: figures of the last epoch that a record keeps, with examples; if there are none, it keeps no examples
    measures: tuple[str, ...] = ()

    def load(self, config: RunConfig) -> datasets.Images:
        """Return images with their labels: one per image, one per pixel, or boxes."""
        return datasets.load(config)

    def network(self, config: RunConfig, module: Any, norm: Any) -> list[network.Layer]:
        """Return the layers up to the logits; raise ValueError if `config` sets a field of another task."""
        _refuse(config, _OF_BOXES, "this task has no boxes")
        return NETWORKS[config.network](module, norm, classes=CLASS_COUNT, **of_network(config))

    def loss(self, logits: Array, labels: Array, xp: Any) -> tuple[float, Array, int]:
        """Return the loss of a gradient batch, its gradient, and how many answers are wrong."""
        truth = labels.ravel()
        scores = xp.reshape(logits, (len(truth), -1))
        value, cache = softmax_cross_entropy.forward(scores, to_device(truth, xp))
        gradient = xp.reshape(softmax_cross_entropy.backward(1.0, cache), tuple(logits.shape))
        return float(value), gradient, int(np.sum(np.argmax(to_host(scores), axis=1) != truth))

    def predictions(self, logits: Array) -> Array:
        """Return the network's predictions, from logits on the host."""
        return np.argmax(logits, axis=-1)

    def figures(self, predicted: Array, labels: Array) -> dict[str, float]:
        """Return the figures of an epoch, including `test_error` in %."""
        return {"test_error": 100 * int(np.sum(predicted != labels)) / len(labels)}

    def examples(self, predicted: Array) -> list[Any]:
        """Return the examples that a record keeps of the last predictions for the first test images."""
        return []


class Pixels(Task):
    """The class of every pixel of a scene; scenes are the same for all seeds and not augmented."""

    tested = "test scenes"
    test_batch = 100
    answers = 32 * 32
    measures = ("mean_iou",)

    def load(self, config: RunConfig) -> datasets.Images:
        return _drawn(config, scenes.generate)

    def network(self, config: RunConfig, module: Any, norm: Any) -> list[network.Layer]:
        _refuse(config, _OF_BOXES, "this task has no boxes")
        _refuse(config, ["network"], "scenes have a network of their own")
        return encoder_decoder(module, norm, **of_network(config))

    def figures(self, predicted: Array, labels: Array) -> dict[str, float]:
        counts = np.bincount((_PIXEL_CLASSES * labels + predicted).ravel(), minlength=_PIXEL_CLASSES**2)
        iou = mean_iou(counts.reshape(_PIXEL_CLASSES, _PIXEL_CLASSES))
        return {"test_error": float(100 * np.mean(predicted != labels)), "mean_iou": iou}

    def examples(self, predicted: Array) -> list[Any]:
        return ["".join(map(str, image.ravel())) for image in predicted]


class Boxes(Task):
    """The boxes of a scene. The error is 100 % minus the average precision."""

    tested = "test scenes"
    test_batch = 100
    answers = boxes.CELLS
    measures = ("ap", "ap50", "ap75")

    def load(self, config: RunConfig) -> datasets.Images:
        return _drawn(config, box_scenes.generate, exposure=config.exposure, textured=config.textured)

    def network(self, config: RunConfig, module: Any, norm: Any) -> list[network.Layer]:
        _refuse(config, ["network"], "scenes have a network of their own")
        head = head_config(config, norm)
        return boxes.detector(module, norm, heads=config.heads, head=head, **of_network(config))

    def loss(self, logits: Array, labels: Array, xp: Any) -> tuple[float, Array, int]:
        return boxes.loss(logits, labels, xp)

    def predictions(self, logits: Array) -> Array:
        return boxes.detections(logits)

    def figures(self, predicted: Array, labels: Array) -> dict[str, float]:
        found = average_precision(predicted, labels, boxes.CLASSES)
        return {"test_error": 100 - found["ap"], **found}

    def examples(self, predicted: Array) -> list[Any]:
        """Return the detections with a score of at least `LIKELY`, which are drawn, from the highest score down."""
        likely = (predicted[..., 0] >= 0) & (predicted[..., 1] >= LIKELY)
        return [of_one[drawn].round(3).tolist() for of_one, drawn in zip(predicted, likely, strict=True)]


CLASSES, PIXELS, BOXES = Task(), Pixels(), Boxes()


def _refuse(config: RunConfig, names: Sequence[str], reason: str) -> None:
    """Refuse a configuration that sets one of the fields `names`, which are for other tasks."""
    for name in names:
        value, unused = getattr(config, name), getattr(RunConfig, name)
        if value != unused:
            raise ValueError(f"{name} is {value!r}, expected {unused!r}: {reason}")


def of_network(config: RunConfig) -> dict[str, Any]:
    """Return the fields of a run that every network takes, besides its normaliser."""
    return {name: getattr(config, name) for name in ("width", "centralized", "standardized")}


def _drawn(config: RunConfig, generate: Callable[..., Any], **settings: Any) -> datasets.Images:
    if config.data != "embedded" or config.augment:
        raise ValueError(
            f"data is {config.data!r} and augment {config.augment}, expected 'embedded' and False for scenes"
        )
    _refuse(config, ["held_out", "gradient_centralized"], "it applies to whole images only")
    return datasets.generated(generate, config.train_size, config.test_size, **settings)


def encoder_decoder(module: Any, config: Any, *, width: int = 16, **treated: bool) -> list[network.Layer]:
    """Return the layers: three convolutions down to a quarter of each side, two up again, a class for every pixel.

    The maps of a 32x32 image have sides of 16, 8 and 8 pixels, then, after nearest upsampling, of 16 and 32. The
    weights of all convolutions but the last, which no normaliser follows, may be `centralized` or `standardized`. The
    first convolution and the last map have `width` channels.
    """
    channels = [3, width, 2 * width, 2 * width, width, width]
    layers: list[network.Layer] = []
    for i, stride in enumerate((2, 2, 1, 1, 1), start=1):
        if i > 3:
            layers.append(network.Upsample(f"up{i - 3}"))
        layers.append(network.Conv(f"conv{i}", channels[i - 1], channels[i], stride=stride, **treated))
        layers.append(normaliser(f"norm{i}", module, channels[i], config))
        layers.append(network.ReLU(f"relu{i}"))
    return [*layers, network.Conv("head", width, _PIXEL_CLASSES, kernel=1, padding=0)]


def mean_iou(confusion: Array) -> float:
    """Return the mean over classes of intersection over union, in %.

    `confusion` counts pixels by true class and predicted class. Classes that are neither present nor predicted do not
    count.

    Examples
    --------
    Two classes; one pixel of four is predicted wrongly:

    >>> round(mean_iou(np.array([[2, 0], [1, 1]])), 2)
    58.33
    """
    both = np.diag(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - both
    return float(100 * np.mean(both[union > 0] / union[union > 0]))

"""A one-stage detector: its layers, the targets of its output cells, its loss, and the boxes that it finds.

A scene of `mabn_ref.data.boxes` becomes a grid of 6 by 6 cells. Each predicts, for every class, whether an object of
that class is centred nearby, and the distances from the cell's middle to the sides of that object, as logarithms of
cells. There are no anchors: this is FCOS (Tian et al., 2019) with a single level, and the focal loss of RetinaNet.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mabn_ref.arrays import Array
from mabn_ref.data import boxes
from mabn_ref.nn import focal_loss, iou_loss, network
from mabn_ref.nn.layers import normaliser
from mabn_ref.train.devices import to_device, to_host

CLASSES = len(boxes.CLASS_NAMES)
STRIDE = 8  #: pixels from one cell to the next
CELLS = (boxes.SIZE // STRIDE) ** 2
KEPT = 100  #: the most detections per scene

_PRIOR = 0.05  #: probability of a yes before training: about one cell in six belongs to an object
_LEAST_SCORE, _OVERLAP = 0.05, 0.5
_FARTHEST = 10.0  #: cap on logarithms of distances, far beyond any scene, so that their exponentials do not overflow
_middle = STRIDE * (np.arange(boxes.SIZE // STRIDE) + 0.5)
MIDDLES = np.stack(np.meshgrid(_middle, _middle), axis=-1).reshape(-1, 2)
"""x and y of the middle of each cell, in pixels, row by row."""


class Targets(NamedTuple):
    """What the cells of N scenes should predict."""

    positive: npt.NDArray[np.bool_]  #: (N, cells): whether the cell answers for an object
    classes: npt.NDArray[np.int64]  #: (N, cells): the class of that object, -1 if there is none
    distances: npt.NDArray[np.float64]  #: (N, cells, 4): to the object's left, top, right and bottom, in cells


def detector(
    module: Any, config: Any, *, width: int = 16, heads: bool = False, head: Any = None, **treated: bool
) -> list[network.Layer]:
    """Return the layers: five convolutions with normaliser and ReLU, a head of one convolution, the output per cell.

    With `heads` the head has a normaliser too, whose Config is `head`. Convolutions followed by a normaliser may be
    `centralized` or `standardized`.
    """
    channels = [3, width, 2 * width, 2 * width, 4 * width, 4 * width]
    layers: list[network.Layer] = []
    for i, stride in enumerate((2, 2, 1, 2, 1), start=1):
        layers.append(network.Conv(f"conv{i}", channels[i - 1], channels[i], stride=stride, **treated))
        layers.append(normaliser(f"norm{i}", module, channels[i], config))
        layers.append(network.ReLU(f"relu{i}"))
    last = channels[-1]
    layers.append(network.Conv("head", last, last, **(treated if heads else {})))
    if heads:
        layers.append(normaliser("head norm", module, last, head))
    start = (-math.log(1 / _PRIOR - 1),) * CLASSES + (0.0,) * 4
    layers += [network.ReLU("head relu"), network.Conv("output", last, CLASSES + 4, kernel=1, padding=0)]
    return [*layers, network.Bias("output bias", CLASSES + 4, start)]


def targets(truth: npt.NDArray[np.int64]) -> Targets:
    """Return the targets of each cell, for boxes (N, B, 5) as in `mabn_ref.data.boxes.Scenes`.

    A cell answers for the smallest object that contains the cell's middle and is centred less than a cell away from
    it, horizontally and vertically: about four cells per object.

    Examples
    --------
    >>> found = targets(np.array([[[2, 8, 8, 24, 24]]]))
    >>> np.flatnonzero(found.positive), found.classes[found.positive], found.distances[found.positive][0]
    (array([ 7,  8, 13, 14]), array([2, 2, 2, 2]), array([0.5, 0.5, 1.5, 1.5]))
    """
    low, high = truth[:, None, :, 1:3], truth[:, None, :, 3:5]
    middles = MIDDLES[None, :, None, :]
    distances = np.concatenate([middles - low, high - middles], axis=-1) / STRIDE
    near = np.max(np.abs(middles - (low + high) / 2), axis=-1) < STRIDE
    mine = near & (np.min(distances, axis=-1) > 0) & (truth[:, None, :, 0] >= 0)
    areas = np.prod(high - low, axis=-1)
    chosen = np.argmin(np.where(mine, areas, np.inf), axis=-1)[..., None]
    positive = np.any(mine, axis=-1)
    classes = np.take_along_axis(np.broadcast_to(truth[:, None, :, 0], mine.shape), chosen, axis=-1)[..., 0]
    to_sides = np.take_along_axis(distances, chosen[..., None], axis=-2)[..., 0, :]
    return Targets(positive, np.where(positive, classes, -1), to_sides)


def loss(output: Array, truth: npt.NDArray[np.int64], xp: Any) -> tuple[float, Array, int]:
    """Return the loss of a gradient batch, its gradient, and the number of cells whose likeliest answer is wrong.

    The loss is the focal loss of all answers plus the IoU loss of the cells that answer for an object, both divided
    by the number of such cells in the whole batch.
    """
    found = targets(truth)
    flat = xp.reshape(output, (-1, CLASSES + 4))
    logits = flat[:, :CLASSES]
    kinds = found.classes.reshape(-1)
    yes = kinds[:, None] == np.arange(CLASSES)
    value, cache = focal_loss.forward(logits, to_device(yes.astype(np.int64), xp))
    total, d_boxes = float(value), xp.zeros_like(flat[:, CLASSES:])
    at = np.flatnonzero(found.positive)
    if len(at):
        where = to_device(at, xp)
        right = to_device(found.distances.reshape(-1, 4)[at], xp).astype(flat.dtype)
        value, of_boxes = iou_loss.forward(flat[:, CLASSES:][where], right)
        total += float(value)
        d_boxes[where] = iou_loss.backward(1.0, of_boxes)
    gradient = xp.concatenate([focal_loss.backward(1.0, cache), d_boxes], axis=1)
    said = to_host(logits)
    answers = np.where(np.max(said, axis=1) > 0, np.argmax(said, axis=1), -1)
    return total, xp.reshape(gradient, tuple(output.shape)), int(np.sum(answers != kinds))


def detections(output: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return what a detector finds, (N, 100, 6): class, score, left, top, right, bottom, from the highest score down.

    Class -1 marks an empty row. Of two boxes of a class whose intersection over union is above one half, the one with
    the lower score is dropped (non-maximum suppression).
    """
    n = len(output)
    flat = output.reshape(n, CELLS, -1).astype(np.float64)
    scores = (1 / (1 + np.exp(-np.maximum(flat[..., :CLASSES], -50)))).reshape(n, -1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :KEPT]
    scores = np.take_along_axis(scores, order, axis=1)
    kinds = np.where(scores > _LEAST_SCORE, order % CLASSES, -1)
    reach = STRIDE * np.exp(np.minimum(flat[..., CLASSES:], _FARTHEST))
    sides = np.concatenate([MIDDLES - reach[..., :2], MIDDLES + reach[..., 2:]], axis=-1).clip(0, boxes.SIZE)
    found = np.take_along_axis(sides, order[..., None] // CLASSES, axis=1)
    alike = (boxes.ious(found, found) > _OVERLAP) & (kinds[:, :, None] == kinds[:, None, :])
    kept = kinds >= 0
    for k in range(KEPT):
        kept[:, k + 1 :] &= ~(alike[:, k, k + 1 :] & kept[:, k, None])
    kinds = np.where(kept, kinds, -1)
    return np.concatenate([kinds[..., None], scores[..., None], found], axis=-1)

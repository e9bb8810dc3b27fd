"""The loss for boxes, one minus intersection over union; distances from a place inside to the sides give a box."""

from __future__ import annotations

from typing import NamedTuple

from mabn_ref.arrays import Array, check_own, check_shaped, namespace
from mabn_ref.nn.common import check_rank, check_scalar_cotangent


class Cache(NamedTuple):
    """What `backward` needs; arrays (N, 4) are in the order left, top, right, bottom."""

    d: Array  #: (N, 4): the predicted distances
    inside: Array  #: (N, 4): 1 where the predicted side lies inside the true box, else 0
    sides: Array  #: (N, 4): H, W, H, W of the predicted box: how fast its area grows as each side moves
    overlap_sides: Array  #: (N, 4): h, w, h, w of the intersection, the same for that
    intersection: Array  #: (N, 1)
    union: Array  #: (N, 1)


def forward(logs: Array, truth: Array) -> tuple[Array, Cache]:
    """Return the mean over N boxes of 1 - intersection / union, as an array of shape (): :eq:`iou-loss-forward`.

    `logs` (N, 4) are logarithms of the predicted distances from a place to the left, top, right and bottom side, and
    `truth` (N, 4) the true distances, all positive: so the place is inside both boxes, and they overlap. Where the
    area of a predicted box overflows, the gradient is 0, and where its sides do, it is NaN: in float32, with four
    logarithms from about 44 and 88 on.
    """
    check_rank("logs", logs, "N, 4")
    for name, value in (("logs", logs), ("truth", truth)):
        check_shaped(name, value, (logs.shape[0], 4), like=logs, like_name="logs")
    xp = namespace(logs)
    if not bool(xp.all(truth > 0)):
        raise ValueError("truth has distances that are not positive, expected places inside their boxes")
    d = xp.exp(logs)
    sides, (true_h, true_w) = _sides(d), _extent(truth)
    overlap_sides = _sides(xp.minimum(d, truth))
    intersection = overlap_sides[:, :1] * overlap_sides[:, 1:2]
    union = sides[:, :1] * sides[:, 1:2] + true_h * true_w - intersection
    loss = xp.mean(1 - intersection / union)  # eq: iou-loss-forward
    inside = xp.astype(d < truth, logs.dtype)
    return loss, Cache(d, inside, sides, overlap_sides, intersection, union)


def backward(dloss: Array | float, cache: Cache) -> Array:
    """Return dL/dlogs, :eq:`iou-loss-backward`; where a side lies on the true one, the slope for moving outwards.

    `dloss` is a float, or an array of shape () and of the dtype of `logs`; 1.0 for the gradient of the loss.

    Examples
    --------
    The left side reaches too far, the others not far enough, and the step goes down the gradient:

    >>> import numpy as np
    >>> loss, cache = forward(np.log(np.array([[2.0, 1.0, 1.0, 1.0]])), np.array([[1.0, 2.0, 2.0, 2.0]]))
    >>> float(loss)  # the boxes share 4 of 14
    0.7142857142857143
    >>> backward(1.0, cache).round(4)
    array([[ 0.0816, -0.1224, -0.1429, -0.1224]])
    """
    check_own((cache, Cache))
    dloss = check_scalar_cotangent("dloss", dloss, cache.d, "logs")
    d, inside, sides, overlap_sides, i, u = cache
    d_i = inside * overlap_sides
    # Not divided by u**2, which overflows long before u does.
    dlogs: Array = -d * (d_i - i / u * (sides - d_i)) / u * (dloss / d.shape[0])  # eq: iou-loss-backward
    return dlogs


def _extent(d: Array) -> tuple[Array, Array]:
    """Height and width, each (N, 1), of boxes given by their distances."""
    return d[:, 1:2] + d[:, 3:4], d[:, 0:1] + d[:, 2:3]


def _sides(d: Array) -> Array:
    """How fast the area grows when the left, top, right or bottom side moves outwards: (N, 4)."""
    height, width = _extent(d)
    return namespace(d).concat([height, width, height, width], axis=1)

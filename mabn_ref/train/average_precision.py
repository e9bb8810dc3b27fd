"""Average precision of detections, as COCO measures it.

A detection is right if it has the class of a true box, overlaps it by at least a given intersection over union, and
no better detection has taken that box. Precision is the fraction of the detections that are right, recall the
fraction of the true boxes that are found. Down the list of all detections, from the highest score, recall rises and
precision tends to fall; average precision is the mean of the precision over recalls. The docs work through an example
of five boxes by hand.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mabn_ref.data.boxes import ious

Array = npt.NDArray[Any]

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""Thresholds of the intersection over union: AP is the mean over all, AP50 uses the first, AP75 the sixth."""
_RECALLS = np.linspace(0, 1, 101)


def average_precision(detections: Array, truth: Array, classes: int) -> dict[str, float]:
    """Return "ap", "ap50" and "ap75", in %.

    For each of N images, `detections` (N, D, 6) holds class, score, left, top, right and bottom, from the highest
    score down, and `truth` (N, B, 5) class, left, top, right and bottom. Class -1 marks an empty row. Classes without
    a true box do not count; if there is no true box at all, a ValueError is raised.

    Examples
    --------
    Both boxes of one image are found, but the second-best detection is of nothing:

    >>> truth = np.array([[[0, 0, 0, 4, 4], [0, 6, 6, 9, 9]]])
    >>> found = np.array([[[0, 0.9, 0, 0, 4, 4], [0, 0.8, 2, 6, 4, 8], [0, 0.7, 6, 6, 9, 9]]])
    >>> {name: round(value, 2) for name, value in average_precision(found, truth, 1).items()}
    {'ap': 83.5, 'ap50': 83.5, 'ap75': 83.5}
    """
    right = _matches(detections, truth)
    kinds, scores = detections[..., 0], detections[..., 1]
    values = []
    for k in range(classes):
        many = int(np.sum(truth[..., 0] == k))
        if many:
            mine = kinds == k
            order = np.argsort(-scores[mine], kind="stable")
            values.append([_area(right[mine][order, t], many) for t in range(len(THRESHOLDS))])
    if not values:
        raise ValueError(f"truth has no box of a class from 0 to {classes - 1}, expected at least one")
    by_threshold = 100 * np.mean(values, axis=0)
    return {"ap": float(np.mean(by_threshold)), "ap50": float(by_threshold[0]), "ap75": float(by_threshold[5])}


def _matches(detections: Array, truth: Array) -> Array:
    """Return which detections are right at each threshold, (N, D, 10). Each takes the best box still free."""
    overlaps = ious(detections[..., 2:], truth[..., 1:])
    of_class = (detections[..., None, 0] == truth[..., None, :, 0]) & (truth[..., None, :, 0] >= 0)
    images, found, boxes = overlaps.shape
    taken = np.zeros((images, len(THRESHOLDS), boxes), dtype=bool)
    right = np.zeros((images, found, len(THRESHOLDS)), dtype=bool)
    for d in range(found):
        free = ~taken & of_class[:, None, d] & (overlaps[:, None, d] >= THRESHOLDS[:, None] - 1e-10)
        best = np.argmax(np.where(free, overlaps[:, None, d], -1), axis=2)[..., None]
        right[:, d] = np.take_along_axis(free, best, axis=2)[..., 0]
        np.put_along_axis(taken, best, np.take_along_axis(taken, best, axis=2) | right[:, d, :, None], axis=2)
    return right


def _area(right: Array, many: int) -> float:
    """Return the mean over 101 recalls of the best precision at that recall or above; 0 where it is never reached."""
    hits = np.cumsum(right)
    recall, precision = hits / many, hits / np.arange(1, len(hits) + 1)
    best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(np.mean(best[np.searchsorted(recall, _RECALLS, side="left")]))

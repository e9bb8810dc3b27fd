"""Every layer with inputs for it, for what is asked of all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mabn_ref.nn import (
    bias,
    centralize,
    conv2d,
    cross_iteration,
    dynamic_erf,
    dynamic_tanh,
    focal_loss,
    global_average_pool,
    iou_loss,
    linear,
    relu,
    softmax_cross_entropy,
    standardize,
    threshold,
    upsample,
)


def drawn(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape) for shape in shapes]


IMAGES, KERNEL = (2, 5, 5, 3), (3, 3, 3, 4)
LAYERS: dict[str, tuple[Any, list[np.ndarray], dict[str, Any]]] = {
    "centralize": (centralize, drawn(KERNEL), {}),
    "standardize": (standardize, drawn(KERNEL), {"eps": np.float64(1e-5)}),
    "conv2d": (conv2d, drawn(IMAGES, KERNEL), {"padding": 1}),
    "conv2d, no padding": (conv2d, drawn(IMAGES, KERNEL), {}),
    "conv2d, strided": (conv2d, drawn(IMAGES, KERNEL), {"stride": 2, "padding": 1}),
    "conv2d, many channels": (conv2d, drawn((8, 8, 8, 32), (3, 3, 32, 32)), {"padding": 1}),
    "conv2d, a pixel": (conv2d, drawn(IMAGES, (1, 1, 3, 4)), {}),
    "global_average_pool": (global_average_pool, drawn(IMAGES), {}),
    "bias": (bias, drawn(IMAGES, (3,)), {}),
    "cross_iteration": (
        cross_iteration,
        drawn(IMAGES, KERNEL, (4,), (4,)),
        {"means": drawn((2, 4))[0], "variances": drawn((2, 4))[0] ** 2},
    ),
    "dynamic_erf": (dynamic_erf, drawn(IMAGES, (1,), (1,), (3,), (3,)), {}),
    "dynamic_tanh": (dynamic_tanh, drawn(IMAGES, (1,), (3,), (3,)), {}),
    "focal_loss": (focal_loss, [*drawn((4, 2)), np.array([[0, 1], [1, 0], [0, 0], [0, 1]])], {}),
    "iou_loss": (iou_loss, [drawn((3, 4))[0], np.exp(drawn((4, 4))[0][1:])], {}),
    "linear": (linear, drawn((4, 3), (3, 2), (2,)), {}),
    "relu": (relu, drawn(IMAGES), {}),
    "softmax_cross_entropy": (softmax_cross_entropy, [*drawn((4, 3)), np.array([0, 2, 1, 1])], {}),
    "threshold": (threshold, drawn(IMAGES, (3,)), {}),
    "upsample": (upsample, drawn(IMAGES), {}),
    "upsample by 1": (upsample, drawn(IMAGES), {"factor": 1}),
}
each = pytest.mark.parametrize("name", LAYERS)


def as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, tuple) else [value]

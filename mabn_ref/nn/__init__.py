"""The layers of a small convolutional network, every backward pass by hand, and what trains it.

One file per layer, each with `forward`, `backward` and the `Cache` that joins them; `network` puts them in a list.
"""

from __future__ import annotations

from mabn_ref.nn import (
    centralize,
    conv2d,
    conv2d_plain,
    global_average_pool,
    linear,
    network,
    relu,
    schedule,
    sgd,
    softmax_cross_entropy,
    standardize,
    upsample,
)

__all__ = [
    "centralize",
    "conv2d",
    "conv2d_plain",
    "global_average_pool",
    "linear",
    "network",
    "relu",
    "schedule",
    "sgd",
    "softmax_cross_entropy",
    "standardize",
    "upsample",
]

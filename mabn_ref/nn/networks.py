"""Ready-made lists of layers for `network`."""

from __future__ import annotations

from typing import Any

from mabn_ref.arrays import check_at_least
from mabn_ref.nn.network import Conv, GlobalAveragePool, Layer, Linear, Norm, ReLU, check_config


def small_network(
    module: Any,
    config: Any,
    *,
    centralized: bool = False,
    standardized: bool = False,
    classes: int = 10,
    width: int = 32,
) -> list[Layer]:
    """Seven 3x3 convolutions, each with normaliser and ReLU, then global average pool and linear.

    A 32x32 image becomes maps of 16, 16, 8, 8, 4, 4 and 2 pixels, of `width` to 4 * `width` channels. The normaliser
    is a module of `mabn_ref.norms` and its Config. Every convolution may centre its weight,
    :eq:`centralize-forward` (18), or standardise it, :eq:`standardize-forward`.

    Examples
    --------
    >>> [layer.name for layer in small_network(None, None)][-5:]
    ['conv7', 'norm7', 'relu7', 'pool', 'linear']
    """
    check_at_least("classes", classes, 1, whole=True)
    check_at_least("width", width, 1, whole=True)
    check_config(module, config)
    channels = [3, width, width, 2 * width, 2 * width, 4 * width, 4 * width, 4 * width]
    strides = [2, 1, 2, 1, 2, 1, 2]
    layers: list[Layer] = []
    for i, stride in enumerate(strides, start=1):
        conv = Conv(f"conv{i}", channels[i - 1], channels[i], stride=stride)
        layers.append(conv._replace(centralized=centralized, standardized=standardized))
        layers.append(Norm(f"norm{i}", module, channels[i], config))
        layers.append(ReLU(f"relu{i}"))
    return [*layers, GlobalAveragePool("pool"), Linear("linear", channels[-1], classes)]

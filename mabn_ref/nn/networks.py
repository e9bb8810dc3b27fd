"""Ready-made lists of layers for `network`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from typing import Any

from mabn_ref.arrays import check_at_least
from mabn_ref.nn.layers import normaliser
from mabn_ref.nn.network import Conv, GlobalAveragePool, Layer, Linear, ReLU, check_config
from mabn_ref.nn.residual import Add, Exchange, Keep


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

    A 32x32 image becomes maps of 16, 16, 8, 8, 4, 4 and 2 pixels a side, of `width` to 4 * `width` channels. `module`
    is a normaliser of `mabn_ref.norms` and `config` its Config, or a curve of `mabn_ref.nn` and None. Every
    convolution may centre its weight, :eq:`centralize-forward` (18), or standardise it, :eq:`standardize-forward`.

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
        layers.append(normaliser(f"norm{i}", module, channels[i], config))
        layers.append(ReLU(f"relu{i}"))
    return [*layers, GlobalAveragePool("pool"), Linear("linear", channels[-1], classes)]


def residual_network(
    module: Any,
    config: Any,
    *,
    depth: int = 8,
    centralized: bool = False,
    standardized: bool = False,
    classes: int = 10,
    width: int = 32,
) -> list[Layer]:
    """He's residual network for small images: a 3x3 convolution, three stages of blocks, pool and linear.

    `depth` is 6 n + 2 for n blocks of two convolutions in each stage. A 32x32 image becomes maps of 16, 8 and 4
    pixels a side, of `width` to 4 * `width` channels. (He's first convolution has stride 1: maps are twice as large,
    and a step takes several times as long.) Where a stage starts with a new size, the shortcut is a 1x1 convolution
    with a normaliser, such as "project4" and "norm_project4" beside "conv4"; elsewhere it is the block's input. The
    other arguments are those of `small_network`, which has as many convolutions as depth 8, not counting shortcuts.

    Examples
    --------
    >>> [layer.name for layer in residual_network(None, None)][:11]
    ['conv1', 'norm1', 'relu1', 'keep2', 'conv2', 'norm2', 'relu2', 'conv3', 'norm3', 'add3', 'relu3']
    """
    check_at_least("classes", classes, 1, whole=True)
    check_at_least("width", width, 1, whole=True)
    check_at_least("depth", depth, 8, whole=True)
    if depth % 6 != 2:
        raise ValueError(f"depth is {depth}, expected 8, 14, 20, ...: 6 n + 2 for n blocks per stage")
    check_config(module, config)

    def convolved(name: str, takes: int, gives: int, stride: int, kernel: int = 3) -> list[Layer]:
        conv = Conv(name, takes, gives, kernel, stride, kernel // 2, centralized, standardized)
        norm = name.replace("conv", "norm").replace("project", "norm_project")
        return [conv, normaliser(norm, module, gives, config)]

    layers, number, channels = convolved("conv1", 3, width, 2), count(2), width
    layers.append(ReLU("relu1"))
    for stage in range(3):
        gives = width * 2**stage
        for block in range((depth - 2) // 6):
            first, second = next(number), next(number)
            stride = 2 if stage > 0 and block == 0 else 1
            layers.append(Keep(f"keep{first}"))
            layers += convolved(f"conv{first}", channels, gives, stride)
            layers.append(ReLU(f"relu{first}"))
            layers += convolved(f"conv{second}", gives, gives, 1)
            if stride > 1:
                layers.append(Exchange(f"exchange{first}"))
                layers += convolved(f"project{first}", channels, gives, stride, kernel=1)
            layers += [Add(f"add{second}"), ReLU(f"relu{second}")]
            channels = gives
    return [*layers, GlobalAveragePool("pool"), Linear("linear", channels, classes)]


NETWORKS: Mapping[str, Callable[..., list[Layer]]] = {
    "plain": small_network,
    **{f"resnet{depth}": partial(residual_network, depth=depth) for depth in (8, 14, 20)},
}
"""The networks that commands know by name."""

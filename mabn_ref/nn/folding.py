"""Fold BN and MABN into the convolutions before them, and count what inference costs: Figure 1(a) and Table 9."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.nn import conv2d, network, residual
from mabn_ref.nn.network import Bias, Conv, GlobalAveragePool, Layer, Linear, Norm, ReLU, Upsample
from mabn_ref.nn.residual import Add, Exchange, Keep


class Folded(NamedTuple):
    """A convolution with a bias, to which a convolution and a linear normaliser reduce at inference."""

    w: Array  #: (kh, kw, in, out): the kernel in use, centred if it was, times the normaliser's scale
    b: Array  #: (out,): the normaliser's shift
    stride: int
    padding: int
    name: str  #: the name of the convolution


Step: TypeAlias = Folded | tuple[Layer, dict[str, Array], Any]


def fold(layers: Sequence[Layer], params: Sequence[dict[str, Array]], states: Sequence[Any]) -> list[Step]:
    """Fold every linear normaliser into the convolution right before it: :eq:`fold`.

    Returns what `infer_folded` runs: `Folded` convolutions, and all other layers unchanged.

    Examples
    --------
    >>> import numpy as np
    >>> from mabn_ref.norms import mabn
    >>> from mabn_ref.nn import networks
    >>> layers = networks.small_network(mabn, mabn.Config(), width=4)
    >>> params, states = network.init(layers, np.random.default_rng(0))
    >>> len(layers), len(fold(layers, params, states))
    (23, 16)
    """
    steps: list[Step] = []
    for layer, p, state in zip(layers, params, states, strict=True):
        match steps[-1:], layer:
            case [(Conv() as conv, {"w": kernel}, _)], Norm() if is_linear(layer):
                w = network.weight_in_use(conv, kernel)
                scale, shift = affine_of(layer, p, state)
                steps[-1] = Folded(w * scale, shift, conv.stride, conv.padding, conv.name)  # eq: fold
            case _:
                steps.append((layer, p, state))
    return steps


def affine_of(layer: Norm, p: dict[str, Array], state: Any) -> tuple[Array, Array]:
    """The scale and shift of a normaliser that has `affine`; the error for one that is not linear names the layer."""
    try:
        scale, shift = layer.module.affine(p["gamma"], p["beta"], state, layer.config)
    except ValueError as error:
        raise ValueError(f"{layer.name}: {error}") from error
    return scale, shift


def is_linear(layer: Layer) -> bool:
    """Whether a layer is a normaliser that, with its Config, is one scale and shift per channel at inference."""
    if not isinstance(layer, Norm) or not hasattr(layer.module, "affine"):
        return False
    state = layer.module.init(layer.channels, layer.config, dtype=np.float64)
    try:
        layer.module.affine(np.ones(layer.channels), np.zeros(layer.channels), state, layer.config)
    except ValueError:
        return False
    return True


def infer_folded(steps: Sequence[Step], x: Array) -> Array:
    """Return the logits of `network.infer`, to rounding, computed by the steps from `fold`."""
    held = None
    for step in steps:
        if isinstance(step, Folded):
            x = conv2d.forward(x, step.w, stride=step.stride, padding=step.padding)[0]
            x += step.b  # eq: fold
        else:
            x, held = network.infer_layer(*step, x, held)
    return x


class Operations(NamedTuple):
    """Additions, multiplications, divisions and comparisons for one image at inference."""

    convolutions: int
    normalisers: int
    others: int


_LINEAR = 2
"""A value times a scale, plus a shift."""
_OF_THE_GROUP = 7
"""A value added to its group's mean, centred, squared, added to the variance, divided, times gamma, plus beta."""


def operations(layers: Sequence[Layer], size: int = 32, *, folded: bool = False) -> Operations:
    """Count the operations for one image of `size` pixels a side; a multiplication and an addition are one each.

    The formulas are counted as they stand, although :mod:`mabn_ref.nn.winograd` needs fewer operations. A linear
    normaliser that is `folded` leaves a bias, one addition per value. What a statistic costs once, a root and a
    division per channel or group, is left out: it is little.

    Raises
    ------
    ValueError
        If a layer's operations cannot be counted; of normalisers, only linear ones and group normalisation can.
    """
    convolutions = normalisers = others = 0
    channels, held = 0, None
    for layer in layers:
        match layer:
            case Conv(_, channels_in, channels_out, kernel, stride, padding):
                size = (size + 2 * padding - kernel) // stride + 1
                convolutions += 2 * kernel * kernel * channels_in * channels_out * size * size
                channels = channels_out
            case Norm() if is_linear(layer):
                normalisers += (1 if folded else _LINEAR) * channels * size * size
            case Norm() if hasattr(layer.config, "groups"):
                normalisers += _OF_THE_GROUP * channels * size * size
            case Upsample(_, factor):
                size *= factor
            case Bias() | ReLU() | GlobalAveragePool():
                others += channels * size * size
            case Keep() | Exchange() | Add():
                (channels, size), held = residual.route(layer, (channels, size), held)
                others += channels * size * size if isinstance(layer, Add) else 0
            case Linear(_, features_in, features_out):
                others += 2 * features_in * features_out
            case _:
                raise ValueError(
                    f"the operations of {layer.name} are not counted, expected a linear normaliser or GN there"
                )
    return Operations(convolutions, normalisers, others)

"""A stand-in for a normaliser's module that records what passes through it; both passes with fixed weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from mabn_ref.arrays import Array
from mabn_ref.nn import network, softmax_cross_entropy
from mabn_ref.train.devices import to_device
from mabn_ref.train.loop import Progress, Setup, to_input


class Recorder:
    """A wrapper of a normaliser's module that passes every call on: training is bit for bit the same as without it.

    After each backward pass `seen` is called with x, dz and the cache of both passes, and the state after them.
    """

    def __init__(self, module: Any, seen: Callable[[Array, Array, Any, Any], object]) -> None:
        self._module, self._seen = module, seen
        self._x: list[Array] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def forward(self, x: Array, *rest: Any) -> Any:
        """Pass the call on, and keep x for `backward`."""
        self._x.append(x)
        return self._module.forward(x, *rest)

    def backward(self, dz: Array, cache: Any, state: Any) -> Any:
        """Pass the call on, and call `seen`."""
        out = self._module.backward(dz, cache, state)
        self._seen(self._x.pop(0), dz, cache, out[3])
        return out


def recorded(
    layers: Sequence[network.Layer], seen: Callable[..., object], names: Sequence[str] | None = None
) -> list[network.Layer]:
    """Return the layers with a `Recorder` for each normaliser, or those named; `seen` gets the layer's name first."""
    return [
        layer._replace(module=Recorder(layer.module, partial(seen, layer.name)))
        if isinstance(layer, network.Norm) and (names is None or layer.name in names)
        else layer
        for layer in layers
    ]


def both_passes(
    setup: Setup, progress: Progress, layers: Sequence[network.Layer], states: Any, pixels: Any, labels: Any
) -> tuple[Any, Any]:
    """Run a gradient batch forward and backward; return the caches and the states after it."""
    logits, caches, states = network.forward(layers, progress.params, states, to_input(setup, pixels))
    _, cache = softmax_cross_entropy.forward(logits, to_device(labels, setup.xp))
    _, states = network.backward(layers, softmax_cross_entropy.backward(1.0, cache), caches, states)
    return caches, states

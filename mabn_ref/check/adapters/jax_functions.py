"""A pair of JAX functions as a target: `jax.vjp` does the backward, the state goes in and out."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.check.adapters.arguments import Constructed, counts, squeezed
from mabn_ref.extras import require

__all__ = ["OVERWRITTEN", "JaxTarget", "Layer", "Step", "leaves", "with_leaves", "x64"]

OVERWRITTEN = "_overwrite_with_gradient"
"""Flax's name for state whose gradient is its new value: how backward changes a state in JAX."""


class Layer:
    """A state, and the pullback of the last forward pass; `made` is what `JaxTarget.apply` needs to run it."""

    def __init__(self, channels: int, made: Any) -> None:
        self.channels, self.made = channels, made
        self.state: Any = None
        self.step: Step | None = None
        self.pull: Any = None
        self.has_scale = self.has_shift = True


class Step:
    """A forward pass and its pullback, compiled; step by step where it looks at values, as ``if`` does.

    It is made of the module and of ``run(*inputs, state)``, which returns z and the new state.
    """

    def __init__(self, jax: Any, run: Any, owner: Any = None) -> None:
        self.owner = owner

        def both(inputs: Any, state: Any) -> Any:
            return jax.vjp(lambda *inputs: run(*inputs, state), *inputs, has_aux=True)

        self.error = jax.errors.JAXTypeError
        self.plain, self.forward, self.backward = both, jax.jit(both), jax.jit(lambda pull, dz: pull(dz))

    def __call__(self, *given: Any) -> tuple[Any, Any, Any]:
        """Return z, what takes dz to the gradients of the inputs, and the new state."""
        *inputs, state = given
        if self.forward is not self.plain:
            try:
                z, pull, new = self.forward(inputs, state)
                return z, functools.partial(self.backward, pull), new
            except self.error:
                self.forward = self.plain
        z, pull, new = self.plain(inputs, state)
        return z, pull, new


class JaxTarget(Constructed):
    """Two pure functions of JAX, in a module or any other namespace.

    ``init(channels, ...)`` returns the first state, any pytree. ``apply(x, gamma, beta, state, training, ...)``
    returns z and the new state. Hyper-parameters are keywords of either, or ``config`` is. A state that backward
    changes, such as MABN's window of Psi, is an entry "_overwrite_with_gradient" of the state, a dictionary: what a
    ``custom_vjp`` returns as its gradient is its new value.
    """

    def __init__(self, source: Any, extra: Mapping[str, Any] | None = None) -> None:
        super().__init__(source, extra)
        self.jax = require("jax", "frameworks")
        self.steps: dict[str, Step] = {}

    def key(self, layer: Layer) -> str:
        """What layers that can share a compiled pass have in common, "" if nothing is known to tell."""
        return repr((layer.channels, layer.made))

    def make(self, channels: int, config: Any) -> Layer:
        starting = self.arguments(self.source.init, config, {})
        applying = self.arguments(self.source.apply, config, self.extra, hidden=5)
        return Layer(channels, (starting.keywords, applying.keywords))

    def precision(self, x: Array) -> Any:
        """Switch on float64 for as long as it is needed; float32 is run as the user runs it."""
        return x64(self.jax) if x.dtype == np.float64 else contextlib.nullcontext()

    def start(self, layer: Layer, x: Any) -> Any:
        """Return the first state; called at the first forward pass."""
        return self.source.init(layer.channels, **layer.made[0])

    def apply(self, layer: Layer, x: Any, gamma: Any, beta: Any, state: Any, training: bool) -> tuple[Any, Any]:
        """Return z and the new state."""
        z, state = self.source.apply(x, gamma, beta, state, training, **layer.made[1])
        return z, state

    def forward(self, layer: Layer, x: Array, gamma: Array, beta: Array, training: bool) -> Array:
        with self.precision(x):
            x_, gamma_, beta_ = map(self.jax.numpy.asarray, (x, gamma, beta))
            if layer.state is None:
                layer.state = self.start(layer, x_)
            if not training:
                z, layer.state = self.apply(layer, x_, gamma_, beta_, layer.state, False)
                return np.asarray(z)

            state, kept = layer.state, {}
            if isinstance(state, Mapping) and OVERWRITTEN in state:
                kept = {OVERWRITTEN: state[OVERWRITTEN]}
                state = {name: value for name, value in state.items() if name != OVERWRITTEN}
            if layer.step is None:
                layer.step = self.steps.get(key := self.key(layer))
            if layer.step is None:

                def run(x: Any, gamma: Any, beta: Any, kept: Any, state: Any) -> Any:
                    return self.apply(layer, x, gamma, beta, {**state, **kept} if kept else state, training=True)

                layer.step = Step(self.jax, run, layer)
                self.steps |= {key: layer.step} if key else {}
            z, layer.pull, layer.state = layer.step(x_, gamma_, beta_, kept, state)
            layer.has_scale, layer.has_shift = layer.step.owner.has_scale, layer.step.owner.has_shift
            return np.asarray(z)

    def backward(self, layer: Layer, dz: Array) -> tuple[Array, Array | None, Array | None]:
        with self.precision(dz):
            dx, dgamma, dbeta, kept = layer.pull(self.jax.numpy.asarray(dz))
            if kept:
                layer.state = {**layer.state, **kept}
            gradients = (dgamma, layer.has_scale), (dbeta, layer.has_shift)
            dgamma, dbeta = (np.asarray(g) if there else None for g, there in gradients)
            return np.asarray(dx), dgamma, dbeta

    def state(self, layer: Layer) -> dict[str, Array]:
        return {path: squeezed(leaf, layer.channels) for path, leaf in leaves(self.jax, layer.state).items()}

    def age(self, layer: Layer, iterations: int) -> bool:
        """Set everything that counts, and say whether anything does."""
        old = leaves(self.jax, layer.state)
        new = {
            path: np.full(np.shape(leaf), iterations, np.asarray(leaf).dtype)
            for path, leaf in old.items()
            if np.size(leaf) == 1 and counts(path)
        }
        layer.state = with_leaves(self.jax, layer.state, new)
        return bool(new)

    # what the probes of `mabn_ref.check.behaviour` need; a state of JAX is all in the open, and immutable

    def hold(self, layer: Layer) -> Any:
        """Return what backward needs of the last forward pass."""
        return layer.pull

    def backward_of(self, layer: Layer, held: Any, dz: Array) -> tuple[Array, Array | None, Array | None]:
        """Return the gradients of a forward pass that is not the last."""
        layer.pull = held
        return self.backward(layer, dz)

    def inference_gradient(self, layer: Layer, x: Array, gamma: Array, beta: Array, dz: Array) -> Array:
        """Return dx at inference."""
        with self.precision(x):
            x_, gamma_, beta_, dz_ = map(self.jax.numpy.asarray, (x, gamma, beta, dz))
            _, pull = self.jax.vjp(lambda x: self.apply(layer, x, gamma_, beta_, layer.state, False)[0], x_)
            return np.asarray(pull(dz_)[0])


def x64(jax: Any) -> Any:
    """Return a context in which JAX keeps float64; where it moved to depends on its version."""
    return jax.enable_x64(True) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64()


def _path(jax: Any, keys: Any) -> str:
    return str(jax.tree_util.keystr(keys, simple=True, separator="/")).removesuffix("/value")


def leaves(jax: Any, tree: Any) -> dict[str, Any]:
    """Return the leaves of a pytree by their paths, such as "batch_stats/mean"."""
    return {_path(jax, keys): leaf for keys, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


def with_leaves(jax: Any, tree: Any, new: Mapping[str, Any]) -> Any:
    """Return a pytree with some leaves replaced."""
    return jax.tree_util.tree_map_with_path(lambda keys, leaf: new.get(_path(jax, keys), leaf), tree)

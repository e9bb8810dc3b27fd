"""A pair of JAX functions as a target: `jax.vjp` does backward; the state is passed in and returned."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.check.adapters.arguments import Constructed, counts, raised, squeezed
from mabn_ref.check.adapters.asked import signature
from mabn_ref.check.target import Holding
from mabn_ref.extras import require

OVERWRITTEN = "_overwrite_with_gradient"
"""Flax's name for state whose gradient is its new value: how backward changes a state in JAX."""


class Layer:
    """A state, and the pullback of the last forward pass; `made` is what `JaxTarget.apply` needs to run it."""

    def __init__(self, channels: int, made: Any) -> None:
        self.channels, self.made = channels, made
        self.state: Any = None
        self.before: Any = None  #: the state before the last pass in training
        self.step: Step | None = None
        self.cache: Any = None
        self.has_scale = self.has_shift = True
        self.zero_centred: bool | None = None  #: whether gamma is 1 + scale, once that is known


class Compiled:
    """A compiled function; if it looks at values, as ``if`` does, it runs uncompiled.

    `quick` compiles fast and may run slowly: this is for float64, which only the check uses. In float32 a layer is
    compiled as its user compiles it.
    """

    def __init__(self, jax: Any, plain: Callable[..., Any], *, quick: bool = True) -> None:
        offered = "compiler_options" in signature(jax.jit).parameters
        options = {"compiler_options": {"xla_backend_optimization_level": 0}} if quick and offered else {}
        self.error, self.plain, self.compiled = jax.errors.JAXTypeError, plain, jax.jit(plain, **options)

    def __call__(self, *given: Any) -> Any:
        """Return what the function returns."""
        if self.compiled is not self.plain:
            try:
                return self.compiled(*given)
            except self.error:
                self.compiled = self.plain
        return self.plain(*given)


class Step:
    """A forward and backward pass of ``run(*inputs, state)``, which returns z and the new state.

    Both passes are one function, called once for z and again for the gradients, since compiling takes much longer
    than running. `owner` is the layer, and `infer` its inference.
    """

    def __init__(self, jax: Any, run: Any, owner: Any = None, infer: Any = None, *, quick: bool = False) -> None:
        def both(inputs: Any, state: Any, dz: Any) -> Any:
            z, pull, new = jax.vjp(lambda *inputs: run(*inputs, state), *inputs, has_aux=True)
            return z, pull(dz) if z.shape == dz.shape else None, new  # another shape is refused later

        self.owner, self.both = owner, Compiled(jax, both, quick=quick)
        self.infer = Compiled(jax, infer, quick=quick) if infer else None

    def __call__(self, *given: Any) -> tuple[Any, Any, Any]:
        """Return z, what takes dz to the gradients of the inputs, and the new state; the first input is x."""
        *inputs, state = given
        z, _, new = self.both(inputs, state, np.zeros_like(inputs[0]))
        return z, lambda dz: self.both(inputs, state, dz)[1], new


class JaxTarget(Holding, Constructed):
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
        """A key shared by layers that can share a compiled pass; "" if none is known."""
        return repr((layer.channels, layer.made))

    def make(self, channels: int, config: Any) -> Layer:
        of_init, of_apply = (signature(call).parameters for call in (self.source.init, self.source.apply))
        first = {name: value for name, value in self.extra.items() if name in of_init}
        rest = {name: value for name, value in self.extra.items() if name in of_apply or name not in of_init}
        starting = self.arguments(self.source.init, config, first)
        applying = self.arguments(self.source.apply, config, rest, hidden=5)
        return Layer(channels, (starting.keywords, applying.keywords))

    def precision(self, x: Array) -> Any:
        """Switch on float64 while it is needed; float32 runs as the user runs it."""
        return x64(self.jax) if x.dtype == np.float64 else contextlib.nullcontext()

    def start(self, layer: Layer, x: Any) -> Any:
        """Return the first state; called at the first forward pass."""
        return self.source.init(layer.channels, **layer.made[0])

    def apply(self, layer: Layer, x: Any, gamma: Any, beta: Any, state: Any, training: bool) -> tuple[Any, Any]:
        """Return z and the new state."""
        z, state = self.source.apply(x, gamma, beta, state, training, **layer.made[1] | self.told(training))
        return z, state

    def forward(self, layer: Layer, x: Array, gamma: Array, beta: Array, training: bool) -> Array:
        with self.precision(x):
            x_, gamma_, beta_ = map(self.jax.numpy.asarray, (x, gamma, beta))
            if layer.state is None:
                layer.state = self.start(layer, x_)
            if not training:
                shared = None if layer.step is None else layer.step.infer
                z, layer.state = (shared or self._infer(layer))(x_, gamma_, beta_, layer.state)
                return np.asarray(z)

            layer.before = layer.state
            state, kept = layer.state, {}
            if isinstance(state, Mapping) and OVERWRITTEN in state:
                kept = {OVERWRITTEN: state[OVERWRITTEN]}
                state = {name: value for name, value in state.items() if name != OVERWRITTEN}
            if layer.step is None:
                key = self.key(layer) and f"{x.dtype} {self.key(layer)}"
                layer.step = self.steps.get(key)
            if layer.step is None:

                def run(x: Any, gamma: Any, beta: Any, kept: Any, state: Any) -> Any:
                    return self.apply(layer, x, gamma, beta, {**state, **kept} if kept else state, training=True)

                infer = self._infer(layer) if key else None  # not worth compiling if nobody shares it
                layer.step = Step(self.jax, run, layer, infer, quick=x.dtype == np.float64)
                self.steps |= {key: layer.step} if key else {}
            z, layer.cache, layer.state = layer.step(x_, gamma_, beta_, kept, state)
            layer.has_scale, layer.has_shift = layer.step.owner.has_scale, layer.step.owner.has_shift
            return np.asarray(z)

    def _infer(self, layer: Layer) -> Callable[..., tuple[Any, Any]]:
        return lambda x, gamma, beta, state: self.apply(layer, x, gamma, beta, state, False)

    def backward(self, layer: Layer, dz: Array) -> tuple[Array, Array | None, Array | None]:
        with self.precision(dz):
            dx, dgamma, dbeta, kept = layer.cache(self.jax.numpy.asarray(dz))
            if kept:
                layer.state = {**layer.state, **kept}
            gradients = (dgamma, layer.has_scale), (dbeta, layer.has_shift)
            dgamma, dbeta = (np.asarray(g) if there else None for g, there in gradients)
            return np.asarray(dx), dgamma, dbeta

    def state(self, layer: Layer) -> dict[str, Array]:
        return {path: squeezed(leaf, layer.channels) for path, leaf in leaves(self.jax, layer.state).items()}

    def age(self, layer: Layer, iterations: int) -> bool:
        """Set numbers that a training pass raises by one, and those named after steps, iterations or batches."""
        found, before = leaves(self.jax, layer.state), leaves(self.jax, layer.before)
        new = {
            path: np.full_like(a, iterations)
            for path, a in found.items()
            if np.size(a) == 1 and (counts(path) or raised(a, before.get(path)))
        }
        layer.state = with_leaves(self.jax, layer.state, new)
        return bool(new)

    # for a probe of `mabn_ref.check.behaviour`; a JAX state is visible and immutable, so the others need nothing

    def inference_gradient(self, layer: Layer, x: Array, gamma: Array, beta: Array, dz: Array) -> list[Array | None]:
        """Return dx, dgamma and dbeta at inference, None for what the layer does not have."""
        with self.precision(x):
            *given, dz_ = map(self.jax.numpy.asarray, (x, gamma, beta, dz))
            _, pull = self.jax.vjp(lambda x, g, b: self.apply(layer, x, g, b, layer.state, False)[0], *given)
            there = zip(pull(dz_), (True, layer.has_scale, layer.has_shift), strict=True)
            return [np.asarray(gradient) if own else None for gradient, own in there]


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

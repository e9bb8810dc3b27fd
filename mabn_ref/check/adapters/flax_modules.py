"""A Flax module as a target, linen or nnx: `jax.vjp` does backward; everything but parameters is state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mabn_ref.check.adapters.arguments import SCALES, named, scale_and_shift, training_flag, zero_centred
from mabn_ref.check.adapters.asked import signature
from mabn_ref.check.adapters.jax_functions import Compiled, JaxTarget, Layer, leaves, with_leaves
from mabn_ref.extras import require


class _FlaxTarget(JaxTarget):
    """What the modules of linen and of nnx have in common; `Layer.made` begins with the module and its parameters."""

    def key(self, layer: Layer) -> str:
        # values of parameters other than scale and shift are compiled in
        return repr((layer.channels, layer.made[0])) if len(leaves(self.jax, layer.made[1])) <= 2 else ""

    def converted(self, state: Any, x: Any) -> Any:
        """The moving statistics in the dtype of `x`; Flax starts them in float32."""
        jnp = self.jax.numpy
        found = {path: jnp.asarray(leaf) for path, leaf in leaves(self.jax, state).items()}  # a count may be an int
        new = {path: a.astype(x.dtype) for path, a in found.items() if jnp.issubdtype(a.dtype, jnp.floating)}
        return with_leaves(self.jax, state, found | new)

    def placed(self, layer: Layer, gamma: Any, beta: Any) -> Any:
        """Put the parameters where the module keeps them."""
        found = leaves(self.jax, layer.made[1])
        scale, shift = scale_and_shift(found, layer.channels)
        # a module without parameters of its own has them applied outside
        layer.has_scale, layer.has_shift = (path is not None or not found for path in (scale, shift))
        for path in filter(None, (scale, shift)):
            if found[path].size != layer.channels:
                raise ValueError(
                    f"{path} has shape {found[path].shape}, expected {layer.channels} numbers, one per channel"
                )
        given = (scale, gamma - 1 if layer.zero_centred else gamma), (shift, beta)
        new = {path: a.reshape(found[path].shape) for path, a in given if path is not None}
        return with_leaves(self.jax, layer.made[1], new)

    def centred(self, params: Any, infer: Callable[[Any], Any], like: Any) -> bool:
        """Whether gamma is 1 + scale, judged by what `infer` returns with the initial parameters."""
        found = leaves(self.jax, params)
        scale = named(found, SCALES)  # if it starts at 1, gamma is scale
        start = None if scale is None else np.asarray(found[scale])
        return zero_centred(start, lambda x: np.asarray(infer(self.jax.numpy.asarray(x))), np.asarray(like))


class LinenTarget(_FlaxTarget):
    """A `flax.linen.Module`: its class, an instance, or a function of the number of channels that returns one."""

    def __init__(self, source: Any, extra: Mapping[str, Any] | None = None) -> None:
        super().__init__(source, extra)
        self.linen = require("flax.linen", "frameworks")
        self.inits: dict[str, Compiled] = {}

    def make(self, channels: int, config: Any) -> Layer:
        is_one = isinstance(self.source, self.linen.Module)
        module = self.source if is_one else self.constructor(config, {})(channels)
        self.keeps([module])
        return Layer(channels, [module, None])

    def start(self, layer: Layer, x: Any) -> Any:
        module, flag = self._ready(layer, False)
        like = repr((module, flag))
        if like not in self.inits:  # compiling it leaves out the output
            self.inits[like] = Compiled(self.jax, lambda x: module.init(self.jax.random.key(0), x, **flag))
        variables = self.inits[like](x)
        layer.made[1] = variables.get("params", {})
        layer.zero_centred = self.centred(layer.made[1], lambda x: module.apply(variables, x, **flag), x)
        return self.converted({name: kept for name, kept in variables.items() if name != "params"}, x)

    def apply(self, layer: Layer, x: Any, gamma: Any, beta: Any, state: Any, training: bool) -> tuple[Any, Any]:
        module, flag = self._ready(layer, training)
        params = self.placed(layer, gamma, beta)
        z, new = module.apply({"params": params, **state}, x, **flag, mutable=list(state))
        return (z if leaves(self.jax, params) else gamma * z + beta), new

    def _ready(self, layer: Layer, training: bool) -> tuple[Any, dict[str, Any]]:
        """The module, told whether it trains, and the keywords of its call."""
        module = layer.made[0]
        found, other = (self.call_keywords(module.__call__, mode) for mode in (training, not training))
        if found == other and (own := training_flag(type(module), training)):
            module = module.clone(**own)
        return module, found


class NnxTarget(_FlaxTarget):
    """A `flax.nnx.Module`: its class, an instance, or a function of the number of channels that returns one."""

    def __init__(self, source: Any, extra: Mapping[str, Any] | None = None) -> None:
        super().__init__(source, extra)
        self.nnx = require("flax.nnx", "frameworks")

    def make(self, channels: int, config: Any) -> Layer:
        nnx = self.nnx
        if isinstance(self.source, nnx.Module):
            module = nnx.clone(self.source)
        else:
            more = {"rngs": nnx.Rngs(0)} if "rngs" in signature(self.source).parameters else {}
            module = self.constructor(config, more)(channels)
        self.keeps([module])
        return Layer(channels, nnx.split(module, nnx.Param, ...))

    def start(self, layer: Layer, x: Any) -> Any:
        graph, params, state = layer.made

        def inferred(x: Any) -> Any:
            module = self.nnx.merge(graph, params, with_leaves(self.jax, state, {}))
            module.eval()
            return module(x, **self.call_keywords(module.__call__, False))

        layer.zero_centred = self.centred(params, inferred, x)
        return self.converted(state, x)

    def apply(self, layer: Layer, x: Any, gamma: Any, beta: Any, state: Any, training: bool) -> tuple[Any, Any]:
        nnx, graph, params = self.nnx, layer.made[0], self.placed(layer, gamma, beta)
        module = nnx.merge(graph, params, with_leaves(self.jax, state, {}))  # new variables, which may be changed
        module.train() if training else module.eval()
        z = module(x, **self.call_keywords(module.__call__, training))
        new = nnx.split(module, nnx.Param, ...)[2]
        return (z if leaves(self.jax, params) else gamma * z + beta), new

"""A Keras 3 layer as a target, on any backend that differentiates: the backend does the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.check.adapters.arguments import Constructed, counts, raised, scale_and_shift, squeezed, zero_centred
from mabn_ref.check.adapters.asked import signature
from mabn_ref.check.adapters.jax_functions import Step
from mabn_ref.extras import require


class _Layer:
    """A layer, made at the first forward pass, and what the last one left for backward."""

    def __init__(self, keras: Any, make: Callable[[], Any], channels: int) -> None:
        self.keras, self.make, self.channels = keras, make, channels
        self.layer: Any = None
        self.parameters: list[Any] = []
        self.zero_centred = False
        """Whether gamma is 1 + scale."""
        self.keywords: dict[str, Any] = {}
        """The keywords of the last call: the mode, and the user's own."""
        self.step: Step | None = None
        self.backward: Any = None
        self.numbers: dict[str, Array] = {}
        """Before the last pass in training: the variables of one number, by path."""


class KerasTarget(Constructed):
    """A layer class, an instance (recreated from its configuration), or a function of the number of channels.

    As Batch Renormalization, ``keras.layers.BatchNormalization`` gets ``renorm=True``, its clipping and both momenta.
    """

    def __init__(self, source: Any, extra: Mapping[str, Any] | None = None) -> None:
        super().__init__(source, extra)
        self.keras = require("keras", "frameworks")
        self.backend = self.keras.backend.backend()
        if self.backend not in _RUN:
            raise TypeError(f"the backend of Keras is {self.backend!r}, expected one of {', '.join(_RUN)}")

    def make(self, channels: int, config: Any) -> _Layer:
        source = self.source
        if isinstance(source, self.keras.layers.Layer):
            self.keeps([source])
            settings = {k: v for k, v in source.get_config().items() if k != "dtype"}
            return _Layer(self.keras, lambda: type(source).from_config(settings), channels)
        renorm = _renorm(source, config)
        construct = self.constructor(config, renorm)
        if renorm and self.given is not None:
            self.given |= {"r_max", "d_max"}
        return _Layer(self.keras, lambda: construct(channels), channels)

    def call_keywords(self, call: Callable[..., Any], training: bool) -> dict[str, Any]:
        # every Keras layer can be told whether it trains, even if its `call` cannot
        return {"training": training} | super().call_keywords(call, training)

    def forward(self, layer: _Layer, x: Array, gamma: Array, beta: Array, training: bool) -> Array:
        # Keras computes in float32 for any input, unless its backend is TensorFlow
        x = x.astype(self.keras.backend.result_type(str(x.dtype)))
        if layer.layer is None:
            self._build(layer, x)
        for variable, value in zip(layer.parameters, (gamma - layer.zero_centred, beta), strict=True):
            if variable is not None:
                variable.assign(value.reshape(variable.shape).astype(x.dtype))
        layer.keywords = self.call_keywords(layer.layer.call, training)
        if not training:
            return _numpy(layer.layer(x, **layer.keywords))
        layer.numbers = {v.path: np.array(_numpy(v.value)) for v in _single(layer)}
        z, layer.backward = _RUN[self.backend](layer, x)
        return _numpy(z)

    def _build(self, layer: _Layer, x: Array) -> None:
        """Make the layer in the dtype of `x`, and find its parameters."""
        policy = self.keras.config.dtype_policy()
        self.keras.config.set_dtype_policy(str(x.dtype))
        try:
            made = layer.make()
            if not made.built:
                made.build(x.shape)
        finally:
            self.keras.config.set_dtype_policy(policy)
        found = {v.path: v for v in made.trainable_variables if np.prod(v.shape) == layer.channels}
        names = scale_and_shift({path: _numpy(v.value) for path, v in found.items()}, layer.channels)
        layer.parameters = [found.get(name or "") for name in names]
        scale, told = layer.parameters[0], self.call_keywords(made.call, False)
        start = None if scale is None else _numpy(scale.value)
        layer.zero_centred = zero_centred(start, lambda x: _numpy(made(x, **told)), x)
        layer.layer = made

    def backward(self, layer: _Layer, dz: Array) -> tuple[Array, Array | None, Array | None]:
        dx, *found = layer.backward(dz.astype(self.keras.backend.result_type(str(dz.dtype))))
        given = iter(found)
        parameters = (None if v is None else _numpy(next(given)).reshape(-1) for v in layer.parameters)
        return _numpy(dx), *parameters

    def state(self, layer: _Layer) -> dict[str, Array]:
        return {v.name: squeezed(_numpy(v.value), layer.channels) for v in layer.layer.non_trainable_variables}

    def age(self, layer: _Layer, iterations: int) -> bool:
        """Set numbers that a training pass raises by one, and those named after steps, iterations or batches."""
        counting = [v for v in _single(layer) if counts(v.path) or raised(_numpy(v.value), layer.numbers.get(v.path))]
        for variable in counting:
            variable.assign(np.full(variable.shape, iterations))
        return bool(counting)


def _single(layer: _Layer) -> list[Any]:
    """The variables of one number that are not trained."""
    return [v for v in layer.layer.non_trainable_variables if np.prod(v.shape) == 1]


def _renorm(source: Any, config: Any) -> dict[str, Any]:
    """The keywords that make Batch Renormalization of Keras's own layer, or one with the same keywords."""
    taken = signature(source).parameters
    if not hasattr(config, "r_max") or not {"renorm", "renorm_clipping", "renorm_momentum"} <= set(taken):
        return {}
    r_max, d_max = (float(getattr(bound, "last", bound)) for bound in (config.r_max, config.d_max))
    clipping = {"rmax": r_max, "rmin": 1 / r_max, "dmax": d_max}
    return {"renorm": True, "renorm_clipping": clipping, "renorm_momentum": config.decay}


def _numpy(value: Any) -> Array:
    """An array of any backend, from any device."""
    return np.array(value.detach().cpu().numpy() if hasattr(value, "detach") else value)


def _torch(layer: _Layer, x: Array) -> tuple[Any, Any]:
    grad, to_tensor = require("torch", "torch").autograd.grad, layer.keras.ops.convert_to_tensor
    given = to_tensor(x).requires_grad_()
    z = layer.layer(given.clone(), **layer.keywords)
    inputs = [given, *(v.value for v in layer.parameters if v is not None)]
    return z, lambda dz: grad((z * to_tensor(dz)).sum(), inputs)


def _jax(layer: _Layer, x: Array) -> tuple[Any, Any]:
    jax = require("jax", "frameworks")
    trained, kept = layer.layer.trainable_variables, layer.layer.non_trainable_variables

    def run(x: Any, values: Any, state: Any) -> tuple[Any, Any]:
        # not `stateless_call`, which does not tell inner layers that they are training
        held = [*zip(trained, values, strict=True), *zip(kept, state, strict=True)]
        with layer.keras.StatelessScope(held) as scope:
            z = layer.layer(x, **layer.keywords)
        return z, [scope.get_current_value(variable) for variable in kept]

    if layer.step is None:
        layer.step = Step(jax, run)
    z, pull, new = layer.step(jax.numpy.asarray(x), [v.value for v in trained], [v.value for v in kept])
    for variable, value in zip(kept, new, strict=True):
        variable.assign(value)

    def backward(dz: Array) -> list[Any]:
        dx, found = pull(jax.numpy.asarray(dz))
        by_path = {v.path: g for v, g in zip(trained, found, strict=True)}
        return [dx, *(by_path[v.path] for v in layer.parameters if v is not None)]

    return z, backward


def _tensorflow(layer: _Layer, x: Array) -> tuple[Any, Any]:
    tensorflow = require("tensorflow", "frameworks")
    given = tensorflow.constant(x)
    with tensorflow.GradientTape() as tape:
        tape.watch(given)
        z = layer.layer(given, **layer.keywords)
    inputs = [given, *(v.value for v in layer.parameters if v is not None)]
    return z, lambda dz: tape.gradient(z, inputs, tensorflow.constant(dz))


_RUN: dict[str, Callable[[_Layer, Array], tuple[Any, Any]]] = {
    "torch": _torch,
    "jax": _jax,
    "tensorflow": _tensorflow,
}
"""By backend: run a layer in training, and return z and what takes dz to the gradients of x and of the parameters."""

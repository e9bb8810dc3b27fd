"""A network as a plain list of layers, with its parameters, states and caches in lists beside it.

Nothing is hidden: `init` makes the parameters and the normalisers' states, `forward` returns the logits, what
`backward` needs and the new states, and `backward` goes through the same list from the end. They raise what the
layers raise, and besides that a ValueError for a list of another length than `layers`, and a TypeError for a member
that belongs to another layer. They do not change their arguments.

>>> layers = [GlobalAveragePool("pool"), Linear("linear", 1, 2)]
>>> params, states = init(layers, np.random.default_rng(0), dtype=np.float64)
>>> logits, caches, states = forward(layers, params, states, np.full((1, 2, 2, 1), 3.0))
>>> grads, states = backward(layers, np.array([[1.0, -1.0]]), caches, states)
>>> grads[1]["w"], grads[1]["b"]
(array([[ 3., -3.]]), array([ 1., -1.]))
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mabn_ref.arrays import Array, check_generator, namespace
from mabn_ref.nn import bias, centralize, conv2d, global_average_pool, linear, relu, residual, standardize, upsample
from mabn_ref.nn.layers import (
    Bias,
    Conv,
    ConvCache,
    Curve,
    GlobalAveragePool,
    Layer,
    Linear,
    Norm,
    ReLU,
    Upsample,
    check_config,
    check_layers,
    check_parallel,
)
from mabn_ref.nn.residual import Add, Exchange, Keep

__all__ = [
    "Bias",
    "Conv",
    "ConvCache",
    "Curve",
    "GlobalAveragePool",
    "Layer",
    "Linear",
    "Norm",
    "ReLU",
    "Upsample",
    "backward",
    "check_config",
    "check_parallel",
    "first_non_finite",
    "forward",
    "infer",
    "infer_layer",
    "init",
    "weight_in_use",
]


def init(
    layers: Sequence[Layer], rng: np.random.Generator, *, dtype: Any = np.float32, xp: Any = np
) -> tuple[list[dict[str, Array]], list[Any]]:
    """Return the parameters, a dict of names for each layer, and the states: a normaliser's State, or None.

    Convolutions start from He's normal distribution, variance 2 / fan_in; the linear layer, which no ReLU follows,
    from variance 1 / fan_in; gamma = 1, beta = 0, b = 0 unless a `Bias` says otherwise. The draws depend only on the
    generator and on the shapes of convolutions and linear layers, so two networks that differ in their normaliser or
    in centralisation start from the same weights. For every `dtype` and array library `xp` they are drawn in float64
    on the host.

    Two layers that share a name, a size that is not a positive integer, a layer that does not take what the one
    before gives, and a Config of another normaliser are errors.
    """
    check_layers(layers)
    check_generator(rng)
    params: list[dict[str, Array]] = []
    states: list[Any] = []

    def normal(shape: tuple[int, ...], variance: float) -> Array:
        draw: Array = xp.asarray(rng.standard_normal(shape) * math.sqrt(variance), dtype=dtype)
        return draw

    for layer in layers:
        state = None
        match layer:
            case Conv(_, channels_in, channels_out, kernel):
                fan_in = kernel * kernel * channels_in
                p = {"w": normal((kernel, kernel, channels_in, channels_out), 2 / fan_in)}
            case Norm(_, module, channels, config):
                p = {"gamma": xp.ones(channels, dtype=dtype), "beta": xp.zeros(channels, dtype=dtype)}
                state = module.init(channels, config, dtype=dtype, xp=xp)
            case Curve(_, module, channels, start):
                values = {"alpha": [start], "s": [0.0], "gamma": [1.0] * channels, "beta": [0.0] * channels}
                p = {name: xp.asarray(values[name], dtype=dtype) for name in module.PARAMETERS}
            case Bias(_, channels, start):
                p = {"b": xp.asarray(start or [0.0] * channels, dtype=dtype)}
            case Linear(_, features_in, features_out):
                w, b = normal((features_in, features_out), 1 / features_in), xp.zeros(features_out, dtype=dtype)
                p = {"w": w, "b": b}
            case _:
                p = {}
        params.append(p)
        states.append(state)
    return params, states


def forward(
    layers: Sequence[Layer], params: Sequence[dict[str, Array]], states: Sequence[Any], x: Array
) -> tuple[Array, list[Any], list[Any]]:
    """Run the training pass on images (N, H, W, C); return the logits (N, classes), the caches and the new states."""
    check_parallel(layers, params=params, states=states)
    caches: list[Any] = []
    new_states: list[Any] = []
    held = None
    for layer, p, state in zip(layers, params, states, strict=True):
        x, held, cache, state = _forward_layer(layer, p, state, x, held)
        caches.append(cache)
        new_states.append(state)
    return x, caches, new_states


def _forward_layer(layer: Layer, p: dict[str, Array], state: Any, x: Array, held: Any) -> tuple[Array, Any, Any, Any]:
    """One step of `forward`: the output, what is held for the end of a residual block, the cache, the state."""
    cache = None
    match layer:
        case Norm():
            x, cache, state = layer.module.forward(x, p["gamma"], p["beta"], state, layer.config)
        case Keep() | Exchange() | Add():
            x, held = residual.forward(layer, x, held)
        case _:
            x, cache = _output(layer, p, x)
    return x, held, cache, state


def backward(
    layers: Sequence[Layer], dlogits: Array, caches: Sequence[Any], states: Sequence[Any]
) -> tuple[list[dict[str, Array]], list[Any]]:
    """Return the gradients, parallel to the parameters, and the new states.

    If a convolution comes first, the gradient of the images is not computed. `states` are those from `forward` or,
    where several passes share their weights, from the last `backward`, so that MABN continues its window.
    """
    check_parallel(layers, caches=caches, states=states)
    grads: list[dict[str, Array]] = [{} for _ in layers]
    new_states = list(states)
    d, held = dlogits, None
    for i in reversed(range(len(layers))):
        layer, cache = layers[i], caches[i]
        match layer:
            case Conv():
                dw = conv2d.weight_gradient(d, cache.convolution)
                grads[i] = {"w": _weight_gradient(dw, cache.weight)}
                if i > 0:
                    d = conv2d.input_gradient(d, cache.convolution)
            case Norm():
                d, dgamma, dbeta, new_states[i] = layer.module.backward(d, cache, states[i])
                grads[i] = {"gamma": dgamma, "beta": dbeta}
            case Curve():
                d, *found = layer.module.backward(d, cache)
                grads[i] = dict(zip(layer.module.PARAMETERS, found, strict=True))
            case Bias():
                d, db = bias.backward(d, cache)
                grads[i] = {"b": db}
            case ReLU():
                d = relu.backward(d, cache)
            case GlobalAveragePool():
                d = global_average_pool.backward(d, cache)
            case Upsample():
                d = upsample.backward(d, cache)
            case Linear():
                d, dw, db = linear.backward(d, cache)
                grads[i] = {"w": dw, "b": db}
            case Keep() | Exchange() | Add():
                d, held = residual.backward(layer, d, held)
    return grads, new_states


def infer(layers: Sequence[Layer], params: Sequence[dict[str, Array]], states: Sequence[Any], x: Array) -> Array:
    """Run the inference pass and return the logits; those of an image depend on that image alone.

    Normalisers use their moving statistics, and no caches are kept. The largest arrays inside are the outputs of the
    layers: split many images into batches.
    """
    check_parallel(layers, params=params, states=states)
    held = None
    for layer, p, state in zip(layers, params, states, strict=True):
        x, held = infer_layer(layer, p, state, x, held)
    return x


def infer_layer(layer: Layer, p: dict[str, Array], state: Any, x: Array, held: Any) -> tuple[Array, Any]:
    """Return the output of one step of `infer`, and what is held for the end of a residual block: None at first."""
    match layer:
        case Norm():
            return layer.module.infer(x, p["gamma"], p["beta"], state, layer.config), held
        case Keep() | Exchange() | Add():
            return residual.forward(layer, x, held)
    return _output(layer, p, x)[0], held


def first_non_finite(
    layers: Sequence[Layer], params: Sequence[dict[str, Array]], states: Sequence[Any], x: Array
) -> str | None:
    """Name the first layer whose output in the training pass holds a NaN or an infinity, or whose squares overflow.

    None if all outputs are finite. Arguments as for `forward`.
    """
    check_parallel(layers, params=params, states=states)
    held = None
    with np.errstate(all="ignore"):
        for layer, p, state in zip(layers, params, states, strict=True):
            try:
                x, held, _, _ = _forward_layer(layer, p, state, x, held)
            except OverflowError:
                return layer.name
            xp = namespace(x)
            if not bool(xp.all(xp.isfinite(x))):
                return layer.name
    return None


def _output(
    layer: Conv | Curve | Bias | ReLU | GlobalAveragePool | Upsample | Linear, p: dict[str, Array], x: Array
) -> tuple[Array, Any]:
    """The output and the cache of a layer that has no state."""
    match layer:
        case Conv():
            w, weight = _weight(layer, p["w"])
            x, convolution = conv2d.forward(x, w, stride=layer.stride, padding=layer.padding)
            return x, ConvCache(convolution, weight)
        case Curve():
            out: tuple[Array, Any] = layer.module.forward(x, **p)
            return out
        case Bias():
            return bias.forward(x, p["b"])
        case ReLU():
            return relu.forward(x)
        case GlobalAveragePool():
            return global_average_pool.forward(x)
        case Upsample():
            return upsample.forward(x, factor=layer.factor)
        case Linear():
            return linear.forward(x, p["w"], p["b"])


def weight_in_use(layer: Conv, w: Array) -> Array:
    """Return the weight that the convolution multiplies by: `w`, centralised or standardised if the layer says so."""
    return _weight(layer, w)[0]


def _weight(layer: Conv, w: Array) -> tuple[Array, centralize.Cache | standardize.Cache | None]:
    """The weight that a convolution uses."""
    if layer.standardized:
        return standardize.forward(w)
    return centralize.forward(w) if layer.centralized else (w, None)


def _weight_gradient(dw: Array, cache: centralize.Cache | standardize.Cache | None) -> Array:
    """The gradient of the parameter, from that of the weight in use."""
    match cache:
        case standardize.Cache():
            return standardize.backward(dw, cache)
        case centralize.Cache():
            return centralize.backward(dw, cache)
    return dw

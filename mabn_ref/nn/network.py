"""A network as a plain list of layers, with its parameters, states and caches in lists beside it.

Nothing is hidden: `init` makes the parameters and the normalisers' states, `forward` returns the logits, what
`backward` needs and the new states, and `backward` goes through the same list from the end. They raise what the
layers raise, and refuse lists that are not parallel: of another length (ValueError), or with a member that belongs to
another layer (TypeError). They do not change their arguments.

>>> layers = [GlobalAveragePool("pool"), Linear("linear", 1, 2)]
>>> params, states = init(layers, np.random.default_rng(0), dtype=np.float64)
>>> logits, caches, states = forward(layers, params, states, np.full((1, 2, 2, 1), 3.0))
>>> grads, states = backward(layers, np.array([[1.0, -1.0]]), caches, states)
>>> grads[1]["w"], grads[1]["b"]
(array([[ 3., -3.]]), array([ 1., -1.]))
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, get_args

import numpy as np

from mabn_ref.arrays import Array, check_at_least, check_own, kind, kind_of, namespace
from mabn_ref.nn import (
    bias,
    centralize,
    conv2d,
    dynamic_erf,
    dynamic_tanh,
    global_average_pool,
    linear,
    relu,
    residual,
    standardize,
    upsample,
)
from mabn_ref.nn.residual import Add, Exchange, Keep


class Conv(NamedTuple):
    """A convolution without bias. Parameter: w (kernel, kernel, in, out).

    `centralized` centres its weight, :eq:`centralize-forward` (18); `standardized` divides it by its standard
    deviation as well, :eq:`standardize-forward`.
    """

    name: str
    channels_in: int
    channels_out: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    centralized: bool = False
    standardized: bool = False


class Norm(NamedTuple):
    """A normaliser: one of the modules of `mabn_ref.norms` and its Config. Parameters: gamma, beta (channels,)."""

    name: str
    module: Any
    channels: int
    config: Any


class Curve(NamedTuple):
    """A curve in the place of a normaliser: the module `mabn_ref.nn.dynamic_tanh` or `mabn_ref.nn.dynamic_erf`.

    Parameters: alpha (1,), at first `start`, gamma, beta (channels,), and s (1,) of the second.
    """

    name: str
    module: Any
    channels: int
    start: float = 0.5


class Bias(NamedTuple):
    """A number per channel, added everywhere. Parameter: b (channels,), at first `start`, or zeros without one."""

    name: str
    channels: int
    start: tuple[float, ...] = ()


class ReLU(NamedTuple):
    """The positive part."""

    name: str


class GlobalAveragePool(NamedTuple):
    """The mean over each image."""

    name: str


class Upsample(NamedTuple):
    """Every pixel as a square of `factor` by `factor`."""

    name: str
    factor: int = 2


class Linear(NamedTuple):
    """An affine map. Parameters: w (in, out), b (out,)."""

    name: str
    features_in: int
    features_out: int


Layer: TypeAlias = Conv | Norm | Curve | Bias | ReLU | GlobalAveragePool | Upsample | Linear | residual.Marker


class ConvCache(NamedTuple):
    """The caches of a `Conv`: that of its convolution, and that of what was done to its weight, if anything was."""

    convolution: conv2d.Cache
    weight: centralize.Cache | standardize.Cache | None


def init(
    layers: Sequence[Layer], rng: np.random.Generator, *, dtype: Any = np.float32, xp: Any = np
) -> tuple[list[dict[str, Array]], list[Any]]:
    """Return the parameters, a dict of names for each layer, and the states: a normaliser's State, or None.

    Convolutions start from He's normal distribution, variance 2 / fan_in; the linear layer, which no ReLU follows,
    from variance 1 / fan_in; gamma = 1, beta = 0, b = 0 unless a `Bias` says otherwise. The draws depend on the
    generator and on the shapes of convolutions and linear layers alone, so that two networks which differ in their
    normaliser or in centralisation start from the same weights. They are drawn in float64 on the host, whatever
    `dtype` and the array library `xp` are.

    Two layers that share a name, a size that is not a positive integer, a layer that does not take what the one
    before gives, and a Config of another normaliser are errors.
    """
    _check_layers(layers)
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
                p = {name: xp.asarray(values[name], dtype=dtype) for name in _CURVES[module]}
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

    The gradient of the images themselves is not computed where convolution comes first. `states` are those from
    `forward`, or from the last `backward` where several passes share their weights: MABN continues its window.
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
                grads[i] = dict(zip(_CURVES[layer.module], found, strict=True))
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
    """Run the inference pass and return the logits, each of which depends on its own image alone.

    Normalisers use their moving statistics, and nothing is kept. The largest arrays inside are the outputs of the
    layers: cut many images into batches.
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
    """From the gradient of the weight in use to that of the parameter."""
    match cache:
        case standardize.Cache():
            return standardize.backward(dw, cache)
        case centralize.Cache():
            return centralize.backward(dw, cache)
    return dw


def _check_layers(layers: Sequence[Layer]) -> None:
    names: set[str] = set()
    before, channels, held = "", None, None
    for i, layer in enumerate(layers):
        _check_layer(i, layer)
        if layer.name in names:
            raise ValueError(f"layers[{i}].name is {layer.name!r}, expected a name that no other layer has")
        names.add(layer.name)
        match layer:
            case Conv(_, takes, gives, kernel):
                check_at_least(f"{layer.name}: kernel", kernel, 1, whole=True)
                if layer.centralized and layer.standardized:
                    raise ValueError(f"{layer.name} is centralized and standardized, expected at most one of them")
            case Linear(_, takes, gives):
                pass
            case Norm(_, module, takes, config):
                check_config(module, config)
                gives = takes
            case Curve(_, module, takes):
                if module not in _CURVES:
                    raise ValueError(f"{layer.name}: module is {module!r}, expected dynamic_tanh or dynamic_erf")
                gives = takes
            case Bias(_, takes, start):
                gives = takes
                if start and len(start) != takes:
                    raise ValueError(
                        f"{layer.name}: start has {len(start)} numbers, expected {takes}, one per channel"
                    )
            case Keep() | Exchange() | Add():
                if isinstance(layer, Add) and held is not None and len({held[1], channels} - {None}) > 1:
                    raise ValueError(f"{layer.name} adds {channels} and {held[1]} channels, expected as many of both")
                (before, channels), held = residual.route(layer, (before, channels), held)
                continue
            case _:
                continue
        check_at_least(f"{layer.name}: channels in", takes, 1, whole=True)
        check_at_least(f"{layer.name}: channels out", gives, 1, whole=True)
        if channels not in (None, takes):
            raise ValueError(f"{layer.name} takes {takes} channels, expected {channels}, those that {before} gives")
        before, channels = layer.name, gives
    if held is not None:
        raise ValueError("the last Keep of layers has no Add, expected one after each")


def _check_layer(i: int, layer: Any) -> None:
    if not isinstance(layer, get_args(Layer)):
        expected = ", ".join(own.__name__ for own in get_args(Layer))
        raise TypeError(f"layers[{i}] is {layer!r}, expected one of {expected}")


def check_config(module: Any, config: Any) -> None:
    """Refuse a Config of another normaliser than the module; what is not one of this package's may have any."""
    if hasattr(module, "Config"):
        check_own((config, module.Config))


def check_parallel(layers: Sequence[Layer], **lists: Sequence[Any]) -> None:
    """Refuse lists that are not parallel to `layers`, by name."""
    for i, layer in enumerate(layers):
        _check_layer(i, layer)
    for name, values in lists.items():
        if len(values) != len(layers):
            raise ValueError(f"{name} has {len(values)} members, expected {len(layers)}, one per layer")
        for i, (layer, value) in enumerate(zip(layers, values, strict=True)):
            expected = _mismatch(name, layer, value)
            if expected is not None:
                raise TypeError(f"{name}[{i}] is {kind(value)}, expected {expected} for the layer {layer.name!r}")


def _mismatch(name: str, layer: Layer, value: Any) -> str | None:
    """What a member of a list should be, if it is not; a normaliser of somebody else's may have no classes."""
    if name == "params":
        names = _CURVES[layer.module] if isinstance(layer, Curve) else _PARAMETERS.get(type(layer), ())
        if isinstance(value, Mapping) and value.keys() == set(names):
            return None
        held = f" and not of {', '.join(map(str, value))}" if isinstance(value, Mapping) and value else ""
        return f"a dict of {', '.join(names) or 'nothing'}{held}"
    if isinstance(layer, Norm):
        own = getattr(layer.module, "State" if name == "states" else "Cache", None)
    else:
        of_layer = layer.module.Cache if isinstance(layer, Curve) else _CACHES.get(type(layer))
        own = type(None) if name == "states" else of_layer
    return None if own is None or type(value) is own else kind_of(own)


_CURVES: dict[Any, tuple[str, ...]] = {
    dynamic_tanh: ("alpha", "gamma", "beta"),
    dynamic_erf: ("alpha", "s", "gamma", "beta"),
}
"""The parameters of each curve, in the order of its gradients."""
_PARAMETERS: dict[type, tuple[str, ...]] = {Conv: ("w",), Norm: ("gamma", "beta"), Bias: ("b",), Linear: ("w", "b")}
_CACHES: dict[type, type] = {
    Conv: ConvCache,
    Bias: bias.Cache,
    ReLU: relu.Cache,
    GlobalAveragePool: global_average_pool.Cache,
    Upsample: upsample.Cache,
    Linear: linear.Cache,
    **dict.fromkeys(get_args(residual.Marker), type(None)),
}

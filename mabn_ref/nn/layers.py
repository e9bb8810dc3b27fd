"""The layers of a network as plain data, and checks that they fit together and that lists match them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, get_args

from mabn_ref.arrays import check_at_least, check_own, kind, kind_of
from mabn_ref.nn import bias, centralize, conv2d, global_average_pool, linear, relu, residual, standardize, upsample
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
    """A curve in place of a normaliser: the module `mabn_ref.nn.dynamic_tanh` or `mabn_ref.nn.dynamic_erf`.

    Parameters: alpha (1,), initially `start`, gamma, beta (channels,), and for the second module s (1,).
    """

    name: str
    module: Any
    channels: int
    start: float = 0.5


def normaliser(name: str, module: Any, channels: int, config: Any) -> Norm | Curve:
    """Return a `Norm` with the Config of its normaliser, or a `Curve`, which has no Config.

    `channels`, at least 1, is the length of the last axis. Nothing is checked here; `network.init` does that.

    Examples
    --------
    >>> from mabn_ref.nn import dynamic_tanh
    >>> normaliser("norm1", dynamic_tanh, 8, None).start
    0.5
    """
    curved = config is None and hasattr(module, "PARAMETERS")  # somebody's normaliser may have that name too
    return Curve(name, module, channels) if curved else Norm(name, module, channels, config)


class Bias(NamedTuple):
    """A number per channel, added everywhere. Parameter: b (channels,), initially `start`, or zeros without one."""

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
    """The caches of a `Conv`: of its convolution, and of the centring or standardising of its weight, if any."""

    convolution: conv2d.Cache
    weight: centralize.Cache | standardize.Cache | None


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


def check_layers(layers: Sequence[Layer]) -> None:
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
                if not hasattr(module, "PARAMETERS"):
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
                    raise ValueError(f"{layer.name} adds {channels} and {held[1]} channels, expected the same number")
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
    """Refuse a Config that is not the module's own; a module from elsewhere without a `Config` may have any."""
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
    """What a member of a list should be, or None if it fits; a normaliser from elsewhere may have no classes."""
    if name == "params":
        names = layer.module.PARAMETERS if isinstance(layer, Curve) else _PARAMETERS.get(type(layer), ())
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

"""A run that begins from another network: what is taken over, what is converted, and what starts fresh."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

from mabn_ref.nn import convert, folding, network
from mabn_ref.nn.network import Conv, Layer, Norm
from mabn_ref.norms.devices import Devices, States
from mabn_ref.train import checkpoints
from mabn_ref.train.config import label
from mabn_ref.train.devices import to_device
from mabn_ref.train.loop import Progress, Setup, to_input

MEASURED = 300  #: training images on which statistics are measured if weights have to be centred
_KINDS = ({"mean", "var"}, {"chi2"})
"""The kinds of moving statistics, as the names of a state's fields."""


KINDS = ("centred", "taken", "standardised", "converted", "statistics fresh", "fresh")
"""What can become of a layer."""


class DoesNotFit(ValueError):
    """The run cannot begin from this network; the message names the network or the layer."""


class Source(NamedTuple):
    """A trained network to begin from."""

    name: str  #: the value of `RunConfig.start`
    net: convert.Network
    about: dict[str, Any]  #: its description in a record: plain values


def from_checkpoint(path: Path) -> Source:
    """Read the network from a checkpoint of any run of ``mabn-ref train``.

    Raises `checkpoints.CheckpointError` if the file is damaged or not a checkpoint, and `OSError` if there is none.
    """
    config, net = checkpoints.load_network(path)
    seen = hashlib.sha256()
    for name, value in checkpoints.named({"params": net.params, "states": net.states}).items():
        seen.update(f"{name} {value.dtype} {value.shape}".encode() + value.tobytes())
    digest = seen.hexdigest()
    name = f"{label(config)}, seed {config.seed}, {digest[:12]}"
    return Source(name, net, {"config": config.as_dict(), "digest": digest})


def begin(setup: Setup, start: Progress, source: Source) -> tuple[Progress, dict[str, list[str]]]:
    """Put the layers of `source` that fit into a run's start; return it, and layer names by what became of them.

    A layer fits if it has the name, kind and parameter shapes of a layer of the run. "taken" are layers with weights
    as the source used them, or with moving statistics of the same kind; "standardised" are those whose weights the
    run standardises and the source did not, so that the moving statistics behind them no longer fit; "converted" are
    normalisers that went through `convert.convert`; "statistics fresh" are normalisers of which only gamma and beta
    could be taken; "fresh" are layers that do not fit. If the run centralises weights and the source did not,
    `convert.centre` first centres them, on images of the run: these are "centred". All devices begin with the
    statistics of device 0.

    Raises
    ------
    DoesNotFit
        If no layer fits, or a normaliser cannot be converted: its name is in the message.
    """
    net = _of_one_device(source.net)
    said: dict[str, list[str]] = {name: [] for name in KINDS}
    if setup.config.centralized:
        net, said["centred"] = _centred(net, setup)
    theirs = {layer.name: (layer, p, state) for layer, p, state in zip(*net, strict=True) if p}
    params, states = list(start.params), list(start.states)
    for i, layer in enumerate(setup.layers):
        if not params[i]:
            continue
        if layer.name not in theirs or not _fits(layer, params[i], *theirs[layer.name][:2]):
            said["fresh"].append(layer.name)
            continue
        old, p, state = theirs[layer.name]
        if isinstance(layer, Norm) and isinstance(old, Norm):
            what, p, state = _normaliser(layer, start.states[i], old, p, state)
        else:
            other = getattr(layer, "standardized", False) and not getattr(old, "standardized", False)
            what, p = "standardised" if other else "taken", _as_used(layer, old, p)
        said[what].append(layer.name)
        params[i], states[i] = to_device(p, setup.xp), to_device(state, setup.xp)
    if len(said["fresh"]) == sum(1 for p in params if p):
        raise DoesNotFit(f"{source.name} has no layer with the name and shape of a layer of this run")
    return start._replace(params=params, states=states), {name: names for name, names in said.items() if names}


def _of_one_device(net: convert.Network) -> convert.Network:
    """Return the network with the statistics of device 0 alone, which inference reads."""
    layers = [
        layer._replace(module=layer.module.module)
        if isinstance(layer, Norm) and isinstance(layer.module, Devices)
        else layer
        for layer in net.layers
    ]
    states = [state.each[0] if isinstance(state, States) else state for state in net.states]
    return net._replace(layers=layers, states=states)


def _centred(net: convert.Network, setup: Setup) -> tuple[convert.Network, list[str]]:
    """Centre the weights that `convert.centre` can, and name them; standardised weights sum to zero already."""
    norms = set(convert.of_mean_and_variance(net.layers, net.states))
    names = [
        layer.name
        for i, layer in enumerate(net.layers)
        if isinstance(layer, Conv) and i + 1 in norms and not (layer.centralized or layer.standardized)
    ]
    if not names:
        return net, []
    pixels = setup.images.train.images[:MEASURED]
    net = net._replace(params=to_device(net.params, setup.xp), states=to_device(net.states, setup.xp))
    return convert.centre(*net, to_input(setup, pixels)), names


def _fits(layer: Layer, mine: dict[str, Any], old: Layer, theirs: dict[str, Any]) -> bool:
    shapes = [{name: tuple(value.shape) for name, value in p.items()} for p in (mine, theirs)]
    return type(layer) is type(old) and shapes[0] == shapes[1]


def _as_used(layer: Layer, old: Layer, p: dict[str, Any]) -> dict[str, Any]:
    """Return parameters with which `layer` computes what `old` did; a weight in use may differ from a stored one."""
    if not isinstance(layer, Conv) or not isinstance(old, Conv):
        return p
    alike = (layer.centralized, layer.standardized) == (old.centralized, old.standardized)
    return p if alike else {"w": network.weight_in_use(old, p["w"])}


def _normaliser(layer: Norm, fresh: Any, old: Norm, p: dict[str, Any], state: Any) -> tuple[str, dict[str, Any], Any]:
    """Return what became of a normaliser, its parameters and its state."""
    many = layer.module.count if isinstance(layer.module, Devices) else None
    module = layer.module if many is None else layer.module.module
    of_one = fresh if many is None else fresh.each[0]
    if not getattr(of_one, "_fields", ()):  # it keeps no statistics
        return "taken", p, fresh
    linear = all(folding.is_linear(norm) for norm in (old, layer._replace(module=module)))
    if linear and module is not old.module and convert.of_mean_and_variance([old], [state]):
        try:
            net = convert.convert([old], [p], [state], module, layer.config)
        except TypeError:  # it keeps no statistics of this kind
            return "statistics fresh", p, fresh
        except ValueError as error:
            raise DoesNotFit(f"{layer.name}: {error}") from error
        what, p, of_one = "converted", net.params[0], net.states[0]
    else:
        kept = next((kind for kind in _KINDS if all(kind <= set(s._fields) for s in (state, of_one))), None)
        if kept is None:
            return "statistics fresh", p, fresh
        what, of_one = "taken", of_one._replace(**{name: getattr(state, name) for name in kept})
    return what, p, of_one if many is None else States((of_one,) * many)

"""A NumPy class with ``forward`` and ``backward``, as in courses, as a target; it keeps its own cache."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.check.adapters.arguments import (
    SCALES,
    SHIFTS,
    Constructed,
    counts,
    mode_flags,
    raised,
    squeezed,
    zero_centred,
)
from mabn_ref.check.target import mean_and_variance

_GRADIENTS = ("grads", "gradients", "grad")
"""Names of a dictionary of gradients; otherwise gradients are attributes such as dgamma or gamma_grad."""


class _Layer:
    """An object of the class, and where its parameters are."""

    def __init__(self, thing: Any, channels: int) -> None:
        self.thing, self.channels = thing, channels
        self.numbers: dict[tuple[str, Any], Any] = {}
        """Before the last pass in training: all single numbers, by place."""
        self.handed: list[tuple[Array, Array, Array]] = []
        """From the last pass in training: the caller's x, the array passed for it, and a copy of that."""
        tables = [vars(thing), *(value for value in vars(thing).values() if isinstance(value, dict))]
        places = [(table, name) for table in tables for name in table]
        self.scale, self.shift = (
            _place(places, names, channels) or _place(places, short, channels)
            for names, short in ((SCALES, ("w",)), (SHIFTS, ("b",)))
        )
        self.zero_centred: bool | None = None
        """Whether gamma is 1 + scale, once that is known."""
        self.per_channel = {n for n, v in kept(self) if isinstance(v, np.ndarray) and v.size == channels}


def kept(layer: _Layer) -> Iterator[tuple[str, Any]]:
    """Everything that an object keeps except parameters and gradients, also in dictionaries."""
    own = [place[1] for place in (layer.scale, layer.shift) if place is not None]
    for name, value in vars(layer.thing).items():
        entries = {f"{name}[{k}]": v for k, v in value.items()} if isinstance(value, dict) else {name: value}
        for path, entry in entries.items():
            if not any(one in path for one in own) and "grad" not in path:
                yield path, entry


def _numbers(thing: Any) -> Iterator[tuple[tuple[str, Any], Any]]:
    """The single numbers that an object keeps, each with its attribute and, in what that holds, the key."""
    for name, value in vars(thing).items():
        for key, entry in _entries(value).items():
            plain = type(entry) in (int, float) or isinstance(entry, np.number)
            if plain or (isinstance(entry, np.ndarray) and entry.size == 1 and entry.dtype.kind in "iuf"):
                yield (name, key), entry


def _entries(value: Any) -> dict[Any, Any]:
    """What a dictionary, a named tuple or an object of its own holds; all else is an entry without a key."""
    if isinstance(value, dict):
        return value
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return dict(value._asdict())
    plain = isinstance(value, type) or inspect.isroutine(value) or inspect.ismodule(value)
    return vars(value) if hasattr(value, "__dict__") and not plain else {None: value}


def _place(places: list[tuple[dict[str, Any], str]], names: tuple[str, ...], channels: int) -> Any:
    """The dictionary and the key of a parameter."""
    return next((p for p in places if p[1].lower() in names and np.size(p[0][p[1]]) == channels), None)


class NumpyTarget(Constructed):
    """A class whose objects have ``forward(x, ...)`` and ``backward(dz)``, an object of one, or a function of C.

    The mode is an argument of forward, by its name, or an attribute ``training``. Backward returns dx, or dx, dgamma
    and dbeta; otherwise these are attributes or entries of a dictionary of gradients. For the channels, the last axis
    and axis 1 are tried, unless `adapt` is told the axis.
    """

    def __init__(self, source: Any, extra: Mapping[str, Any] | None = None) -> None:
        super().__init__(source, extra)
        self.axes: tuple[int, ...] = -1, 1
        self.axis = self.axes[0]
        if not isinstance(source, type) and not inspect.isroutine(source):
            sizes = [np.size(v) for v in vars(source).values() if isinstance(v, np.ndarray)]
            self.channels = max(set(sizes), key=sizes.count, default=None)

    def make(self, channels: int, config: Any) -> _Layer:
        if not isinstance(self.source, type) and not inspect.isroutine(self.source):
            self.keeps([self.source])
            return _Layer(copy.deepcopy(self.source), channels)
        made = self.constructor(config, {}, channels_first=True)(channels)
        self.keeps([made])
        layer = _Layer(made, channels)
        self.limits = ["no attribute was recognised as gamma by its name, so gamma was not set"] * (
            layer.scale is None
        )
        return layer

    def forward(self, layer: _Layer, x: Array, gamma: Array, beta: Array, training: bool) -> Array:
        if layer.zero_centred is None:
            start = None if layer.scale is None else layer.scale[0][layer.scale[1]]
            layer.zero_centred = zero_centred(
                start, lambda x: self._run(copy.deepcopy(layer.thing), np.moveaxis(x, -1, self.axis).copy(), False), x
            )
        for place, value in ((layer.scale, gamma - layer.zero_centred), (layer.shift, beta)):
            if place is not None:
                old = place[0][place[1]]
                place[0][place[1]] = value.reshape(np.shape(old)).copy()
        zero = getattr(layer.thing, "zero_grad", None)
        if training:
            layer.numbers = {place: np.array(value) for place, value in _numbers(layer.thing)}
        if training and callable(zero) and not inspect.signature(zero).parameters:
            zero()  # some add up the gradients of all passes
        given = np.moveaxis(x, -1, self.axis).copy()
        before = given.copy()
        z = self._run(layer.thing, given, training)
        self._seen(x, given, before)
        if training:
            layer.handed = [(x, given, given.copy())]
        grown = [n for n, v in kept(layer) if n in layer.per_channel and np.size(v) > layer.channels]
        if grown:
            raise ValueError(f"{grown[0]} becomes one number per channel and position: the class takes only (N, C)")
        return z

    def _run(self, thing: Any, given: Array, training: bool) -> Array:
        """The output of an object, told whether it trains, with its channels last."""
        for name, value in mode_flags(training).items():
            if isinstance(getattr(thing, name, None), bool):
                setattr(thing, name, value)
        switch = getattr(thing, "train" if training else "eval", None)
        if callable(switch):
            switch()
        z = thing.forward(given, **self.call_keywords(thing.forward, training))
        z = np.asarray(z[0] if isinstance(z, tuple) else z)
        return np.moveaxis(z, self.axis, -1) if z.ndim == given.ndim else z

    def mode_keyword(self, call: Any, training: bool) -> dict[str, Any]:
        found: dict[str, Any] = super().mode_keyword(call, training)
        if not found and "mode" in inspect.signature(call).parameters:
            found["mode"] = "train" if training else "test"
        return found

    def _seen(self, a: Array, given: Array, before: Array) -> None:
        """Copy changes that the object made to its array into the caller's array, as the caller would see them."""
        if not np.array_equal(given, before, equal_nan=True):
            a[...] = np.moveaxis(given, self.axis, -1)

    def backward(self, layer: _Layer, dz: Array) -> tuple[Array, Array | None, Array | None]:
        given = np.moveaxis(dz, -1, self.axis).copy()
        arrays = [(dz, given, given.copy()), *layer.handed]
        found = layer.thing.backward(given)
        for array in arrays:
            self._seen(*array)
        parts = list(found) if isinstance(found, tuple | list) else [found]
        dx = np.asarray(parts[0])
        dx = np.moveaxis(dx, self.axis, -1) if dx.ndim == dz.ndim else dx
        gradients: list[Array | None] = []
        for k, place in enumerate((layer.scale, layer.shift), 1):
            value = parts[k] if k < len(parts) else self._gradient(layer, place)
            gradients.append(None if value is None else np.array(value, dx.dtype).reshape(-1))
        return dx, gradients[0], gradients[1]

    def _gradient(self, layer: _Layer, place: Any) -> Any:
        """An attribute such as dgamma or gamma_grad, or an entry of a dictionary of gradients."""
        if place is None:
            return None
        name, attributes = place[1], vars(layer.thing)
        own = (f"d{name}", f"d_{name}", f"{name}_grad", f"grad_{name}", f"{name}_gradient", f"delta_{name}")
        tables = (v for k, v in attributes.items() if k in _GRADIENTS and isinstance(v, dict))
        places = [(attributes, key) for key in own] + [(table, key) for table in tables for key in (*own, name)]
        return next((table[key] for table, key in places if np.size(table.get(key, ())) == layer.channels), None)

    def state(self, layer: _Layer) -> dict[str, Any]:
        """Arrays of one number per channel that are neither parameters nor gradients."""
        return {
            name: squeezed(value, layer.channels)
            for name, value in kept(layer)
            if isinstance(value, np.ndarray) and value.size == layer.channels
        }

    def age(self, layer: _Layer, iterations: int) -> bool:
        """Set numbers that a training pass raises by one, and those named after steps, iterations or batches."""
        found = []
        for (name, key), value in _numbers(layer.thing):
            named = type(value) is int and counts(str(name if key is None else key))
            if named or raised(value, layer.numbers.get((name, key))):
                found.append((name, key, value))
        for name, key, value in found:
            new: Any = np.full(np.shape(value), iterations, np.asarray(value).dtype)
            new = new if isinstance(value, np.ndarray) else new[()].item()
            holder = getattr(layer.thing, name)
            if key is None or isinstance(holder, tuple):
                setattr(layer.thing, name, new if key is None else holder._replace(**{key: new}))
            elif isinstance(holder, dict):
                holder[key] = new
            else:
                object.__setattr__(holder, key, new)  # a frozen dataclass has no other way
        return bool(found)

    def freeze(self, layer: _Layer, mean: Array, var: Array) -> bool:
        """Set the arrays whose names say mean and variance."""
        found = mean_and_variance(n for n, v in vars(layer.thing).items() if np.size(v) == layer.channels)
        for name, value in zip(found, (mean, var), strict=False):
            setattr(layer.thing, name, value.reshape(np.shape(getattr(layer.thing, name))))
        return bool(found)

    def copy(self, layer: _Layer) -> _Layer:
        other = _Layer(copy.deepcopy(layer.thing), layer.channels)
        other.zero_centred = layer.zero_centred
        return other

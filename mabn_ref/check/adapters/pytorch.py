"""A `torch.nn.Module` as a target: it sees channels first, autograd does backward, buffers are the state."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.check.adapters.arguments import SCALES, SHIFTS, Constructed, counts, named, squeezed
from mabn_ref.check.target import MOVING, Holding, mean_and_variance, statistic
from mabn_ref.extras import require


class Layer:
    """A module, and the tensors of its last forward pass."""

    def __init__(self, module: Any, channels: int) -> None:
        self.module, self.channels = module, channels
        self.ready = False
        self.training: bool | None = None
        """The mode that was last set."""
        self.scale: Any = None
        self.shift: Any = None
        self.frozen = False
        """Whether its buffers are constants, including those called weight and bias."""
        self.zero_centred = False
        """Whether gamma is 1 + scale."""
        self.x: Any = None
        self.z: Any = None
        self.cache: Any = None
        """x and z, gamma and beta if the module has none, and the module's own output."""
        self.handed: list[tuple[Array, Any, Any]] = []
        """From the last pass in training: the caller's x, the tensor passed for it, and a copy of that."""
        self.numbers: list[dict[str, float]] = []
        """All numbers of the module, before the first pass in training and after each of the last two."""


class TorchTarget(Holding, Constructed):
    """A module class, an instance (which is copied), or a function of the number of channels that returns one.

    Unless `adapt` is told the axis, the channel axis is the one of `axes` with which the module takes images: 1 is
    tried first, or -1 for a `torch.nn.LayerNorm` or `torch.nn.RMSNorm`.
    """

    momentum_is_new = True

    def __init__(self, source: Any, extra: Mapping[str, Any] | None = None) -> None:
        super().__init__(source, extra)
        self.torch = require("torch", "torch")
        kind = source if isinstance(source, type) else type(source)
        last = self.torch.nn.LayerNorm, getattr(self.torch.nn, "RMSNorm", self.torch.nn.LayerNorm)  # from 2.4 on
        first = -1 if issubclass(kind, last) else 1
        self.axes: tuple[int, ...] = first, -first
        self.axis = self.axes[0]
        if isinstance(source, self.torch.nn.Module):
            self.channels = _width(source)
        tracks = getattr(source, "track_running_stats", self.extra.get("track_running_stats", True))
        self.tracks = bool(tracks)

    def make(self, channels: int, config: Any) -> Layer:
        if isinstance(self.source, self.torch.nn.Module):
            module = copy.deepcopy(self.source)
            for part in module.modules():  # what it learned in training is not a setting
                if isinstance(part, self.torch.nn.modules.batchnorm._NormBase):
                    part.reset_running_stats()
        else:
            mixin = self.torch.nn.modules.lazy.LazyModuleMixin
            lazy = isinstance(self.source, type) and issubclass(self.source, mixin)
            module = self.constructor(config, {}, channels_first=not lazy)(channels)
        if not isinstance(self.source, type):  # a function's user has chosen what it makes
            self.tracks &= all(getattr(part, "track_running_stats", True) for part in module.modules())
        self.keeps(list(module.modules()))
        return Layer(module, channels)

    def forward(self, layer: Layer, x: Array, gamma: Array, beta: Array, training: bool) -> Array:
        torch, module = self.torch, layer.module
        torch.set_num_threads(1)  # the tensors are tiny: threads would take most of the time
        unbatched = getattr(module, "_get_no_batch_dim", None)
        if unbatched is not None and unbatched() == x.ndim:  # instance norm would mistake samples for channels
            raise ValueError(f"{type(module).__name__} takes an input of rank {x.ndim} for one without a batch")
        given = self._call(layer, self._first(x), gamma, beta, training=training, grad=training)
        self._seen(x, given, layer.x)
        if training:
            layer.handed = [(x, given, given.clone())]
        return self._last(layer.z)

    def _seen(self, a: Array, given: Any, before: Any) -> None:
        """Copy changes that the module made to its tensor into the caller's array, as the caller would see them."""
        if not self.torch.equal(given, before):
            a[...] = self._last(given)

    def _call(self, layer: Layer, x: Any, gamma: Array, beta: Array, *, training: bool, grad: bool) -> Any:
        """Run the module in the dtype of `x`, and return its input tensor as it is afterwards."""
        torch, module = self.torch, layer.module
        layer.x = x.clone().requires_grad_(grad)
        module.to(x.dtype)
        self._prepare(layer)
        if layer.training is not training:  # as users do: not before every pass
            module.train(training)
            layer.training = training
        outer = None
        with torch.no_grad():
            for parameter, value in ((layer.scale, gamma - layer.zero_centred), (layer.shift, beta)):
                if parameter is None:
                    continue
                new = torch.tensor(value, dtype=parameter.dtype).reshape(parameter.shape)
                if not torch.equal(parameter, new):  # a graph that holds it would become invalid
                    parameter.copy_(new)
        # autograd forbids in-place changes of a leaf, so the module gets a copy
        given = layer.x.clone()
        z = own = self._output(module(given, **self.call_keywords(module.forward, training)), given)
        if layer.scale is None and layer.shift is None:  # no parameters of its own: apply them outside
            shape = [-1 if a == self.axis % x.ndim else 1 for a in range(x.ndim)]
            outer = [torch.tensor(v, dtype=x.dtype, requires_grad=grad) for v in (gamma, beta)]
            z = outer[0].reshape(shape) * z + outer[1].reshape(shape)
        layer.z, layer.cache = z, (layer.x, z, outer, own)
        if training:
            layer.numbers = [*layer.numbers[-2:], self._numbers(module)]
        return given.detach()

    def _output(self, found: Any, given: Any) -> Any:
        """The output tensor or, of several, the first with the shape of the input."""
        parts = found if isinstance(found, tuple | list) else (found,)
        z = next((p for p in parts if isinstance(p, self.torch.Tensor) and p.shape == given.shape), None)
        if z is None and isinstance(parts[0], self.torch.Tensor):
            z = parts[0]
        if z is None:
            raise TypeError(f"forward returned a {type(found).__name__}, expected a tensor")
        return z

    def _prepare(self, layer: Layer) -> None:
        """Find, once, which parameters are gamma and beta."""
        if layer.ready:
            return
        torch, module = self.torch, layer.module
        parts = (*module.parameters(), *module.buffers())
        if any(torch.nn.parameter.is_lazy(part) for part in parts) or self._makes_parameters(module, layer.x):
            self._tried(module, layer.x)
            module.to(layer.x.dtype)
        everything = dict(self._parameters(layer, module))
        sized = {n: p for n, p in everything.items() if p.numel() == layer.channels}
        scale, shift = named(sized, SCALES), named(sized, SHIFTS)
        starts = {n: p for n, p in sized.items() if n not in (scale, shift)}
        if scale or shift or not all(map(_averages, starts)):  # a name is only a hint
            starts = {n: p for n, p in starts.items() if not _averages(n)}
        scale = scale or next((n for n, p in starts.items() if bool((p == 1).all())), None)
        unknown = [n for n, p in starts.items() if n != scale and bool((p == 0).all())]
        if scale is None and len(unknown) > (shift is None):  # the one that makes the output move with the input
            scale = next((n for n in unknown if self._scales(module, n, layer.x)), None)
        shift = shift or next((n for n in unknown if n != scale), None)
        layer.scale, layer.shift = (sized.get(name or "") for name in (scale, shift))
        named_so = [name for names in (SCALES, SHIFTS) if (name := named(everything, names))]
        shapes = {name: tuple(everything[name].shape) for name in named_so if name not in sized}
        others = {n: p for n, p in everything.items() if n not in (scale, shift, *shapes) and p.requires_grad}
        still = [name for name in (scale, shift) if name is not None and not sized[name].requires_grad]
        misfit = "is not one number per channel, and was left alone"
        self.limits = [f"its {name} of shape {shape} {misfit}" for name, shape in shapes.items()]
        self.limits += [
            f"its {name} is a parameter, which an optimiser moves"
            for name, parameter in sized.items()
            if _averages(name) and name not in (scale, shift) and parameter.requires_grad
        ]
        self.limits += [
            f"its {name} of shape {tuple(parameter.shape)} is not known as gamma or beta, and kept its initial value"
            for name, parameter in others.items()
            if not _averages(name)
        ]
        self.limits += [f"its {name} is not trained, nor its gradient compared" for name in still]
        if scale is not None and bool((layer.scale == 0).all()):
            layer.zero_centred = self._moves(self._tried(copy.deepcopy(module), layer.x))
        layer.numbers = [self._numbers(module)]
        layer.ready = True

    def _parameters(self, layer: Layer, module: Any) -> list[tuple[str, Any]]:
        """The parameters by name; for a frozen module without any, the buffers named like a scale or a shift."""
        buffers = [(n, b) for n, b in module.named_buffers() if named({n: b}, (*SCALES, *SHIFTS))]
        return list(module.named_parameters()) or buffers * layer.frozen

    def _makes_parameters(self, module: Any, x: Any) -> bool:
        """Whether a module without parameters makes them at its first call, tried on a copy."""
        if any(True for _ in module.parameters()):
            return False
        other = copy.deepcopy(module)
        with contextlib.suppress(Exception):  # it may refuse before it has seen a batch
            self._tried(other, x)
        return any(True for _ in other.parameters())

    def _tried(self, module: Any, x: Any) -> Any:
        """The output of an inference on samples and their negatives: a single sample might not move the output."""
        with self.torch.no_grad():
            given = self.torch.cat([x, -x])
            module.eval()
            return self._output(module(given, **self.call_keywords(module.forward, False)), given)

    def _moves(self, z: Any) -> bool:
        """Whether an output is not constant in some channel."""
        rows = z.movedim(self.axis, -1).reshape(-1, z.shape[self.axis])
        return bool((rows.amax(0) - rows.amin(0) > 1e-6).any())

    def _scales(self, module: Any, name: str, x: Any) -> bool:
        """Whether adding one to a parameter changes the output by more than a constant."""
        other = copy.deepcopy(module)
        before = self._tried(other, x)
        with self.torch.no_grad():
            dict(other.named_parameters())[name].add_(1)
        return self._moves(self._tried(other, x) - before)

    def backward(self, layer: Layer, dz: Array) -> tuple[Array, Array | None, Array | None]:
        torch, (_, z, _, own) = self.torch, layer.cache
        inputs = self._differentiated(layer)
        wanted = [t for t in inputs if t is not None]
        arrays = [*layer.handed]
        # the gradient that reaches the module's output is its dz
        hook = own.register_hook(lambda g: arrays.append((dz, g, g.clone()))) if own.requires_grad else None
        found = self._grad(z, dz, wanted, allow_unused=True) if z.requires_grad else [None]
        if hook is not None:
            hook.remove()
        for array in arrays:
            self._seen(*array)
        if found[0] is None:
            raise RuntimeError("no gradient reaches x: the output does not depend on it through autograd")
        # a parameter that no gradient reaches still counts: its gradient is zero
        reached = iter(torch.zeros_like(t) if g is None else g for t, g in zip(wanted, found, strict=True))
        dx, dgamma, dbeta = (None if t is None else next(reached).detach() for t in inputs)
        parameters = (None if g is None else g.numpy().reshape(-1).copy() for g in (dgamma, dbeta))
        return (self._last(dx), *parameters)

    def _differentiated(self, layer: Layer) -> list[Any]:
        """x, gamma and beta of the last pass, None for those without a gradient."""
        x, _, outer, _ = layer.cache
        return [x, *(outer or (t if t is not None and t.requires_grad else None for t in (layer.scale, layer.shift)))]

    def _grad(self, z: Any, dz: Any, wanted: list[Any], **options: Any) -> Any:
        """The gradients of the sum of dz * z; if passed dz itself, autograd imports SymPy, which takes a second."""
        dz = self._first(dz) if isinstance(dz, np.ndarray) else dz
        return self.torch.autograd.grad((z * dz.to(z.dtype)).sum(), wanted, **options)

    def state(self, layer: Layer) -> dict[str, Array]:
        tensors = [(n, t) for n, t in self._tensors(layer.module) if t is not layer.scale and t is not layer.shift]
        return {name: squeezed(t.detach().numpy(), layer.channels) for name, t in tensors}

    def age(self, layer: Layer, iterations: int) -> bool:
        """Set numbers that a training pass raises by one, and integers named after steps, iterations or batches."""
        before, after = layer.numbers[-2:] if len(layer.numbers) > 1 else ({}, {})
        moved = {name for name, value in after.items() if value - before.get(name, value) == 1}
        found = False
        for name, tensor in self._tensors(layer.module):
            if tensor.numel() == 1 and (name in moved or counts(name)):
                tensor.detach().fill_(iterations)
                found = True
        for path, part, name, value in _attributes(layer.module):
            if type(value) in (int, float) and (path in moved or (value == 0 and counts(name))):
                setattr(part, name, type(value)(iterations))
                found = True
        return found

    def freeze(self, layer: Layer, mean: Array, var: Array) -> bool:
        """Set the buffers whose names say mean and variance."""
        layer.frozen = True
        tensors = {name: t for name, t in self._tensors(layer.module) if t.numel() == layer.channels}
        found = mean_and_variance(tensors)
        for name, value in zip(found, (mean, var), strict=False):
            tensors[name].data = self.torch.tensor(value.reshape(tensors[name].shape))
        return bool(found)

    def _numbers(self, module: Any) -> dict[str, float]:
        """All numbers of a module: attributes, and tensors of one value."""
        tensors = [(n, t) for n, t in self._tensors(module) if t.numel() == 1 and t.dtype != self.torch.bool]
        found = {name: float(t.detach()) for name, t in tensors}
        return found | {path: float(v) for path, *_, v in _attributes(module) if type(v) in (int, float)}

    def _tensors(self, module: Any) -> Iterator[tuple[str, Any]]:
        """Buffers, parameters named like averages, and tensors in plain attributes or dictionaries."""
        yield from module.named_buffers()
        yield from ((name, parameter) for name, parameter in module.named_parameters() if _averages(name))
        for path, _, name, value in _attributes(module):
            if isinstance(value, self.torch.Tensor):
                yield path, value
            elif isinstance(value, dict) and not name.startswith("_"):
                yield from ((f"{path}[{k}]", v) for k, v in value.items() if isinstance(v, self.torch.Tensor))

    def _first(self, a: Array, turned: bool = False) -> Any:
        """An array as the module takes it, contiguous or, if `turned`, with the other memory layout."""
        if turned and self.axis == -1:
            return self.torch.tensor(np.moveaxis(a, -1, 1).copy()).movedim(1, -1)
        if turned:
            return self.torch.tensor(a.copy()).movedim(-1, self.axis)
        return self.torch.tensor(a if self.axis == -1 else np.moveaxis(a, -1, self.axis).copy())

    def _last(self, t: Any) -> Array:
        array = t.detach().numpy()
        return np.asarray(array if self.axis == -1 or array.ndim < 2 else np.moveaxis(array, self.axis, -1))


def _attributes(module: Any) -> list[tuple[str, Any, str, Any]]:
    """The attributes of a module and of its parts: path, part, name and value."""
    parts = module.named_modules()
    return [(f"{path}.{n}".lstrip("."), part, n, v) for path, part in parts for n, v in vars(part).items()]


def _averages(name: str) -> bool:
    """Whether a parameter is named like a moving statistic."""
    return bool(statistic(name)) and any(word in name.lower() for word in MOVING)


def _width(module: Any) -> int | None:
    """The number of channels of a module: from its attributes, or the most frequent length of its vectors."""
    for part in module.modules():
        for name in ("num_features", "num_channels", "normalized_shape"):
            value = getattr(part, name, None)
            value = value[-1] if isinstance(value, tuple) else value
            if isinstance(value, int) and value > 0:
                return value
    sizes = [t.numel() for t in (*module.parameters(), *module.buffers()) if t.numel() == max(t.shape, default=0)]
    return max(set(sizes), key=sizes.count, default=None)

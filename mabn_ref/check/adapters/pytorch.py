"""A `torch.nn.Module` as a target: it sees channels first, autograd does backward, buffers are the state."""

from __future__ import annotations

import contextlib
import copy
import pickle
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.check.adapters.arguments import SCALES, SHIFTS, Constructed, counts, named, squeezed
from mabn_ref.check.probing import NotOffered, first_line
from mabn_ref.check.target import MOVING, Holding, mean_and_variance, statistic
from mabn_ref.extras import require


class _Layer:
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

    def make(self, channels: int, config: Any) -> _Layer:
        if isinstance(self.source, self.torch.nn.Module):
            module = copy.deepcopy(self.source)
            for part in module.modules():  # what it learned in training is not a setting
                if isinstance(part, self.torch.nn.modules.batchnorm._NormBase):
                    part.reset_running_stats()
        else:
            mixin = self.torch.nn.modules.lazy.LazyModuleMixin
            lazy = isinstance(self.source, type) and issubclass(self.source, mixin)
            module = self.constructor(config, {}, channels_first=not lazy)(channels)
        self.numbers += tuple(float(v) for *_, v in _attributes(module) if type(v) in (int, float))
        if not isinstance(self.source, type):  # a function's user has chosen what it makes
            self.tracks &= all(getattr(part, "track_running_stats", True) for part in module.modules())
        self.keeps(list(module.modules()))
        return _Layer(module, channels)

    def forward(self, layer: _Layer, x: Array, gamma: Array, beta: Array, training: bool) -> Array:
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

    def _call(self, layer: _Layer, x: Any, gamma: Array, beta: Array, *, training: bool, grad: bool) -> Any:
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

    def _prepare(self, layer: _Layer) -> None:
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

    def _parameters(self, layer: _Layer, module: Any) -> list[tuple[str, Any]]:
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

    def backward(self, layer: _Layer, dz: Array) -> tuple[Array, Array | None, Array | None]:
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

    def _differentiated(self, layer: _Layer) -> list[Any]:
        """x, gamma and beta of the last pass, None for those without a gradient."""
        x, _, outer, _ = layer.cache
        return [x, *(outer or (t if t is not None and t.requires_grad else None for t in (layer.scale, layer.shift)))]

    def _grad(self, z: Any, dz: Any, wanted: list[Any], **options: Any) -> Any:
        """The gradients of the sum of dz * z; if passed dz itself, autograd imports SymPy, which takes a second."""
        dz = self._first(dz) if isinstance(dz, np.ndarray) else dz
        return self.torch.autograd.grad((z * dz.to(z.dtype)).sum(), wanted, **options)

    def state(self, layer: _Layer) -> dict[str, Array]:
        tensors = [(n, t) for n, t in self._tensors(layer.module) if t is not layer.scale and t is not layer.shift]
        return {name: squeezed(t.detach().numpy(), layer.channels) for name, t in tensors}

    def age(self, layer: _Layer, iterations: int) -> bool:
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

    def freeze(self, layer: _Layer, mean: Array, var: Array) -> bool:
        """Set the buffers whose names say mean and variance."""
        layer.frozen = True
        tensors = {name: t for name, t in self._tensors(layer.module) if t.numel() == layer.channels}
        found = mean_and_variance(tensors)
        for name, value in zip(found, (mean, var), strict=False):
            tensors[name].data = self.torch.tensor(value.reshape(tensors[name].shape))
        return bool(found)

    # for the probes of `mabn_ref.check.behaviour`

    def inference_gradient(self, layer: _Layer, x: Array, gamma: Array, beta: Array, dz: Array) -> list[Array | None]:
        """Return dx, dgamma and dbeta in eval mode, None for what the layer does not have.

        dx is None also if no gradient reaches x; parameters then have zeros.
        """
        self._call(layer, self._first(x), gamma, beta, training=False, grad=True)
        inputs = self._differentiated(layer)
        wanted = [t for t in inputs if t is not None]
        found = self._grad(layer.z, dz, wanted, allow_unused=True) if layer.z.requires_grad else [None] * len(wanted)
        dx, *others = found
        reached = iter(self.torch.zeros_like(t) if g is None else g for t, g in zip(wanted[1:], others, strict=True))
        parameters = (None if t is None else next(reached).numpy().reshape(-1).copy() for t in inputs[1:])
        return [None if dx is None else self._last(dx), *parameters]

    def second_derivative(self, layer: _Layer, x: Array, gamma: Array, beta: Array, dz: Array, v: Array) -> Array:
        """Return the gradient by x of the sum of v * dx."""
        self._call(layer, self._first(x), gamma, beta, training=True, grad=True)
        try:
            dx = self._grad(layer.z, dz, [layer.x], create_graph=True)[0]
            if not dx.requires_grad:
                raise NotOffered("its backward cannot be differentiated, as under once_differentiable")
            weighed = (dx * self._first(v)).sum()
            found = self.torch.autograd.grad(weighed, layer.x, allow_unused=True, retain_graph=True)[0]
            if found is None:
                weighed.backward()  # raises if a layer says that it cannot be differentiated twice
        except (RuntimeError, NotImplementedError) as error:  # a layer that raises gives no wrong numbers
            raise NotOffered(first_line(error)) from error
        return np.zeros_like(x) if found is None else self._last(found)

    def without_input_gradient(self, layer: _Layer, x: Array, gamma: Array, beta: Array, dz: Array) -> list[Array]:
        """Return dgamma and dbeta of a training pass on an x that needs no gradient; zeros if none arrive."""
        self._call(layer, self._first(x), gamma, beta, training=True, grad=False)
        wanted = [t for t in self._differentiated(layer)[1:] if t is not None and t.requires_grad]
        if not wanted:
            raise NotOffered("it has no parameters that are trained")
        found: Any = [None] * len(wanted)
        if layer.z.requires_grad:
            found = self._grad(layer.z, dz, wanted, allow_unused=True)
        pairs = zip(found, wanted, strict=True)
        return [(self.torch.zeros_like(t) if g is None else g).detach().numpy().reshape(-1).copy() for g, t in pairs]

    def without_gradients(self, layer: _Layer) -> Any:
        """Return a context in which nothing is recorded for a backward pass."""
        return self.torch.no_grad()

    def with_frozen(
        self, layer: _Layer, frozen: Sequence[str], x: Array, gamma: Array, beta: Array, dz: Array
    ) -> tuple[Array | None, ...]:
        """Return dx, dgamma and dbeta of a training pass, None for those that are `frozen`."""
        own = {"dgamma": layer.scale, "dbeta": layer.shift}
        still = [own[name] for name in frozen if own[name] is not None]
        if not still:
            raise NotOffered("it has no parameters that are trained")
        for parameter in still:
            parameter.requires_grad_(False)
        self._call(layer, self._first(x), gamma, beta, training=True, grad=True)
        return self.backward(layer, dz)

    def overwritten(self, layer: _Layer, name: str, x: Array, gamma: Array, beta: Array, dz: Array) -> list[Array]:
        """Return the gradients of a training pass whose "x" or "z" is set to 0 before backward.

        These are the gradients of x and of the module's parameters, for a gradient that reaches its output.
        """
        given = self._call(layer, self._first(x), gamma, beta, training=True, grad=True)
        own = layer.cache[-1]
        total = (own * self._first(dz)).sum()  # before zeroing: if the output is a view, its graph is lost afterwards
        wanted = [layer.x, *(t for t in (layer.scale, layer.shift) if t is not None and t.requires_grad)]
        with self.torch.no_grad():
            for tensor in {"x": [given], "z": [own]}.get(name, []):
                tensor.zero_()
        found = self.torch.autograd.grad(total, wanted, allow_unused=True)
        return [g.numpy().copy() for g in found if g is not None]

    def in_other_layout(self, layer: _Layer, x: Array, gamma: Array, beta: Array, dz: Array) -> list[Array]:
        """Return z and the gradients of a training pass whose x and dz have an unusual memory layout."""
        self._call(layer, self._first(x, turned=True), gamma, beta, training=True, grad=True)
        return [self._last(layer.z), *self._gradients(layer, self._first(dz, turned=True))]

    def backward_twice(self, layer: _Layer, dz: Array) -> tuple[list[Array], list[Array]]:
        """Return the gradients of the last pass, taken twice through one graph."""
        first = self._gradients(layer, dz, retain_graph=True)
        return first, self._gradients(layer, dz)

    def _gradients(self, layer: _Layer, dz: Any, **options: Any) -> list[Array]:
        """The gradients of x, gamma and beta, as far as they exist."""
        wanted = [t for t in self._differentiated(layer) if t is not None]
        dx, *others = self._grad(layer.z, dz, wanted, **options)
        return [self._last(dx).copy(), *(g.numpy().reshape(-1).copy() for g in others)]

    def reaching_back(self, layer: _Layer, held: Any) -> list[str]:
        """Return the statistics from which gradients reach the input of an earlier pass."""
        found = []
        for name, tensor in self._tensors(layer.module):
            if tensor.requires_grad and tensor.grad_fn is not None:
                reached = self.torch.autograd.grad(tensor.sum(), held[0], allow_unused=True, retain_graph=True)
                found += [name] * (reached[0] is not None)
        return found

    def restore(self, other: _Layer, layer: _Layer) -> tuple[list[str], list[str]]:
        """Load the checkpoint of a layer into another.

        Returns
        -------
        lost, apart : list of str
            Tensors that the checkpoint lacks: attributes, and those that the module keeps in its own dictionary.
        """
        kept = layer.module.state_dict()
        other.module.load_state_dict(kept)
        names = [name for name, t in self._tensors(layer.module) if t.numel() == layer.channels and name not in kept]
        return [n for n in names if "[" not in n], [n for n in names if "[" in n]

    def copy(self, layer: _Layer) -> _Layer:
        return self._same(layer, copy.deepcopy(layer.module))

    def pickled(self, layer: _Layer) -> _Layer:
        """Return the layer, pickled and unpickled."""
        return self._same(layer, pickle.loads(pickle.dumps(layer.module)))

    def _same(self, layer: _Layer, module: Any) -> _Layer:
        other = _Layer(module, layer.channels)
        both = ([parameter for _, parameter in self._parameters(layer, m)] for m in (layer.module, module))
        new = dict(zip(*both, strict=True))
        other.scale, other.shift = new.get(layer.scale), new.get(layer.shift)
        other.frozen = layer.frozen
        other.zero_centred, other.ready, other.numbers = layer.zero_centred, True, [self._numbers(module)]
        return other

    def in_precision(
        self, name: str, channels: int, config: Any, x: Array, dz: Array
    ) -> tuple[dict[str, Array], dict[str, Array], str]:
        """Return the results of a new layer in a half precision, the same in float64, and the dtype of the first z.

        The results are z and the gradients of a training pass, by name, and the inference of a layer trained on
        x / 100, whose moving variances are in range.
        """
        one, low = np.ones(channels), getattr(self.torch, name)
        found: list[dict[str, Array]] = []
        for dtype in (self.torch.float64, low):
            layer, given = self.make(channels, config), self._first(x).to(low).to(dtype)
            self._call(layer, given, one, 0 * one, training=True, grad=True)
            returned = str(layer.cache[-1].dtype).removeprefix("torch.")
            wanted = zip(("dx", "dgamma", "dbeta"), self._differentiated(layer), strict=True)
            inputs = {name: t for name, t in wanted if t is not None}
            gradients = self._grad(layer.z, dz, list(inputs.values()))
            tensors = {"z": layer.z, **dict(zip(inputs, gradients, strict=True))}
            layer, given = self.make(channels, config), self._first(x / 100).to(low).to(dtype)
            for training in (True, False):
                self._call(layer, given, one, 0 * one, training=training, grad=training)
            tensors["inference"] = layer.z
            found.append({name: self._last(t.double()) for name, t in tensors.items()})
        return found[1], found[0], returned

    def _numbers(self, module: Any) -> dict[str, float]:
        """All numbers of a module: attributes, and tensors of one value."""
        found = {name: float(t.detach()) for name, t in self._tensors(module) if t.numel() == 1}
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

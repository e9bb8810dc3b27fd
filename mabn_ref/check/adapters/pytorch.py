"""A `torch.nn.Module` as a target: channels first on its side, autograd for backward, buffers for state."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.check.adapters.arguments import SCALES, SHIFTS, Constructed, counts, named, squeezed
from mabn_ref.extras import require

__all__ = ["TorchTarget"]


class _Layer:
    """A module, and the tensors of its last forward pass."""

    def __init__(self, module: Any, channels: int) -> None:
        self.module, self.channels = module, channels
        sized = {n: p for n, p in module.named_parameters() if p.numel() == channels}
        self.scale, self.shift = _one_of(sized, SCALES, 1.0), _one_of(sized, SHIFTS, 0.0)
        self.x: Any = None
        self.z: Any = None
        self.outer: tuple[Any, Any] | None = None


def _one_of(sized: Mapping[str, Any], names: tuple[str, ...], start: float) -> Any:
    """The parameter of one of these names, else the one that starts at this value."""
    name = named(sized, names)
    return sized[name] if name else next((p for p in sized.values() if bool((p == start).all())), None)


class TorchTarget(Constructed):
    """A module class, an instance, which is copied, or a function of the number of channels that returns one.

    Parameters
    ----------
    source, extra
        As of `Constructed`.
    axis : int, optional
        The module's channel axis: 1, or -1 where it is the last. By default 1, and -1 of a `torch.nn.LayerNorm`.

    Examples
    --------
    ``TorchTarget(torch.nn.BatchNorm2d)`` in a test, ``mabn-ref check torch.nn:BatchNorm2d --as bn`` in a terminal.
    """

    def __init__(self, source: Any, extra: Mapping[str, Any] | None = None, axis: int | None = None) -> None:
        super().__init__(source, extra)
        self.torch = require("torch", "torch")
        kind = source if isinstance(source, type) else type(source)
        self.axis = axis or (-1 if issubclass(kind, self.torch.nn.LayerNorm) else 1)

    def make(self, channels: int, config: Any) -> _Layer:
        if isinstance(self.source, self.torch.nn.Module):
            module = copy.deepcopy(self.source)
        else:
            module = self.constructor(config, {}, momentum_is_new=True, channels_first=True)(channels)
        attributes = [v for m in module.modules() for v in vars(m).values() if type(v) in (int, float)]
        self.numbers += tuple(map(float, attributes))
        return _Layer(module, channels)

    def forward(self, layer: _Layer, x: Array, gamma: Array, beta: Array, training: bool) -> Array:
        torch, module = self.torch, layer.module
        torch.set_num_threads(1)  # the tensors are tiny: threads would take most of the time
        unbatched = getattr(module, "_get_no_batch_dim", None)
        if unbatched is not None and unbatched() == x.ndim:  # instance norm would take samples for channels
            raise ValueError(f"{type(module).__name__} takes an input of rank {x.ndim} for one without a batch")
        dtype = torch.float64 if x.dtype == np.float64 else torch.float32
        module.to(dtype).train(training)
        layer.x = torch.tensor(x if self.axis == -1 else np.moveaxis(x, -1, 1).copy()).requires_grad_(training)
        layer.outer = None
        with torch.no_grad():
            for parameter, value in ((layer.scale, gamma), (layer.shift, beta)):
                if parameter is not None:
                    parameter.copy_(torch.tensor(value).reshape(parameter.shape))
        # a leaf that is changed in place is an error of autograd's, so the module gets a view of a copy
        z = module(layer.x.clone() if training else layer.x)
        if not isinstance(z, torch.Tensor):
            raise TypeError(f"forward returned a {type(z).__name__}, expected a tensor")
        if layer.scale is None and layer.shift is None:  # no parameters of its own: apply them outside
            shape = [-1 if a == self.axis % x.ndim else 1 for a in range(x.ndim)]
            layer.outer = tuple(torch.tensor(v, requires_grad=training) for v in (gamma, beta))
            z = layer.outer[0].reshape(shape) * z + layer.outer[1].reshape(shape)
        layer.z = z
        return self._last(z)

    def backward(self, layer: _Layer, dz: Array) -> tuple[Array, Array | None, Array | None]:
        torch = self.torch
        inputs = [layer.x, *(layer.outer or (layer.scale, layer.shift))]
        wanted = [t for t in inputs if t is not None]
        upstream = torch.tensor(dz if self.axis == -1 else np.moveaxis(dz, -1, 1).copy(), dtype=layer.z.dtype)
        found = torch.autograd.grad(layer.z, wanted, upstream, allow_unused=True)
        if found[0] is None:
            raise RuntimeError("no gradient reaches x: the output does not depend on it through autograd")
        # a parameter that no gradient reaches is there all the same, and its gradient is zero
        reached = iter(torch.zeros_like(t) if g is None else g for t, g in zip(wanted, found, strict=True))
        dx, dgamma, dbeta = (None if t is None else next(reached).detach() for t in inputs)
        parameters = (None if g is None else g.numpy().reshape(-1).copy() for g in (dgamma, dbeta))
        return (self._last(dx), *parameters)

    def state(self, layer: _Layer) -> dict[str, Array]:
        return {name: squeezed(t.detach().numpy(), layer.channels) for name, t in self._tensors(layer.module)}

    def age(self, layer: _Layer, iterations: int) -> None:
        """Set everything that counts: whole numbers called after steps, iterations or batches."""
        for name, tensor in self._tensors(layer.module):
            if tensor.numel() == 1 and counts(name):
                tensor.fill_(iterations)
        for module in layer.module.modules():
            for name, value in vars(module).items():
                if type(value) is int and value == 0 and counts(name):
                    setattr(module, name, iterations)

    def _tensors(self, module: Any) -> Iterator[tuple[str, Any]]:
        """Buffers, and tensors that are kept as plain attributes."""
        yield from module.named_buffers()
        for prefix, part in module.named_modules():
            for name, value in vars(part).items():
                if isinstance(value, self.torch.Tensor):
                    yield f"{prefix}.{name}".lstrip("."), value

    def _last(self, t: Any) -> Array:
        array = t.detach().numpy()
        return np.array(array if self.axis == -1 or array.ndim < 2 else np.moveaxis(array, 1, -1))

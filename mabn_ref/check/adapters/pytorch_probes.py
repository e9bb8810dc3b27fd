"""What the probes of `mabn_ref.check.probes` ask of a `torch.nn.Module`, besides what every target does."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.check.adapters.pytorch import Layer, TorchTarget, _attributes
from mabn_ref.check.probing import NotOffered, first_line


class ProbedTorchTarget(TorchTarget):
    """A target of PyTorch that the probes can question, too: about its graphs, its state and its precision."""

    def inference_gradient(self, layer: Layer, x: Array, gamma: Array, beta: Array, dz: Array) -> list[Array | None]:
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

    def second_derivative(self, layer: Layer, x: Array, gamma: Array, beta: Array, dz: Array, v: Array) -> Array:
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

    def without_input_gradient(self, layer: Layer, x: Array, gamma: Array, beta: Array, dz: Array) -> list[Array]:
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

    def without_gradients(self, layer: Layer) -> Any:
        """Return a context in which nothing is recorded for a backward pass."""
        return self.torch.no_grad()

    def with_frozen(
        self, layer: Layer, frozen: Sequence[str], x: Array, gamma: Array, beta: Array, dz: Array
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

    def overwritten(self, layer: Layer, name: str, x: Array, gamma: Array, beta: Array, dz: Array) -> list[Array]:
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

    def in_other_layout(self, layer: Layer, x: Array, gamma: Array, beta: Array, dz: Array) -> list[Array]:
        """Return z and the gradients of a training pass whose x and dz have an unusual memory layout."""
        self._call(layer, self._first(x, turned=True), gamma, beta, training=True, grad=True)
        return [self._last(layer.z), *self._gradients(layer, self._first(dz, turned=True))]

    def backward_twice(self, layer: Layer, dz: Array) -> tuple[list[Array], list[Array]]:
        """Return the gradients of the last pass, taken twice through one graph."""
        first = self._gradients(layer, dz, retain_graph=True)
        return first, self._gradients(layer, dz)

    def _gradients(self, layer: Layer, dz: Any, **options: Any) -> list[Array]:
        """The gradients of x, gamma and beta, as far as they exist."""
        wanted = [t for t in self._differentiated(layer) if t is not None]
        dx, *others = self._grad(layer.z, dz, wanted, **options)
        return [self._last(dx).copy(), *(g.numpy().reshape(-1).copy() for g in others)]

    def reaching_back(self, layer: Layer, held: Any) -> list[str]:
        """Return the statistics from which gradients reach the input of an earlier pass."""
        found = []
        for name, tensor in self._tensors(layer.module):
            if tensor.requires_grad and tensor.grad_fn is not None:
                reached = self.torch.autograd.grad(tensor.sum(), held[0], allow_unused=True, retain_graph=True)
                found += [name] * (reached[0] is not None)
        return found

    def restore(self, other: Layer, layer: Layer) -> tuple[list[str], list[str]]:
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

    def hand_numbers(self, other: Layer, layer: Layer) -> list[str]:
        """Give a layer the plain numbers of another; return the names of those that it lacked or had otherwise."""
        found = []
        for path, _, name, value in _attributes(layer.module):
            part = other.module.get_submodule(path.removesuffix(name).removesuffix("."))
            if type(value) in (int, float) and getattr(part, name, None) != value:
                setattr(part, name, value)
                found.append(path)
        return found

    def copy(self, layer: Layer) -> Layer:
        return self._same(layer, copy.deepcopy(layer.module))

    def pickled(self, layer: Layer) -> Layer:
        """Return the layer, pickled and unpickled."""
        return self._same(layer, pickle.loads(pickle.dumps(layer.module)))

    def _same(self, layer: Layer, module: Any) -> Layer:
        other = Layer(module, layer.channels)
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

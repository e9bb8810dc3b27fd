r"""Several devices, each of which normalises its own part of the batch with a `State` of its own.

The paper's detectors are trained this way: 8 devices hold 2 images each, and the weights, which all devices share,
are updated once for all 16. `on_devices` turns a normaliser into one with the same functions that cuts the batch into
equal parts, device 0 first. For one device it returns the module itself. Inference reads the State of device 0, as if
that device wrote the checkpoint. Here "device" is only a role: one process computes all of them, one after the other.

Examples
--------
Device 0 has seen the mean 4 and device 1 the mean 8; inference uses the mean of device 0:

>>> from mabn_ref.norms import batch_norm
>>> norm, config = on_devices(batch_norm, 2), batch_norm.Config(norm_batch=2, decay=0.0)
>>> x, one, zero = np.array([[1.0], [7.0], [5.0], [11.0]]), np.ones(1), np.zeros(1)
>>> z, cache, state = norm.forward(x, one, zero, norm.init(1, config, dtype=x.dtype), config)
>>> [of_one.mean for of_one in state.each]
[array([4.]), array([8.])]
>>> norm.infer(np.array([[4.0]]), one, zero, state, config)
array([[0.]])
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from mabn_ref.arrays import Array, check_at_least, kind, kind_of, namespace
from mabn_ref.norms.checks import check_shape


class States(NamedTuple):
    """The moving statistics of all devices; no device reads those of another."""

    each: tuple[Any, ...]  #: one State of the normaliser per device


class Caches(NamedTuple):
    """What backward needs."""

    each: tuple[Any, ...]  #: one Cache of the normaliser per device


@dataclass(frozen=True)
class Devices:
    """A normaliser's module on several devices."""

    module: Any
    count: int

    State: ClassVar[type] = States
    Cache: ClassVar[type] = Caches

    def __getattr__(self, name: str) -> Any:
        if name in ("Config", "statistics"):  # which know of no device
            return getattr(self.module, name)
        raise AttributeError(f"a normaliser on several devices has no {name}")

    def init(self, channels: int, config: Any, *, dtype: Any, xp: Any = np) -> States:
        """The state before the first batch: the same on every device."""
        return States(tuple(self.module.init(channels, config, dtype=dtype, xp=xp) for _ in range(self.count)))

    def forward(
        self, x: Array, gamma: Array, beta: Array, state: States, config: Any
    ) -> tuple[Array, Caches, States]:
        """Normalise each device's part separately."""
        before = self._each("state", state, States)
        check_shape(x)
        norm_batch = getattr(config, "norm_batch", None)
        multiple = self.count * (norm_batch or 1)
        if x.shape[0] % multiple:
            each = f"norm_batch={norm_batch} on each of" if norm_batch else "equal parts for"
            raise ValueError(
                f"x has {x.shape[0]} samples, expected a multiple of {multiple}: {each} {self.count} devices"
            )
        parts = zip(self._cut(x), before, strict=True)
        found = [self.module.forward(part, gamma, beta, of_one, config) for part, of_one in parts]
        z, caches, states = zip(*found, strict=True)
        return namespace(x).concat(z), Caches(caches), States(states)

    def gradient_statistics(self, dz: Array, cache: Caches) -> tuple[Array, Array]:
        """The batch statistics of backward, those of device 0 first."""
        parts = zip(self._cut(dz), self._each("cache", cache, Caches), strict=True)
        found = [self.module.gradient_statistics(*of_one) for of_one in parts]
        g, psi = zip(*found, strict=True)
        return namespace(dz).concat(g), namespace(dz).concat(psi)

    def backward(self, dz: Array, cache: Caches, state: States) -> tuple[Array, Array, Array, States]:
        """Run backward on each device separately; gamma and beta are shared, so their gradients are summed."""
        caches, before = self._each("cache", cache, Caches), self._each("state", state, States)
        parts = zip(self._cut(dz), caches, before, strict=True)
        dx, dgamma, dbeta, states = zip(*(self.module.backward(*of_one) for of_one in parts), strict=True)
        return namespace(dz).concat(dx), sum(dgamma[1:], dgamma[0]), sum(dbeta[1:], dbeta[0]), States(states)

    @property
    def affine(self) -> Any:
        """The module's function `affine`, applied to the state of device 0; missing if the module has none."""
        of_one = self.module.affine  # an AttributeError if there is none, as the module itself gives
        return lambda gamma, beta, state, config: of_one(gamma, beta, self._each("state", state, States)[0], config)

    def infer(self, x: Array, gamma: Array, beta: Array, state: States, config: Any) -> Array:
        """Normalise by the moving statistics of device 0."""
        z: Array = self.module.infer(x, gamma, beta, self._each("state", state, States)[0], config)
        return z

    def _each(self, name: str, value: Any, own: type[States | Caches]) -> tuple[Any, ...]:
        each: tuple[Any, ...] = value.each if type(value) is own else ()
        if len(each) != self.count:
            found = f"that of {len(each)} devices" if each else kind(value)
            raise TypeError(f"{name} is {found}, expected {kind_of(own)} of {self.count} devices")
        return each

    def _cut(self, x: Array) -> list[Array]:
        """The devices' parts; a remainder goes to the last one, whose function then refuses the shape."""
        size, last = x.shape[0] // self.count, self.count - 1
        return [*(x[n * size : (n + 1) * size] for n in range(last)), x[last * size :]]


def on_devices(module: Any, count: int) -> Any:
    """Return the normaliser on `count` devices; for one device, the module itself.

    Examples
    --------
    >>> from mabn_ref.norms import mabn
    >>> on_devices(mabn, 1) is mabn
    True
    """
    check_at_least("devices", count, 1, whole=True)
    return module if count == 1 else Devices(module, count)

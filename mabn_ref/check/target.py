"""What a target is: anything with four small functions, whatever it is written in."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from mabn_ref.arrays import Array

__all__ = ["Target"]


@runtime_checkable
class Target(Protocol):
    """A layer to be checked: an object, a class or a module with these four functions.

    Arrays are NumPy's and channels last, whatever the framework behind; an adapter converts. A layer may be anything
    that `make` returns; the functions may change it. More is looked at where it exists:

    ``given``
        The names of the fields of `config` that `make` hands on; all of them without this attribute. What is not
        given is read off the numbers.
    ``numbers``, ``defaults``
        Numbers that the layer has, which may be hyper-parameters; and those that it has unless told otherwise, by the
        field of `config`.
    ``groups``
        True if one call may hold several normalisation batches of ``config.norm_batch`` samples, False if each call
        is one. Without it one call with several is tried, and what it does is reported.
    ``age(layer, iterations)``
        Sets the layer's own count of iterations, so that a schedule over thousands of them can be looked at.

    Examples
    --------
    >>> class Halved:
    ...     def make(channels, config):
    ...         return {}
    ...     def forward(layer, x, gamma, beta, training):
    ...         layer["scale"] = gamma / 2
    ...         return layer["scale"] * x + beta
    ...     def backward(layer, dz):
    ...         return layer["scale"] * dz, None, None
    ...     def state(layer):
    ...         return {}
    >>> isinstance(Halved, Target)
    True
    """

    def make(self, channels: int, config: Any) -> Any:
        """Return a new layer of C channels; `config` is of the normaliser in `mabn_ref.norms` that it is to be."""

    def forward(self, layer: Any, x: Array, gamma: Array, beta: Array, training: bool) -> Array:
        """Return z for x of shape (N, ..., C), of the dtype of x; scale and shift are `gamma` and `beta`, (C,)."""

    def backward(self, layer: Any, dz: Array) -> tuple[Array, Array | None, Array | None]:
        """Return dx, dgamma and dbeta for the last forward pass in training; None for what the layer has not."""

    def state(self, layer: Any) -> dict[str, Any]:
        """Return the moving statistics, by any names: arrays of (C,), windows of (m, C), counts."""

"""What every normaliser asks of its configuration and its inputs, before anything has changed."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any, Protocol

from mabn_ref.arrays import Array, check_float_array, kind

__all__ = [
    "Shared",
    "check_affine",
    "check_at_least",
    "check_choice",
    "check_decay",
    "check_dz",
    "check_inputs",
    "check_order",
    "check_shared",
    "check_state",
    "unwrap_numbers",
]


class Shared(Protocol):
    """The part of a `Config` that every normaliser has."""

    @property
    def eps(self) -> float: ...
    @property
    def norm_batch(self) -> int | None: ...


def check_shared(config: Any) -> None:
    """Refuse what has no `norm_batch`; statistics of a batch are the same under any Config that has one."""
    if not hasattr(config, "norm_batch"):
        raise TypeError(f"config is {kind(config)}, expected a Config with norm_batch")


def check_at_least(name: str, value: Any, lowest: float, *, whole: bool = False) -> None:
    """Refuse a value that is not a finite number (an integer if `whole`) of at least `lowest`."""
    expected = "an integer" if whole else "a finite number"
    if isinstance(value, bool) or not isinstance(value, Integral if whole else Real):
        raise TypeError(f"{name} is {value!r}, expected {expected} of at least {lowest:g}")
    if not math.isfinite(value) or value < lowest:
        raise ValueError(f"{name} is {value!r}, expected {expected} of at least {lowest:g}")


def check_decay(name: str, value: Any) -> None:
    """Refuse a weight of the old value outside [0, 1)."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} is {value!r}, expected a number in [0, 1)")
    if not 0 <= float(value) < 1:
        raise ValueError(f"{name} is {value!r}, expected a number in [0, 1)")


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Refuse a word that is not one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(map(repr, choices))}")


def check_inputs(x: Array, gamma: Array, beta: Array, norm_batch: int | None, *, centred: bool = False) -> None:
    """Refuse inputs of a forward pass that do not fit together.

    Parameters
    ----------
    x : array, shape (N, ..., C)
        The input; channels last, at least one sample and one position.
    gamma, beta : array, shape (C,)
        Scale and shift, of the dtype of `x`.
    norm_batch : int or None
        The number of samples that share statistics; must divide N.
    centred : bool
        The pass divides by the variance, which one value a channel leaves at zero.

    Raises
    ------
    TypeError
        If an array is none, of another library or a subclass, or has another dtype than float32 or float64, or the
        dtypes differ.
    ValueError
        If rank, channels or the number of samples do not fit, or the variance is zero by construction.
    """
    check_float_array("x", x, roots=True)
    check_float_array("gamma", gamma, like=x)
    check_float_array("beta", beta, like=x)
    if len(x.shape) < 2 or 0 in x.shape:
        raise ValueError(f"x has shape {tuple(x.shape)}, expected (N, ..., C): channels last, no axis empty")
    channels = x.shape[-1]
    for name, value in (("gamma", gamma), ("beta", beta)):
        if tuple(value.shape) != (channels,):
            raise ValueError(
                f"{name} has shape {tuple(value.shape)}, expected ({channels},): x has {channels} channels, last axis"
            )
    samples = x.shape[0]
    shared = samples if norm_batch is None else norm_batch
    if samples % shared:
        raise ValueError(f"x has {samples} samples, expected a multiple of norm_batch={norm_batch}")
    if centred and shared * math.prod(x.shape[1:-1]) == 1:
        raise ValueError(
            f"x has shape {tuple(x.shape)} and norm_batch={norm_batch}: one value a channel, whose variance is 0 by "
            "construction; expected at least 2 values a channel"
        )


def check_state(state: Any, name: str, shape: tuple[int, ...], like: Array) -> None:
    """Refuse a state that has its array `name` in another shape, or in another dtype than `like`."""
    value = getattr(state, name)
    check_float_array(f"state.{name}", value, like=like, real=True)
    if tuple(value.shape) != shape:
        raise ValueError(f"state.{name} has shape {tuple(value.shape)}, expected {shape}")


def check_order(state: Any, first: int, steps: int, *, counts_backward: bool = True) -> None:
    """Refuse a state from before the forward pass, and a cache that went through backward already.

    Parameters
    ----------
    state : State
        Given to backward. Its `iteration` counts what went forward and its `backward_iteration` what came back.
    first, steps : int
        Iterations before the forward pass of the cache, and in it.
    counts_backward : bool
        Whether the state has a `backward_iteration`.

    Raises
    ------
    ValueError
        If the state has not seen the forward pass, or has seen its backward pass or that of a later one.
    """
    if state.iteration < first + steps:
        raise ValueError(
            f"state.iteration is {state.iteration}, expected at least {first + steps}: this state is from before the "
            "forward pass of the cache; give backward the one that forward returned, or a later one"
        )
    if counts_backward and state.backward_iteration > first:
        raise ValueError(
            f"state.backward_iteration is {state.backward_iteration}, expected at most {first}: this cache, or one "
            "of a later forward pass, went through backward already; each goes once, in the order of forward"
        )


def check_affine(gamma: Array, beta: Array, state: Any, *names: str) -> None:
    """Refuse parameters and moving statistics that are not one number a channel, of one dtype."""
    check_float_array("gamma", gamma)
    check_float_array("beta", beta, like=gamma, like_name="gamma")
    if len(gamma.shape) != 1 or tuple(beta.shape) != tuple(gamma.shape):
        raise ValueError(
            f"gamma and beta have shapes {tuple(gamma.shape)} and {tuple(beta.shape)}, expected (C,) twice"
        )
    for name in names:
        check_state(state, name, tuple(gamma.shape), gamma)


def unwrap_numbers(config: Any) -> None:
    """Turn a configuration's NumPy numbers into Python's, which leave the dtype of float32 arrays as it is."""
    for name, value in vars(config).items():
        if isinstance(value, Real) and type(value).__module__ != "builtins":
            object.__setattr__(config, name, int(value) if isinstance(value, Integral) else float(value))


def check_dz(dz: Array, y: Array, shape: tuple[int, ...]) -> None:
    """Refuse a cotangent whose shape is not that of the forward pass's output, or whose dtype is another."""
    check_float_array("dz", dz, like=y, like_name="the forward pass", real=True)
    if tuple(dz.shape) != tuple(shape):
        raise ValueError(f"dz has shape {tuple(dz.shape)}, expected {tuple(shape)}, the shape of the forward pass")

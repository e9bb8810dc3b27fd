"""Checks of a normaliser's settings and arguments, made before anything changes.

`forward` here refuses what `forward` of a normaliser cannot take, `backward` what `backward` cannot, and so on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import operator
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, TypeAlias

import numpy as np

from mabn_ref.arrays import (
    Array,
    check_at_least,
    check_float_array,
    check_own,
    check_shaped,
    kind,
    range_in_words,
    shown,
)
from mabn_ref.arrays import check_inputs as check_inputs
from mabn_ref.arrays import check_shape as check_shape
from mabn_ref.arrays import check_varied as check_varied


def setting(
    default: Any = dataclasses.MISSING,
    *,
    note: str,
    at_least: float | None = None,
    below: float = math.inf,
    whole: bool = False,
    choices: tuple[str, ...] = (),
    or_none: bool = False,
    imitation: bool = False,
) -> Any:
    """Declare a field of a Config: its default, its range, and what it means; the docs show all three.

    With `at_least` its value is a number, an integer if `whole`; with `choices`, one of these words; with a default
    of True or False, one of the two. None is allowed if it is the default, or with `or_none`. The docs list a setting
    separately if its only purpose is the `imitation` of the paper authors' code.
    """
    rule = {"at_least": at_least, "below": below, "whole": whole, "choices": choices, "or_none": or_none}
    return dataclasses.field(default=default, metadata={"note": note, "imitation": imitation} | rule)


def expected(field: dataclasses.Field[Any]) -> str:
    """Describe the values that a field declared by `setting` accepts."""
    rule = field.metadata
    kinds = [range_in_words(rule["at_least"], rule["below"], rule["whole"])] if rule["at_least"] is not None else []
    kinds += ["True or False"] if isinstance(field.default, bool) else map(repr, rule["choices"])
    kinds += ["a Ramp of such numbers"] if isinstance(field.default, Ramp) else []
    kinds += ["None"] if field.default is None or rule["or_none"] else []
    return " or ".join(kinds) or type(field.default).__name__


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checked:
    """Base of dataclasses whose fields are declared by `setting`; refuses values out of range, naming the field."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            name, value, rule = field.name, getattr(self, field.name), field.metadata
            if value is None and (field.default is None or rule["or_none"]):
                continue
            if isinstance(field.default, bool) and not isinstance(value, bool):
                raise TypeError(f"{name} is {value!r}, expected True or False")
            if rule["choices"] and (rule["at_least"] is None or isinstance(value, str)):
                check_choice(name, value, rule["choices"])
            elif rule["at_least"] is not None:
                ramp = isinstance(value, Ramp) and isinstance(field.default, Ramp)
                for number in (value.first, value.last) if ramp else (value,):
                    check_at_least(name, number, rule["at_least"], below=rule["below"], whole=rule["whole"])
            if isinstance(value, Real) and type(value).__module__ != "builtins":
                # NumPy's numbers would change the dtype of float32 arrays
                object.__setattr__(self, name, int(value) if isinstance(value, Integral) else float(value))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(Checked):
    """The settings of every normaliser that shares statistics between samples."""

    eps: float = setting(1e-5, at_least=0, note="added to the variance or mean square inside the root, once")
    norm_batch: int | None = setting(
        None, at_least=1, whole=True, note=r"\|B\|, the number of samples that share statistics; None: all of a call"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ramp(Checked):
    """A bound that is `first` up to iteration `start`, `last` from iteration `stop` on, and linear between.

    Examples
    --------
    >>> Ramp(start=100, stop=200, first=1.0, last=3.0).at(150)
    2.0
    """

    start: int = setting(at_least=0, whole=True, note="an iteration, that is a normalisation batch, counted from 1")
    stop: int = setting(at_least=0, whole=True, note="an iteration, not before `start`")
    first: float = setting(at_least=0, note="the bound up to `start`")
    last: float = setting(at_least=0, note="the bound from `stop` on")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least("stop", self.stop, self.start, whole=True)

    def at(self, iteration: int) -> float:
        """Return the bound in force at `iteration`."""
        if iteration >= self.stop:
            return self.last
        if iteration <= self.start:
            return self.first
        done = (iteration - self.start) / (self.stop - self.start)
        return self.first + done * (self.last - self.first)


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Refuse a word that is not one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} is {shown(value)}, expected one of {', '.join(map(repr, choices))}")


Pair: TypeAlias = tuple[Any, type]  #: an argument, and the exact class it must have

Init: TypeAlias = Callable[..., Any]  #: the normaliser's `init`, which knows the shapes of its state


def init(channels: Any, config: Pair, dtype: Any, xp: Any) -> None:
    """Refuse bad arguments of `init`."""
    check_own(config)
    check_at_least("channels", channels, 1, whole=True)
    try:
        like = xp.zeros((1,), dtype=dtype)
    except TypeError as error:
        raise TypeError(f"dtype is {shown(dtype)}, expected float32 or float64") from error
    if dtype is None:  # which an array library takes for its own default
        raise TypeError("dtype is None, expected float32 or float64")
    check_float_array("the state", like, real=True)


def statistics(config: Any) -> None:
    """Refuse a config without `norm_batch`, the only setting that the statistics of a batch depend on."""
    if not hasattr(config, "norm_batch"):
        raise TypeError(f"config is {kind(config)}, expected a Config with norm_batch")


def forward(
    x: Array, gamma: Array, beta: Array, state: Pair, config: Pair, init: Init, *, centred: bool = False
) -> None:
    """Refuse bad arguments of `forward`, and if `centred`, a single value per channel, whose variance is 0."""
    check_own(state, config)
    norm_batch = getattr(config[0], "norm_batch", None)
    check_inputs(x, gamma, beta)
    shared = x.shape[0] if norm_batch is None else norm_batch
    if centred:
        check_varied(shared * math.prod(x.shape[1:-1]), f"x has shape {tuple(x.shape)} and norm_batch={norm_batch}")
    check_state(state[0], init(x.shape[-1], config[0], dtype=np.float64), x)


def check_state(state: Any, expected: Any, like: Array) -> None:
    """Refuse a state with a bad count, or whose arrays lack the shapes in `expected` or the dtype of `like`."""
    for name, value in expected._asdict().items():
        if hasattr(value, "shape"):
            check_shaped(f"state.{name}", getattr(state, name), tuple(value.shape), like=like, real=True)
        elif isinstance(value, int):
            check_at_least(f"state.{name}", _count(getattr(state, name)), 0, whole=True)


def _count(value: Any) -> Any:
    """The integer in an array of one integer, as read from a file; anything else unchanged."""
    with contextlib.suppress(TypeError):
        return value if isinstance(value, bool) else operator.index(value)
    return value


def gradient_statistics(dz: Array, cache: Pair) -> None:
    """Refuse bad arguments of `gradient_statistics`; dz must have the shape and dtype of the forward pass."""
    check_own(cache)
    y, shape = cache[0].y, tuple(cache[0].shape)
    check_shaped("dz", dz, shape, ", the shape of the forward pass", like=y, like_name="the forward pass", real=True)


def backward(
    dz: Array,
    cache: Pair,
    state: Pair,
    init: Init,
    *,
    iterations: Callable[[Any], int] = lambda cache: cache.y.shape[0],
) -> None:
    """Refuse bad arguments of `backward`.

    If the state counts iterations, the count must include those of the cache, and none of these may have been through
    backward yet. `iterations` returns how many a cache stands for, by default one per normalisation batch.
    """
    check_own(cache, state)
    gradient_statistics(dz, cache)
    (found, _), (current, _) = cache, state
    check_state(current, init(found.shape[-1], found.config, dtype=np.float64), dz)
    if not hasattr(current, "iteration"):
        return
    first, after = found.iteration, found.iteration + iterations(found)
    if current.iteration < after:
        raise ValueError(
            f"state.iteration is {current.iteration}, expected at least {after}: this state is from before the "
            "forward pass of the cache; give backward the one that forward returned, or a later one"
        )
    if getattr(current, "backward_iteration", 0) > first:
        raise ValueError(
            f"state.backward_iteration is {current.backward_iteration}, expected at most {first}: this cache, or one "
            "of a later forward pass, went through backward already; use each once, in the order of forward"
        )


def affine(gamma: Array, beta: Array, state: Pair, config: Pair, init: Init) -> None:
    """Refuse bad arguments of `affine`; of the state, only arrays with one number per channel are checked."""
    check_own(state, config)
    check_float_array("gamma", gamma)
    check_float_array("beta", beta, like=gamma, like_name="gamma")
    shape = tuple(gamma.shape)
    if len(shape) != 1 or tuple(beta.shape) != shape:
        raise ValueError(f"gamma and beta have shapes {shape} and {tuple(beta.shape)}, expected (C,) for both")
    for name, value in init(*shape, config[0], dtype=np.float64)._asdict().items():
        if getattr(value, "shape", ()) == shape:
            check_shaped(f"state.{name}", getattr(state[0], name), shape, like=gamma, real=True)


def infer(x: Array, gamma: Array, beta: Array, state: Pair, config: Pair, init: Init) -> None:
    """Refuse bad arguments of `infer`; N need not be a multiple of `norm_batch`."""
    check_inputs(x, gamma, beta)
    affine(gamma, beta, state, config, init)

"""What adapters read off names and shapes: parameters, counts, constructors."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mabn_ref.arrays import Array

__all__ = [
    "SCALES",
    "SHIFTS",
    "called_with",
    "counts",
    "made_of_channels",
    "named",
    "signature",
    "squeezed",
    "training_flag",
]

SCALES = ("weight", "gamma", "scale")
SHIFTS = ("bias", "beta", "shift", "offset")
TRAINING = ("training", "train", "is_training")
INFERENCE = ("use_running_average", "deterministic", "inference", "eval")


def named(parameters: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """Return the path of the first parameter of one of these names.

    Examples
    --------
    >>> named({"norm/scale": 1, "norm/bias": 0}, SHIFTS)
    'norm/bias'
    """
    return next((path for path in parameters if path.rpartition("/")[2] in names), None)


def counts(path: str) -> bool:
    """Say whether a number of this name is a count of iterations.

    Examples
    --------
    >>> counts("batch_stats/iteration"), counts("warmup_steps")
    (True, False)
    """
    name = path.rpartition("/")[2].lower()
    return any(word in name for word in ("step", "iter", "num_batches", "count")) and "warm" not in name


def squeezed(value: Any, channels: int) -> Array:
    """Return (C,), (m, C) or a number, whatever axes of length one are between.

    Examples
    --------
    >>> squeezed(np.ones((1, 5, 1)), 5).shape, squeezed(np.ones((5, 3)), 5).shape
    ((5,), (3, 5))
    """
    array = np.array(np.squeeze(value))
    if array.ndim == 2 and array.shape[0] == channels != array.shape[1]:
        array = array.T.copy()
    return array


def signature(call: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of a function, or of a class's constructor, whatever its metaclass does."""
    if not isinstance(call, type):
        return inspect.signature(call)
    found = inspect.signature(call.__init__)  # type: ignore[misc]
    return found.replace(parameters=list(found.parameters.values())[1:])


def training_flag(call: Callable[..., Any], training: bool) -> dict[str, bool]:
    """Return the keyword that tells a call whether it trains; empty if there is none.

    Examples
    --------
    >>> def call(x, use_running_average=None): ...
    >>> training_flag(call, True)
    {'use_running_average': False}
    """
    for names, value in ((TRAINING, training), (INFERENCE, not training)):
        for name in names:
            if name in signature(call).parameters:
                return {name: value}
    return {}


def called_with(make: Callable[..., Any], hidden: int) -> Callable[..., Any]:
    """Return a stand-in for `make` whose first argument is the number of channels, in place of `hidden` others.

    It is for `arguments_for`, which leaves the first argument to the caller.
    """
    stand_in = lambda *_, **__: None  # noqa: E731
    stand_in.__name__ = getattr(make, "__name__", type(make).__name__)
    first = inspect.Parameter("number_of_channels", inspect.Parameter.POSITIONAL_ONLY)
    rest = list(signature(make).parameters.values())[hidden:]
    stand_in.__signature__ = inspect.Signature([first, *rest])  # type: ignore[attr-defined]
    return stand_in


def made_of_channels(make: Callable[..., Any]) -> bool:
    """Say whether the number of channels comes first: that is, whether the first argument has no default.

    Examples
    --------
    >>> made_of_channels(lambda features, eps=1e-5: None), made_of_channels(lambda axis=-1: None)
    (True, False)
    """
    first = next(iter(signature(make).parameters.values()), None)
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return first is not None and first.default is first.empty and first.kind in positional

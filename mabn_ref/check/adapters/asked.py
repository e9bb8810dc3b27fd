"""Which hyper-parameters a user set on a layer, by keyword or on an instance, and what layers call them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import CodeType, FunctionType
from typing import Any

NAMES: dict[str, tuple[str, ...]] = {
    "eps": ("eps", "epsilon"),
    "norm_batch": ("norm_batch", "norm_batch_size", "virtual_batch_size", "B"),
    "decay": ("decay", "ema_decay", "alpha", "retain"),
    "window": ("window", "window_size", "buffer_size", "m"),
    "clip": ("clip", "clip_value", "r_clip", "lam", "lambda_"),
    "r_max": ("r_max", "rmax", "max_r", "max_r_max"),
    "d_max": ("d_max", "dmax", "max_d", "max_d_max"),
    "warmup": ("warmup", "warmup_iters", "warmup_steps", "warm_up_steps"),
    "renorm_from": ("renorm_from",),
    "decay_forward": ("decay_forward", "alpha_fwd", "alpha_forward", "afwd", "alpha_f"),
    "decay_backward": ("decay_backward", "alpha_bkw", "alpha_backward", "abkw", "alpha_b"),
    "layer_scaling": ("layer_scaling",),
    "groups": ("groups", "num_groups", "n_groups", "group_count", "G"),
}
"""By field of a Config: what constructors call it."""
DECAYS = ("momentum", *NAMES["decay"])
"""Names that may mean the weight of the old value or of the new one."""
REAL_BATCH = (
    "real_B",
    "real_batch",
    "real_batch_size",
    "simulated_batch",
    "simulated_batch_size",
    "effective_batch",
    "effective_batch_size",
)
"""What constructors call the batch that MABN's window stands for, in samples: the window times `norm_batch`."""
CHANNELS = ("num_channels", "num_features", "channels", "features", "C")
"""What constructors call the number of channels if it is not their first argument."""
LARGE = 1e9
"""No hyper-parameter is a whole number as large as this."""


def asked_by(
    make: Callable[..., Any], config: Any, extra: Mapping[str, Any], *, momentum_is_new: bool
) -> tuple[dict[str, Any], dict[str, float]]:
    """Return the fields and values that a user's keywords ask for, and the numbers whose names are not known.

    The batch that a window stands for is the field "real_batch". Momentum is read as in `arguments_for`; without a
    default it counts only if its meaning is clear.

    Examples
    --------
    >>> from mabn_ref.norms import mabn
    >>> def make(channels, B=2, real_B=32, momentum=0.98, depth=1): ...
    >>> asked_by(make, mabn.Config(), {"real_B": 16, "momentum": 0.9, "depth": 3}, momentum_is_new=True)
    ({'real_batch': 16, 'decay': 0.9}, {'depth': 3})
    """
    taken = signature(make).parameters
    fields = {alias: field for field, aliases in NAMES.items() for alias in aliases if hasattr(config, field)}
    fields |= dict.fromkeys(REAL_BATCH, "real_batch") if hasattr(config, "window") else {}
    asked: dict[str, Any] = {}
    unknown = {}
    for name, value in extra.items():
        number = type(value) in (int, float)
        if name == "momentum" and hasattr(config, "decay"):
            default = getattr(taken.get(name), "default", None)
            tells = isinstance(default, float)
            if value is None and momentum_is_new:
                asked["decay"] = "cumulative"
            elif number and (tells or not momentum_is_new or value < 0.5):
                asked["decay"] = decay_of(value, default if tells else float(value), momentum_is_new)
        elif name in DECAYS and hasattr(config, "decay") and number:
            asked["decay"] = decay_of(value, getattr(taken.get(name), "default", None), False)
        elif name == "layer_scaling" and isinstance(value, bool):
            asked["guard"] = "scaling" if value else "none"
        elif name in fields and number:
            asked[fields[name]] = value
        elif number and name not in CHANNELS:
            unknown[name] = value
    return asked, unknown


def kept_by(parts: Sequence[Any], *, momentum_is_new: bool) -> tuple[dict[str, float], set[str]]:
    """Return the eps and the decay that the parts of a layer keep as attributes, and which of the two are clear.

    A field with several values is left out. A decay is clear if a default tells what momentum means.
    """
    found: dict[str, set[float]] = {"eps": set(), "decay": set()}
    clear = {"eps", "decay"}
    for part in parts:
        found["eps"] |= {v for name in NAMES["eps"] if type(v := getattr(part, name, None)) is float}
        if isinstance(momentum := getattr(part, "momentum", None), float):
            default = getattr(signature(type(part)).parameters.get("momentum"), "default", None)
            if not isinstance(default, float):
                clear.discard("decay")
            found["decay"].add(decay_of(momentum, default, momentum_is_new))
    return {name: next(iter(values)) for name, values in found.items() if len(values) == 1}, clear


def written_in(part: Any) -> set[float]:
    """Return the numbers in the code of a function or of an object's class, and those that the object keeps.

    What that code uses of its own module counts too: constants, functions and classes. Whole numbers in code count
    from 5 on: most smaller ones are axes and powers.

    Examples
    --------
    >>> sorted(written_in(lambda x: 0.9 * x**2 + 1e-6))
    [1e-06, 0.9]
    """
    home = inspect.unwrap(part) if inspect.isroutine(part) else type(part)
    module, attributes = getattr(home, "__module__", None), getattr(part, "__dict__", {}).values()
    found = {float(v) for v in attributes if type(v) is float or (type(v) is int and abs(v) < LARGE)}
    waiting: list[Any] = [home]
    seen: set[int] = set()
    while waiting:
        value = waiting.pop()
        if type(value) is float or (type(value) is int and 5 <= value < LARGE):
            found.add(float(value))
        elif isinstance(value, CodeType):
            waiting += value.co_consts
        elif isinstance(value, staticmethod | classmethod):
            waiting.append(value.__func__)
        elif isinstance(value, type | FunctionType) and value.__module__ == module and id(value) not in seen:
            seen.add(id(value))
            if isinstance(value, type):
                waiting += [*value.__bases__, *vars(value).values()]
            else:
                waiting += [value.__code__, *map(value.__globals__.get, _names_in(value.__code__))]
                waiting.append(getattr(value, "__wrapped__", None))
    return found


def _names_in(code: CodeType) -> set[str]:
    return set(code.co_names).union(*(_names_in(inner) for inner in code.co_consts if isinstance(inner, CodeType)))


def decay_of(momentum: float, default: Any, is_new: bool) -> float:
    """Return the weight of the old value for a momentum, or the momentum for that weight.

    Momentum is the weight of the new value if its default is small or, without a default, if `is_new`.

    Examples
    --------
    >>> decay_of(0.25, 0.1, False), decay_of(0.75, 0.99, True), decay_of(0.25, None, True)
    (0.75, 0.75, 0.75)
    """
    new = default < 0.5 if isinstance(default, float) else is_new
    return round(1 - momentum, 12) if new else momentum


def signature(call: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of a function, or of a class's constructor regardless of its metaclass."""
    if not isinstance(call, type):
        try:
            return inspect.signature(call)
        except ValueError:  # compiled code may not tell its arguments
            return inspect.signature(lambda x: None)
    found = inspect.signature(call.__init__)  # type: ignore[misc]
    return found.replace(parameters=list(found.parameters.values())[1:])

"""What adapters of frameworks share: the arguments of a constructor, what a user gave it, and what shapes tell."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array

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
"""By the field of a Config: what constructors call it."""
REAL_BATCH = (
    "real_B",
    "real_batch",
    "real_batch_size",
    "simulated_batch",
    "simulated_batch_size",
    "effective_batch",
    "effective_batch_size",
)
"""What constructors call the batch that MABN's window stands for: so many samples, of `norm_batch` in each call."""
CHANNELS = ("num_channels", "num_features", "channels", "features", "C")
"""What constructors call the number of channels, where it is not their first argument."""
SCALES = ("weight", "gamma", "scale")
SHIFTS = ("bias", "beta", "shift", "offset")
TRAINING = ("training", "train", "is_training")
INFERENCE = ("use_running_average", "deterministic", "inference", "eval")


class Arguments(NamedTuple):
    """How to call a constructor."""

    keywords: dict[str, Any]
    given: frozenset[str]
    """The fields of the Config that it takes."""
    numbers: tuple[float, ...]
    """The other numbers among its defaults, which may be hyper-parameters by other names."""
    defaults: dict[str, float]
    """What it would have taken, by the fields of the Config."""
    channels: str = ""
    """The argument that the number of channels is, if it is not the first."""


def arguments_for(
    make: Callable[..., Any], config: Any, extra: Mapping[str, Any], *, momentum_is_new: bool, hidden: int = 1
) -> Arguments:
    """Choose the keywords to call `make` with, after the number of channels or whatever else comes first.

    Parameters
    ----------
    make : callable
        A class or a function; its first parameter is the number of channels, or that of groups, and channels follow.
    config
        A Config of `mabn_ref.norms`.
    extra : mapping
        Keywords that go as they are, and win.
    momentum_is_new : bool
        Whether "momentum" without a default is the weight of the new value. With one the default tells: it is the
        weight of whichever value it makes the heavier one the old.
    hidden : int
        How many of the first arguments the caller gives.

    Examples
    --------
    >>> from mabn_ref.norms import batch_norm
    >>> def make(features, eps=1e-3, momentum=0.01): ...
    >>> arguments_for(make, batch_norm.Config(decay=0.75), {}, momentum_is_new=True).keywords
    {'eps': 1e-05, 'momentum': 0.25}
    """
    parameters = list(signature(make).parameters.values())
    channels = ""
    if hidden == 1 and parameters and parameters[0].name in NAMES["groups"]:
        channels = next((p.name for p in parameters if p.name in CHANNELS), "")
    parameters = [p for p in parameters if p.name != channels] if channels else parameters[hidden:]
    fields = {alias: field for field, aliases in NAMES.items() for alias in aliases if hasattr(config, field)}
    keywords: dict[str, Any] = {}
    given = set()
    defaults: dict[str, float] = {}
    for parameter in parameters:
        name, default = parameter.name, parameter.default
        if name in extra or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if name == "config":
            keywords[name] = config
            given |= set(vars(config))
        elif name == "momentum" and hasattr(config, "decay"):
            keywords[name] = decay_of(config.decay, default, momentum_is_new)
            given.add("decay")
            if isinstance(default, float):
                defaults["decay"] = decay_of(default, default, momentum_is_new)
        elif name in REAL_BATCH and hasattr(config, "window"):
            keywords[name] = config.window * config.norm_batch
            given.add("window")
        elif name in fields and getattr(config, fields[name]) is not None:
            value = getattr(config, fields[name])
            keywords[name] = getattr(value, "last", value)  # of a ramp: constructors take numbers
            given.add(fields[name])
            if type(default) in (int, float):
                defaults[fields[name]] = default
        elif default is parameter.empty:
            raise TypeError(
                f"{getattr(make, '__name__', make)} needs the argument {name!r}, whose meaning is not known: give it "
                "(--with on the command line), or name a function of the number of channels that makes the layer"
            )
    numbers = [p.default for p in parameters if p.name not in keywords and type(p.default) in (int, float)]
    return Arguments(keywords | dict(extra), frozenset(given), tuple(map(float, numbers)), defaults, channels)


def asked_by(
    make: Callable[..., Any], config: Any, extra: Mapping[str, Any], *, momentum_is_new: bool
) -> tuple[dict[str, Any], dict[str, float]]:
    """Return which values of which fields a user's keywords ask for, and the numbers whose names say nothing.

    The batch that a window stands for is the field "real_batch". Momentum is taken as `arguments_for` does; where it
    has no default, as what it then is, unless that may be either.

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
            if value is None and momentum_is_new:
                asked["decay"] = "cumulative"
            elif number and (isinstance(default, float) or not momentum_is_new or value < 0.5):
                asked["decay"] = decay_of(
                    value, default if isinstance(default, float) else float(value), momentum_is_new
                )
        elif name == "layer_scaling" and isinstance(value, bool):
            asked["guard"] = "scaling" if value else "none"
        elif name in fields and number:
            asked[fields[name]] = value
        elif number and name not in CHANNELS:
            unknown[name] = value
    return asked, unknown


def decay_of(momentum: float, default: Any, is_new: bool) -> float:
    """Return the weight of the old value by a momentum, or the momentum by that weight.

    Momentum is the weight of the new value if its default is small; without one, if it `is_new`.

    Examples
    --------
    >>> decay_of(0.25, 0.1, False), decay_of(0.75, 0.99, True), decay_of(0.25, None, True)
    (0.75, 0.75, 0.75)
    """
    new = default < 0.5 if isinstance(default, float) else is_new
    return round(1 - momentum, 12) if new else momentum


def signature(call: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of a function, or of a class's constructor, whatever its metaclass does."""
    if not isinstance(call, type):
        return inspect.signature(call)
    found = inspect.signature(call.__init__)  # type: ignore[misc]
    return found.replace(parameters=list(found.parameters.values())[1:])


class Constructed:
    """A target that a framework's constructor makes.

    Parameters
    ----------
    source : type, instance or callable
        What makes the layer. An instance keeps its settings.
    extra : mapping, optional
        Keywords for the constructor.
    """

    groups: bool | None = False
    channels: int | None = None
    """Of a layer that has its width already."""
    momentum_is_new = False
    """Whether momentum is the weight of the new value, where no default tells."""
    tracks = True
    """Whether it was not told to do without moving statistics."""

    def __init__(self, source: Any, extra: Mapping[str, Any] | None = None) -> None:
        self.source, self.extra = source, dict(extra or {})
        self.given: frozenset[str] | None = frozenset()
        self.numbers: tuple[float, ...] = ()
        self.defaults: dict[str, float] = {}
        self.asked: dict[str, Any] = {}
        """What the user made the layer with, by the fields of the Config."""
        self.unknown: dict[str, float] = {}
        """Numbers that the user made it with, by names that say nothing."""
        self.own: dict[str, float] = {}
        """What the layer itself keeps, by the fields of the Config."""

    def call_keywords(self, call: Callable[..., Any], training: bool) -> dict[str, Any]:
        """Return the keywords of a call: the mode, if it takes one, and what the user gives, as `adapt` has it."""
        modes = {"training": training, "inference": not training}
        told: Mapping[str, Any] = getattr(self, "call", {})
        given = {name: modes.get(v, v) if isinstance(v, str) else v for name, v in told.items()}
        return (training_flag(call, training) if not given else {}) | given

    def arguments(self, call: Any, config: Any, extra: Mapping[str, Any], *, hidden: int = 1) -> Arguments:
        """Return what `arguments_for` does, and take note of what a call takes of the config."""
        found = arguments_for(call, config, extra, momentum_is_new=self.momentum_is_new, hidden=hidden)
        whole = self.given is None or "config" in found.keywords
        self.given = None if whole else (self.given or frozenset()) | found.given
        self.numbers += found.numbers
        self.defaults |= found.defaults
        told = {name: value for name, value in extra.items() if name in self.extra}
        asked, unknown = asked_by(call, config, told, momentum_is_new=self.momentum_is_new)
        self.asked, self.unknown = self.asked | asked, self.unknown | unknown
        if "norm_batch" in found.given:
            self.groups = None
        return found

    def keeps(self, parts: Sequence[Any]) -> None:
        """Take note of the eps and the momentum that the parts of a layer keep as attributes.

        One of which several values are kept is left out. An instance, or what a function has made, was given them by
        its user, unless the function was told them, or no default tells what momentum is.
        """
        found: dict[str, set[float]] = {"eps": set(), "decay": set()}
        clear = {"eps", "decay"}
        for part in parts:
            found["eps"] |= {v for name in NAMES["eps"] if type(v := getattr(part, name, None)) is float}
            if isinstance(momentum := getattr(part, "momentum", None), float):
                default = getattr(signature(type(part)).parameters.get("momentum"), "default", None)
                if not isinstance(default, float):
                    clear.discard("decay")
                found["decay"].add(decay_of(momentum, default, self.momentum_is_new))
        kept = {name: next(iter(values)) for name, values in found.items() if len(values) == 1}
        self.own |= kept
        if isinstance(self.source, type) or self.given is None:
            return
        for name, value in kept.items():
            if name in clear - self.given:
                self.asked.setdefault(name, value)

    def constructor(
        self, config: Any, more: Mapping[str, Any], *, channels_first: bool = False
    ) -> Callable[[int], Any]:
        """Return a function of the number of channels that makes the layer; `more` are keywords of the adapter's.

        Unless `channels_first`, a class whose first argument has a default is not told the number of channels; one
        whose first argument is a hyper-parameter never is.
        """
        source, kind = self.source, made_of(self.source)
        first = kind == "channels" or not isinstance(source, type) or (channels_first and kind != "settings")
        call = self.arguments(source, config, {**more, **self.extra}, hidden=int(first))
        if call.channels:
            return lambda channels: source(**{call.channels: channels}, **call.keywords)
        return lambda channels: source(*[channels] * first, **call.keywords)


def _last(path: str) -> str:
    return re.split("[./]", path)[-1]


def named(parameters: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """Return the path of the first parameter of one of these names.

    Examples
    --------
    >>> named({"norm/scale": 1, "norm/bias": 0}, SHIFTS)
    'norm/bias'
    """
    return next((path for path in parameters if _last(path) in names), None)


def counts(path: str) -> bool:
    """Say whether a number of this name is a count of iterations.

    Examples
    --------
    >>> counts("batch_stats/iteration"), counts("warmup_steps")
    (True, False)
    """
    name = _last(path).lower()
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


def mode_flags(training: bool) -> dict[str, bool]:
    """Return the names that a mode goes by, with their values."""
    return dict.fromkeys(TRAINING, training) | dict.fromkeys(INFERENCE, not training)


def training_flag(call: Callable[..., Any], training: bool) -> dict[str, bool]:
    """Return the keyword that tells a call whether it trains; empty if there is none.

    Examples
    --------
    >>> def call(x, use_running_average=None): ...
    >>> training_flag(call, True)
    {'use_running_average': False}
    """
    taken = signature(call).parameters
    return dict([(name, value) for name, value in mode_flags(training).items() if name in taken][:1])


def made_of(make: Callable[..., Any]) -> str:
    """Return what the first argument is: "channels", "settings", or "" if neither.

    It is the number of channels if it has no default; a hyper-parameter with one comes first in a layer that sees its
    channels when called.

    Examples
    --------
    >>> [made_of(make) for make in (lambda features: None, lambda eps=1e-5: None, lambda axis=-1: None)]
    ['channels', 'settings', '']
    """
    first = next(iter(signature(make).parameters.values()), None)
    if first is None:
        return ""
    if first.default is first.empty:
        return "channels" if first.kind in (first.POSITIONAL_ONLY, first.POSITIONAL_OR_KEYWORD) else ""
    names = {"momentum"}.union(*(aliases for field, aliases in NAMES.items() if field != "groups"))
    return "settings" if first.name in names else ""

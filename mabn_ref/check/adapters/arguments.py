"""Shared by the adapters: the arguments of a constructor, and what is read off shapes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.check.adapters.asked import (
    CHANNELS,
    DECAYS,
    NAMES,
    REAL_BATCH,
    asked_by,
    decay_of,
    kept_by,
    signature,
    written_in,
)

SCALES = ("weight", "gamma", "scale")
SHIFTS = ("bias", "beta", "shift", "offset")
TRAINING = ("training", "train", "is_training")
INFERENCE = ("use_running_average", "deterministic", "inference", "eval")


class Arguments(NamedTuple):
    """How to call a constructor."""

    keywords: dict[str, Any]
    given: frozenset[str]  #: the fields of the Config that it takes
    numbers: tuple[float, ...]  #: other numbers among its defaults, which may be hyper-parameters under other names
    defaults: dict[str, float]  #: its own defaults, by the fields of the Config
    channels: str = ""  #: the argument for the number of channels, if it is not the first


def arguments_for(
    make: Callable[..., Any], config: Any, extra: Mapping[str, Any], *, momentum_is_new: bool, hidden: int = 1
) -> Arguments:
    """Choose the keywords to call `make` with, after the number of channels or another first argument.

    Parameters
    ----------
    make : callable
        A class or a function whose first parameter is the number of channels, or the number of groups before it.
    config
        A Config of `mabn_ref.norms`.
    extra : mapping
        Keywords that are passed unchanged and take precedence.
    momentum_is_new : bool
        Whether "momentum" without a default is the weight of the new value. A default tells, also for "decay" or
        "alpha": a default below 0.5 is the weight of the new value, a larger one that of the old.
    hidden : int
        How many of the first arguments the caller passes.

    Examples
    --------
    >>> from mabn_ref.norms import batch_norm
    >>> def make(features, eps=1e-3, momentum=0.01): ...
    >>> arguments_for(make, batch_norm.Config(decay=0.75), {}, momentum_is_new=True).keywords
    {'eps': 1e-05, 'momentum': 0.25}
    """
    parameters = list(signature(make).parameters.values())
    channels = by_name(make)
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
        elif name in DECAYS and hasattr(config, "decay"):
            keywords[name] = decay_of(config.decay, default, momentum_is_new and name == "momentum")
            given.add("decay")
            if isinstance(default, float):
                defaults["decay"] = decay_of(default, default, False)
        elif name in REAL_BATCH and hasattr(config, "window"):
            keywords[name] = config.window * config.norm_batch
            given.add("window")
        elif name in fields and getattr(config, fields[name]) is not None:
            value = getattr(config, fields[name])
            keywords[name] = getattr(value, "last", value)  # the end of a ramp: constructors take numbers
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


class Constructed:
    """A target made by a framework's constructor.

    Parameters
    ----------
    source : type, instance or callable
        Makes the layer. An instance keeps its settings.
    extra : mapping, optional
        Keywords for the constructor.
    """

    groups: bool | None = False
    channels: int | None = None  #: the width of a layer that already has one
    momentum_is_new = False
    """Whether momentum is the weight of the new value if no default tells."""
    tracks = True
    """False if it was told to do without moving statistics."""

    def __init__(self, source: Any, extra: Mapping[str, Any] | None = None) -> None:
        self.source, self.extra = source, dict(extra or {})
        self.call: Mapping[str, Any] = {}
        """The user's keywords for every call."""
        self.given: frozenset[str] | None = frozenset()
        self.numbers: set[float] = set()
        self.defaults: dict[str, float] = {}
        self.asked: dict[str, Any] = {}
        """The values that the user made the layer with, by the fields of the Config."""
        self.unknown: dict[str, float] = {}
        """Numbers that the user made the layer with, under names that are not known."""
        self.own: dict[str, float] = {}
        """The values that the layer keeps as attributes, by the fields of the Config."""
        self.limits: list[str] = []
        """What users should know about its parameters."""

    def told(self, training: bool) -> dict[str, Any]:
        """Return the user's keywords for a call, in which "training" and "inference" stand for the mode."""
        modes = {"training": training, "inference": not training}
        return {name: modes.get(v, v) if isinstance(v, str) else v for name, v in self.call.items()}

    def call_keywords(self, call: Callable[..., Any], training: bool) -> dict[str, Any]:
        """Return the keywords of a call: the mode, if it takes one, and the user's own."""
        mode = {} if self.told(True) != self.told(False) else self.mode_keyword(call, training)
        found = mode | self.told(training)
        others = list(signature(call).parameters.values())[1:]
        needed = (p.name for p in others if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))
        missing = next((name for name in needed if name not in found), None)
        if missing is not None:
            raise TypeError(
                f"{getattr(call, '__qualname__', call)} needs the argument {missing!r}, whose meaning is not known: "
                f"pass it to every call (--call {missing}=VALUE on the command line; the values training and "
                "inference stand for the mode)"
            )
        return found

    def mode_keyword(self, call: Callable[..., Any], training: bool) -> dict[str, Any]:
        """Return the keyword that sets the mode, if the user does not name one; empty if there is none."""
        return training_flag(call, training)

    def arguments(self, call: Any, config: Any, extra: Mapping[str, Any], *, hidden: int = 1) -> Arguments:
        """Return what `arguments_for` returns, and note which fields of the config the call takes."""
        found = arguments_for(call, config, extra, momentum_is_new=self.momentum_is_new, hidden=hidden)
        whole = self.given is None or "config" in found.keywords
        self.given = None if whole else (self.given or frozenset()) | found.given
        self.numbers.update(found.numbers, written_in(call) if inspect.isroutine(call) else ())
        self.defaults |= found.defaults
        told = {name: value for name, value in extra.items() if name in self.extra}
        asked, unknown = asked_by(call, config, told, momentum_is_new=self.momentum_is_new)
        self.asked, self.unknown = self.asked | asked, self.unknown | unknown
        if "norm_batch" in found.given:
            self.groups = None
        return found

    def keeps(self, parts: Sequence[Any]) -> None:
        """Note the eps and the momentum that the parts of a layer keep as attributes, and all numbers in their code.

        For an instance, or a layer that a function made, the user chose them, unless the function was passed them.
        """
        found, clear = kept_by(parts, momentum_is_new=self.momentum_is_new)
        self.own |= found
        self.numbers.update(*map(written_in, parts))
        if isinstance(self.source, type) or self.given is None:
            return
        for name, value in found.items():
            if name in clear and name not in self.given:
                self.asked.setdefault(name, value)

    def constructor(
        self, config: Any, more: Mapping[str, Any], *, channels_first: bool = False
    ) -> Callable[[int], Any]:
        """Return a function of the number of channels that makes the layer; `more` are keywords of the adapter.

        Unless `channels_first`, a class whose first argument has a default does not get the number of channels; a
        class whose first argument is a hyper-parameter never does.
        """
        source, kind = self.source, made_of(self.source)
        first = kind == "channels" or not isinstance(source, type) or (channels_first and kind != "settings")
        first = first and not _keywords_alone(source)
        call = self.arguments(source, config, {**more, **self.extra}, hidden=int(first))
        if call.channels:
            return lambda channels: source(**{call.channels: channels}, **call.keywords)
        return lambda channels: source(*[channels] * first, **call.keywords)


def _last(path: str) -> str:
    return re.split("[./]", path)[-1]


def named(parameters: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """Return the path of the first parameter with one of these names.

    Examples
    --------
    >>> named({"norm/scale": 1, "norm/bias": 0}, SHIFTS)
    'norm/bias'
    """
    return next((path for path in parameters if _last(path) in names), None)


def scale_and_shift(parameters: Mapping[str, Any], channels: int) -> tuple[str | None, str | None]:
    """Return the paths of gamma and beta: by name or, failing that, by a first value of 1 or 0.

    Examples
    --------
    >>> scale_and_shift({"norm/variable": np.ones(2), "norm/bias": np.zeros(2)}, 2)
    ('norm/variable', 'norm/bias')
    """
    scale, shift = (named(parameters, names) for names in (SCALES, SHIFTS))
    sized = {path: a for path, a in parameters.items() if np.size(a) == channels and path not in (scale, shift)}
    scale = scale or next((path for path, a in sized.items() if np.all(np.asarray(a) == 1)), None)
    shift = shift or next((path for path, a in sized.items() if np.all(np.asarray(a) == 0)), None)
    return scale, shift


def zero_centred(scale: Array | None, infer: Callable[[Array], Array], like: Array) -> bool:
    """Return whether gamma is 1 + scale: it starts at 0, and the output is more than a constant in some channel.

    The output is that of an inference on a few samples `like` those of an input; if that fails, nothing is known.

    Examples
    --------
    >>> x = np.ones((1, 2))
    >>> zero_centred(np.zeros(2), lambda x: x, x), zero_centred(np.zeros(2), lambda x: 0 * x, x)
    (True, False)
    """
    if scale is None or np.any(scale):
        return False
    try:
        z = infer(np.random.default_rng(0).standard_normal((8, *like.shape[1:])).astype(like.dtype))
    except Exception:  # any fault shows later, when it is checked
        return False
    return bool(np.any(np.ptp(z.reshape(-1, z.shape[-1]), axis=0) > 1e-6))


def counts(path: str) -> bool:
    """Say whether a number of this name is a count of iterations.

    Examples
    --------
    >>> counts("batch_stats/iteration"), counts("warmup_steps")
    (True, False)
    """
    name = _last(path).lower()
    return any(word in name for word in ("step", "iter", "num_batches", "count")) and "warm" not in name


def raised(value: Any, before: Any) -> bool:
    """Say whether a number, alone or in an array, is one more than before; a flag that is set is no number.

    Examples
    --------
    >>> raised(np.ones(1), 0.0), raised(np.array(True), np.array(False)), raised(3, None)
    (True, False, False)
    """
    kinds = [getattr(getattr(v, "dtype", np.asarray(v).dtype), "kind", None) for v in (value, before)]
    return set(kinds) <= set("iuf") and bool(np.all(np.asarray(value, float) - np.asarray(before, float) == 1))


def squeezed(value: Any, channels: int) -> Array:
    """Return (C,), (m, C) or a number, without any axes of length one.

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
    """Return the argument names that set the mode, with their values."""
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


def by_name(make: Callable[..., Any]) -> str:
    """Return the name of the argument for the number of channels if all arguments are keyword-only; else "".

    Examples
    --------
    >>> def make(*, eps=1e-5, num_features): ...
    >>> by_name(make), by_name(lambda num_features: None)
    ('num_features', '')
    """
    named = (name for name in signature(make).parameters if name in CHANNELS)
    return next(named, "") if _keywords_alone(make) else ""


def _keywords_alone(make: Callable[..., Any]) -> bool:
    """Whether a function takes arguments, and none by position."""
    parameters = [p for p in signature(make).parameters.values() if p.kind is not p.VAR_KEYWORD]
    return bool(parameters) and all(p.kind is p.KEYWORD_ONLY for p in parameters)


def made_of(make: Callable[..., Any]) -> str:
    """Return what the first argument is: "channels", "settings", or "" if neither.

    Without a default it is the number of channels; a layer whose first argument is a hyper-parameter with a default
    learns its channels when called.

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

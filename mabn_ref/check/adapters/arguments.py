"""Which hyper-parameter goes to which argument of a constructor, by its usual names."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

__all__ = ["Arguments", "arguments_for"]

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


CHANNELS = ("num_channels", "num_features", "channels", "features", "C")
"""What constructors call the number of channels, where it is not their first argument."""


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
    make: Callable[..., Any], config: Any, extra: Mapping[str, Any], *, momentum_is_new: bool
) -> Arguments:
    """Choose the keywords to call `make` with, after the number of channels.

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

    Returns
    -------
    Arguments

    Raises
    ------
    TypeError
        If `make` needs an argument whose meaning is not known.

    Examples
    --------
    >>> from mabn_ref.norms import batch_norm
    >>> def make(features, eps=1e-3, momentum=0.01): ...
    >>> arguments_for(make, batch_norm.Config(decay=0.75), {}, momentum_is_new=True).keywords
    {'eps': 1e-05, 'momentum': 0.25}
    """
    parameters = list(inspect.signature(make).parameters.values())
    channels = ""
    if parameters and parameters[0].name in NAMES["groups"]:
        channels = next((p.name for p in parameters if p.name in CHANNELS), "")
    parameters = [p for p in parameters if p.name != channels] if channels else parameters[1:]
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
            new = default < 0.5 if isinstance(default, float) else momentum_is_new
            keywords[name] = round(1 - config.decay, 12) if new else config.decay
            given.add("decay")
            if isinstance(default, float):
                defaults["decay"] = round(1 - default, 12) if new else default
        elif name == "real_B" and hasattr(config, "window"):  # the authors' name for the batch that is simulated
            keywords[name] = config.window * config.norm_batch
            given.add("window")
        elif name in fields and getattr(config, fields[name]) is not None:
            keywords[name] = _plain(getattr(config, fields[name]))
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


def _plain(value: Any) -> Any:
    """The last value of a ramp; constructors take numbers."""
    return getattr(value, "last", value)

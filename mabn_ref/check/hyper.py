"""Deviations in numbers: hyper-parameters that a layer does not take, or takes and does not keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mabn_ref.check.choices import Choice
from mabn_ref.check.scenarios import ALONE, LIKE, Scenario
from mabn_ref.mistakes import named
from mabn_ref.norms.batch_renorm import Ramp

__all__ = ["LATE", "hyper_choices"]

LATE = 100_000
"""An iteration that no scenario comes to from the start."""

_ALL = ("bn", "brn", "modified-bn", "mabn", "online", *ALONE)
_SHOWS = {
    "eps": ("z", "state", "inferred"),
    "decay": ("z", "state", "inferred"),
    "window": ("z", "state"),
    "warmup": ("z", "state"),
    "clip": ("z",),
    "r_max": ("z",),
    "renorm_from": ("z",),
    "groups": ("z",),
    "decay_forward": ("z", "state", "inferred"),
    "decay_backward": ("dx",),
}
_NAMES = {
    "gn": ("eps", "groups"),
    "ln": ("eps",),
    "in": ("eps",),
    "online": ("eps", "decay_forward", "decay_backward"),
}
"""What is looked for in normalisers of which nothing else is to be read off."""
_USUAL = {"eps": (1e-5, 1e-3), "decay": (0.9, 0.99, 0.98), "clip": (5.0,), "warmup": (0, 100)}
_USUAL |= {"decay_forward": (0.999, 0.99), "decay_backward": (0.99, 0.999)}
_SWAPPED = {"bn": "bn", "brn": "bn", "modified-bn": "modified", "mabn": "mabn"}


def hyper_choices(
    norm: str, given: frozenset[str], numbers: Sequence[float], free: frozenset[str] = frozenset()
) -> list[Choice]:
    """Return what hyper-parameters may be, other than what was given.

    Parameters
    ----------
    norm : str
        What the target is to be.
    given : frozenset of str
        The fields of the Config that it takes.
    numbers : sequence of float
        Numbers it has.
    free : frozenset of str
        Of the fields given, those that it need not keep.
    """
    if norm in _NAMES:
        told = [(name, name in given) for name in _NAMES[norm]]
        found = [_value(name, value, kept) for name, kept in told for value in _plausible(name, numbers, kept)]
        return found + (_guards("layer_scaling" in given) if norm == "online" else [])
    mistake = f"{_SWAPPED[LIKE.get(norm, norm)]}-weights-swapped"
    swapped = Choice(
        changes=(("decay", lambda c: 1 - c["decay"]),),
        norms=_ALL,
        shows=_SHOWS["decay"],
        words=named(mistake).sentence,
        mistake=mistake,
    )
    found = [swapped]
    for name in ("eps", "decay", *(("window", "warmup", "clip") if norm == "mabn" else ())):
        found += [
            _value(name, value, name in given - free) for value in _plausible(name, numbers, name in given - free)
        ]
    if norm == "brn":
        found += _bounds(given, numbers)
    if norm == "mabn":
        found += _renorm_from("renorm_from" in given - free, numbers)
        if "warmup" in given:
            words = "Warm-up lasts warmup iterations, so that the last of them still has batch statistics."
            longer = (("warmup", lambda c: c["warmup"] + 1),)
            found.append(Choice(changes=longer, norms=("mabn",), shows=_SHOWS["warmup"], words=words, accepted=True))
        words = "Your r is not clipped."
        found.append(Choice(changes=(("clip", float("inf")),), norms=("mabn",), shows=("z",), words=words))
        found.append(
            Choice(
                changes=(("clip", "measured"), ("renorm_from", 1)),
                norms=("mabn",),
                shows=("z",),
                words="The bounds of r are {bounds}, read off the outputs.",
                accepted="clip" not in given,
            )
        )
    return found


def _guards(given: bool) -> list[Choice]:
    """Layer scaling or none, whatever it is told."""
    shows, told = ("z", "dx", "dgamma", "inferred"), ", whatever layer_scaling says." if given else "."
    return [
        Choice(changes=(("guard", guard),), norms=("online",), shows=shows, words=words + told, accepted=not given)
        for guard, words in (("none", "There is no layer scaling"), ("scaling", "Layer scaling comes last"))
    ]


def _plausible(name: str, numbers: Sequence[float], given: bool) -> list[Any]:
    """The numbers that may be this hyper-parameter."""
    values = [*numbers, *(() if given else _USUAL.get(name, ()))]
    if name == "eps":
        return sorted({v for v in values if 0 < v < 0.1})
    if name.startswith("decay"):
        return sorted({round(w, 12) for v in values if 0 < v < 1 for w in (v, 1 - v)})
    if name == "groups":
        channels = Scenario(name="", norm_batch=1, alone=True).channels
        return [n for n in range(1, channels + 1) if not channels % n]
    if name == "clip":
        return sorted({v for v in values if 1 < v < 100})
    return sorted({int(v) for v in values if v == int(v) and (v or name == "warmup") and 0 <= v <= 512})


def _value(name: str, value: Any, given: bool) -> Choice:
    words = f"{name} is {value:g}, whatever it is given." if given else f"{name} is {value:g}."
    return Choice(changes=((name, value),), norms=_ALL, shows=_SHOWS[name], words=words, accepted=not given)


def _renorm_from(given: bool, numbers: Sequence[float]) -> list[Choice]:
    """Where r starts, which the paper leaves open."""
    starts: list[tuple[Any, str]] = [(1, "the first iteration"), (lambda c: c["window"] + 1, "the full window")]
    starts += [(lambda c: max(c["warmup"], 1), "the end of warm-up"), (lambda c: c["warmup"] + 1, "after warm-up")]
    starts.append((LATE, "an iteration after the scenarios from the start"))
    whole = sorted({int(v) for v in numbers if v == int(v) and 1 < v < 5000})
    starts += [(first, f"iteration {first}") for v in whole for first in (v, v + 1)]
    return [
        Choice(
            changes=(("renorm_from", first),),
            norms=("mabn",),
            shows=("z",),
            words=f"r is other than 1 from {words} on.",
            accepted=not given,
        )
        for first, words in starts
    ]


def _bounds(given: frozenset[str], numbers: Sequence[float]) -> list[Choice]:
    """Ioffe's schedule, counted from 1 or from 0, and whatever the outputs show."""
    words = "r_max and d_max follow Ioffe's schedule"
    found: list[tuple[Any, str]] = []
    for first, count in ((0, ""), (1, ", counted from 0")):
        ramps = (
            ("r_max", Ramp(start=5_000 + first, stop=40_000 + first, first=1.0, last=3.0)),
            ("d_max", Ramp(start=5_000 + first, stop=25_000 + first, first=0.0, last=5.0)),
        )
        found.append((ramps, f"{words}{count}."))
    unbounded = float("inf")
    found.append(((("r_max", unbounded), ("d_max", unbounded)), "Your r and d are not clipped."))
    found.append(((("r_max", unbounded),), "Your r is not clipped."))
    found.append(((("d_max", unbounded),), "Your d is not clipped."))
    for name, lowest in (("r_max", 1.0), ("d_max", 0.0)):
        if name not in given:
            found += [(((name, v),), f"{name} is {v:g}.") for v in sorted({v for v in numbers if lowest <= v < 100})]
            found.append((((name, "measured"),), f"The bound {name} is read off the outputs: {{bounds}}."))
    measured = (("r_max", "measured"), ("d_max", "measured"))
    found.append((measured, "The bounds of r and d are {bounds}, read off the outputs."))
    return [
        Choice(changes=c, norms=("brn",), shows=("z",), words=w, accepted=not given & {name for name, _ in c})
        for c, w in found
    ]

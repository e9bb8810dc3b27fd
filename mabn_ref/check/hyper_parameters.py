"""Deviations in numbers: hyper-parameters that a layer does not take, or takes but does not use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mabn_ref.check.choices import Choice, choice
from mabn_ref.check.observe import About
from mabn_ref.check.scenarios import LIKE, MODULES
from mabn_ref.norms.batch_renorm import Ramp

LATE = 100_000
"""An iteration that no scenario reaches from the start."""

_SHOWS = {
    "eps": "z state inferred",
    "decay": "z state inferred",
    "window": "z state",
    "warmup": "z state",
    "clip": "z",
    "groups": "z",
    "decay_forward": "z state inferred",
    "decay_backward": "dx",
}
"""The fields of a Config whose values are searched for, and the tensors in which they show."""
_USUAL = {"eps": (1e-5, 1e-3), "decay": (0.9, 0.99, 0.98), "clip": (5.0,), "warmup": (0, 100)}
_USUAL |= {"decay_forward": (0.999, 0.99), "decay_backward": (0.99, 0.999)}
_SWAPPED = {"bn": "bn", "brn": "bn", "in": "bn", "modified-bn": "modified", "mabn": "mabn"}
"""The first word in the name of the mistake of exchanging the weights of an average."""


def hyper_parameter_choices(
    norm: str, given: frozenset[str], free: frozenset[str], about: About, channels: int
) -> list[Choice]:
    """Return the values that hyper-parameters may have instead of those given: the numbers found in the target.

    The target was `given` these fields of the Config, but need not use those in `free`; it has this many `channels`.
    """
    kind, kept, numbers, own = LIKE.get(norm, norm), given - free, about.numbers, about.own
    found = []
    if kind in _SWAPPED and ("decay" in given or own.get("decay", 1.0) >= 0.5):
        changes = {"decay": lambda c: 1 - c["decay"] if isinstance(c["decay"], float) else c["decay"]}
        found.append(choice(_SHOWS["decay"], norm, changes, f"{_SWAPPED[kind]}-weights-swapped"))
    if kind == "mabn" and "window" in kept:
        shorter = {"window": lambda c: max(c["window"] - 1, 1)}
        found.append(choice(_SHOWS["window"], norm, shorter, "window is one short{given}."))
    fields = MODULES[kind].Config.__dataclass_fields__.keys() - ({"groups"} if kind in ("ln", "in") else set())
    for name in [name for name in _SHOWS if name in fields]:
        for value in _plausible(name, numbers, channels):
            words, fine = f"{name} is {value:g}.", name not in kept
            if not fine:
                words = f"{name} is {value:g}{{given}}."
            elif name == "decay" and value < 0.5 and value != own.get(name):
                # no framework uses it; it is what 0.9 becomes in another framework's formula
                words = f"decay is {value:g}: the new value weighs {1 - value:g}, as if the weights were exchanged."
                fine = False
            found.append(choice(_SHOWS[name], norm, {name: value}, words, fine))
    if kind in _SWAPPED and norm not in ("eval-norm", "in"):
        found += [
            choice("inferred", norm, {"infer_eps": value}, f"Inference has an eps of its own, {value:g}.")
            for value in _plausible("eps", numbers, channels)
        ]
    if norm == "brn":
        found += _blends(numbers) + _bounds(given, numbers)
    if norm == "mabn":
        found += _renorm_from("renorm_from" in kept, numbers) + _warmup_and_clip(given)
    return found + (_guards("guard" in given) if norm == "online" else [])


def _plausible(name: str, numbers: Sequence[float], channels: int) -> list[Any]:
    """The numbers that may be this hyper-parameter."""
    values = [*numbers, *_USUAL.get(name, ())]
    if name == "eps":
        return sorted({v for v in values if 0 < v < 0.1})
    if name.startswith("decay"):
        return sorted({round(w, 12) for v in values if 0 < v < 1 for w in (v, 1 - v)})
    if name == "groups":
        return [n for n in range(1, channels + 1) if not channels % n]
    if name == "clip":
        return sorted({v for v in values if 1 < v < 100})
    return _whole(values, 0 if name == "warmup" else 1, 512)


def _whole(numbers: Sequence[float], least: int, most: int) -> list[int]:
    """The whole numbers among those that a layer has."""
    return sorted({int(v) for v in numbers if least <= v <= most and v == int(v)})


def _guards(given: bool) -> list[Choice]:
    """Layer scaling or none, regardless of what the layer was told."""
    told = "{given}." if given else "."
    return [
        choice("z dx dgamma inferred", "online", {"guard": guard}, words + told, not given)
        for guard, words in (("none", "There is no layer scaling"), ("scaling", "Layer scaling comes last"))
    ]


def _renorm_from(given: bool, numbers: Sequence[float]) -> list[Choice]:
    """Where r starts, which the paper leaves open."""
    starts: list[tuple[Any, str]] = [
        (1, "the first iteration"),
        (lambda c: c["window"] + 1, "the iteration after the window is full"),
    ]
    starts += [
        (lambda c: max(c["warmup"], 1), "the end of warm-up"),
        (lambda c: c["warmup"] + 1, "the iteration after warm-up"),
    ]
    starts.append((LATE, "an iteration after the scenarios from the start"))
    starts += [(first, f"iteration {first}") for v in _whole(numbers, 2, 4999) for first in (v, v + 1)]
    return [
        choice("z", "mabn", {"renorm_from": first}, f"r differs from 1 from {words} on.", not given)
        for first, words in starts
    ]


def _warmup_and_clip(given: frozenset[str]) -> list[Choice]:
    longer = {"warmup": lambda c: c["warmup"] + 1}
    words = "Warm-up lasts warmup iterations, so the last of them still uses batch statistics."
    measured = {"clip": "measured", "renorm_from": 1}
    return [
        *([choice(_SHOWS["warmup"], "mabn", longer, words, True)] if "warmup" in given else []),
        choice("z", "mabn", {"clip": float("inf")}, "Your r is not clipped."),
        choice("z", "mabn", measured, "The bounds of r are {bounds}, read off the outputs.", "clip" not in given),
    ]


def _blends(numbers: Sequence[float]) -> list[Choice]:
    """A warm-up of r and d over this many iterations, in steps or gradually; without a bound it never ends."""
    found = []
    for length in _whole(numbers, 2, 1_000_000):
        for kind, comes in (("steps", f"iteration // {length}"), ("slope", f"iteration / {length}")):
            words = f"r - 1 and d are multiplied by min(1, {comes})."
            found.append(choice("z", "brn", {"blend": (length, kind, 1.0)}, words, True))
            words = (
                f"r - 1 and d are multiplied by {comes}, which has no bound: at iteration {2 * length} they are "
                "twice what they should be."
            )
            found.append(choice("z", "brn", {"blend": (length, kind, float("inf"))}, words))
    return found


def _bounds(given: frozenset[str], numbers: Sequence[float]) -> list[Choice]:
    """Ioffe's schedule, counted from 1 or from 0, and any bounds that the outputs show."""
    found: list[tuple[Mapping[str, Any], str]] = []
    for first, count in ((0, ""), (1, ", counted from 0")):
        ramps = {
            "r_max": Ramp(start=5_000 + first, stop=40_000 + first, first=1.0, last=3.0),
            "d_max": Ramp(start=5_000 + first, stop=25_000 + first, first=0.0, last=5.0),
        }
        found.append((ramps, f"r_max and d_max follow Ioffe's schedule{count}."))
    for names, words in ((("r_max", "d_max"), "r and d are"), (("r_max",), "r is"), (("d_max",), "d is")):
        found.append((dict.fromkeys(names, float("inf")), f"Your {words} not clipped."))
    for name, lowest in (("r_max", 1.0), ("d_max", 0.0)):
        if name not in given:
            found += [({name: v}, f"{name} is {v:g}.") for v in sorted({v for v in numbers if lowest <= v < 100})]
            found.append(({name: "measured"}, f"The bound {name} is read off the outputs: {{bounds}}."))
    measured = {"r_max": "measured", "d_max": "measured"}
    found.append((measured, "The bounds of r and d are {bounds}, read off the outputs."))
    return [choice("z", "brn", changes, words, not given & set(changes)) for changes, words in found]

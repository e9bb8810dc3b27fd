"""A check of a few short scenarios: the same judgement as `check`, in a tenth of the time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mabn_ref.check.observe import About, observe
from mabn_ref.check.report import Report
from mabn_ref.check.scenarios import Scenario, scenarios
from mabn_ref.check.verdict import judge

GIVEN = frozenset({"eps", "decay", "window", "clip", "r_max", "d_max", "norm_batch", "warmup", "groups"}) | {
    "decay_forward",
    "decay_backward",
}


def sentences(report: Report) -> str:
    """The text of a report in one line, as nobody broke it."""
    return " ".join(str(report).split())


def told(norm: str, names: Sequence[str] = (), steps: int = 0) -> list[Scenario]:
    """The scenarios from which conventions are told, cut short, and others by name."""
    few = scenarios(norm, norm_batch=4, short=True)
    names = {"start", "several in a call", *names} | ({"small eps"} if norm == "mabn" else set())
    return [replace(s, steps=steps or (10 if norm == "mabn" else 7)) for s in few if s.name in names]


def judged(
    norm: str,
    target: Any,
    chosen: Sequence[Scenario],
    *,
    given: frozenset[str] = GIVEN,
    numbers: Sequence[float] = (),
    defaults: Mapping[str, float] | None = None,
    space: tuple[int, ...] = (2,),
    asked: Mapping[str, Any] | None = None,
) -> Report:
    """Run a target through scenarios, and say what it is."""
    about = About(sorted(given), True, sorted(numbers), dict(defaults or {}), True, {}, asked=dict(asked or {}))
    return judge(
        "layer", norm, about, [observe(target, norm, s, space if s.space is None else s.space) for s in chosen]
    )

"""What an explanation says: its findings, and the hyper-parameters that it read off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mabn_ref.check.choices import Choice
from mabn_ref.check.compare import Case
from mabn_ref.check.families import model_of
from mabn_ref.check.report import Finding
from mabn_ref.check.sample_choices import ALL_CHOICES
from mabn_ref.check.scenarios import LIKE
from mabn_ref.check.search import Explanation, convention_of
from mabn_ref.mistakes import named

__all__ = ["findings", "hyper_parameters"]

HYPER = (
    "eps",
    "decay",
    "window",
    "clip",
    "r_max",
    "d_max",
    "warmup",
    "renorm_from",
    "groups",
    "decay_forward",
    "decay_backward",
)


def findings(best: Explanation, cases: Sequence[Case], given: frozenset[str]) -> list[Finding]:
    """Return what an explanation says, the convention's own differences from this project's first."""
    kin = {cases[0].norm, LIKE.get(cases[0].norm, cases[0].norm)}
    decided = given | {name for _, choice in best.choices for name, _ in choice.changes}
    own = [
        choice
        for field in best.preset.changes.items()
        for choice in ALL_CHOICES
        if choice.changes == (field,) and kin & set(choice.norms) and field[0] not in decided
    ]
    found = [_finding("", choice, best, cases, given) for choice in own]
    return found + [_finding(tensor, choice, best, cases, given) for tensor, choice in best.choices]


def _finding(
    tensor: str,
    choice: Choice,
    best: Explanation,
    cases: Sequence[Case],
    given: frozenset[str],
) -> Finding:
    words, mistake, fine = choice.words, choice.mistake, choice.accepted
    if tensor == "":  # part of a preset
        words, mistake, fine = choice.as_convention or words, "", True
    if "{bessel" in words:
        batch = next((case.batches("normalisation batch")[0] for case in cases), None)
        values = 2 if batch is None else batch.x.shape[1]
        words = words.format(bessel=values / (values - 1) if values > 1 else float("nan"), values=values)
    if "{bounds}" in words:
        spans = _bounds(best, cases, given)
        brn = cases[0].norm == "brn"
        text = "; ".join(f"{r:.4g}{f' and {d:.4g}' if brn else ''} up to iteration {last}" for last, r, d in spans)
        words = words.format(bounds=text)
        highest = [r for _, r, _ in spans]
        if brn and any(later < 0.99 * earlier for earlier, later in zip(highest, highest[1:], strict=False)):
            mistake, fine = "brn-warm-up-inverted", False
            words = f"{named(mistake).sentence} {words}"
    equation = named(mistake).equation if mistake else ""
    return Finding(tensor, words, mistake, equation, fine)


def _bounds(best: Explanation, cases: Sequence[Case], given: frozenset[str]) -> list[tuple[int, float, float]]:
    """For every age: the last iteration, and the largest bounds that were reached."""
    spans: dict[int, tuple[int, float, float]] = {}
    chosen = [choice for _, choice in best.choices]
    for case in cases:
        convention = convention_of(case, best.preset, chosen, given)
        model = model_of(case.norm, convention, case.channels)
        age = case.trace.scenario.age
        with np.errstate(all="ignore"):
            for k, (batch, z) in enumerate(
                zip(case.batches(convention.shared_by), case.trace.values["z"], strict=False)
            ):
                model.forward(batch, *case.parameters(k), z)
                if age and k + 1 == case.trace.scenario.age_after:
                    model.iteration = age
                    model.bounds.clear()
        r, d = (round(max(values), 9) for values in zip(*model.bounds, strict=True))
        before = spans.get(age, (0, 1.0, 0.0))
        spans[age] = max(before[0], model.iteration), max(before[1], r), max(before[2], d)
    return [spans[age] for age in sorted(spans)]


def hyper_parameters(best: Explanation, case: Case, given: frozenset[str]) -> dict[str, Any]:
    """Return the hyper-parameters that the layer does not take."""
    convention = convention_of(case, best.preset, [choice for _, choice in best.choices], given)
    known = given | ({"groups"} if case.norm in ("ln", "in") else set())  # by what they are called
    fields = [name for name in HYPER if hasattr(case.config, name) and name not in known]
    return {name: getattr(convention, name) for name in fields if getattr(convention, name) != "measured"}

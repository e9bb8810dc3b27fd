"""Find out whether a layer cuts each call into normalisation batches of its own, which it was not asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mabn_ref.check.explain import explain
from mabn_ref.check.tolerance import Case

SIZES = (2, 4, 8, 16, 32, 64, 128)
"""Samples of a normalisation batch, however many a call has, as in Ghost Batch Normalization."""
NUMBERS = (2, 4, 8, 16)
"""Normalisation batches of a call, however many samples it has."""
MANY = 8
"""A layer that is right in calls of this many samples, and wrong in larger ones alone, may cut those."""
NORMS = ("bn", "brn", "modified-bn", "mabn", "eval-norm")


def smaller_batches(cases: Sequence[Case], right: Sequence[Case]) -> str:
    """What to say if the outputs become clear once calls are cut into normalisation batches, or "".

    `right` are those of the cases whose output is understood as it is.
    """
    if cases[0].norm not in NORMS:
        return ""
    calls = [case.trace.scenario.samples for case in cases]
    said = "its outputs are those of {}: check it with --norm-batch {} --groups {}"
    for size in SIZES:
        if _explained(cases, [min(size, samples) for samples in calls]):
            return said.format(f"normalisation batches of {size} samples", size, 2)
    for number in NUMBERS:
        if _explained(cases, [samples // number for samples in calls]):
            return said.format(f"{number} normalisation batches in each call", 2, number)
    largest = max((case.trace.scenario.samples for case in right), default=0)
    if largest < MANY or any(case not in right and case.trace.scenario.samples <= largest for case in cases):
        return ""
    return (
        f"its outputs are right in calls of up to {largest} samples: if it cuts larger calls into normalisation "
        "batches of SIZE samples, check it with --norm-batch SIZE --groups 2"
    )


def _explained(cases: Sequence[Case], sizes: Sequence[int]) -> bool:
    """Whether all outputs become clear if calls are cut into batches of some sizes, where these divide them.

    Batches of one sample are left out: they are instance normalisation.
    """
    cut, whole = [], []
    for case, size in zip(cases, sizes, strict=True):
        scenario = case.trace.scenario
        if size == scenario.samples:
            whole.append(case)
        elif size > 1 and scenario.samples % size == 0 and scenario.groups == 1:
            scenario = replace(scenario, norm_batch=size, groups=scenario.samples // size)
            cut.append(Case(case.norm, replace(case.trace, scenario=scenario), case.about))
            cut[-1].steps = case.steps  # the inputs that were given, and not those of this scenario
    if not cut:
        return False
    best = explain([*cut, *whole], deepest=1)[0]
    return "z" not in best.lost and not any(name == "shared_by" for _, c in best.choices for name, _ in c.changes)

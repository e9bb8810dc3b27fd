"""The verdict on a target, from the traces of all scenarios together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mabn_ref.check.conventions import Convention
from mabn_ref.check.explain import Explanation, explain, findings, not_begun, numbers_read_off
from mabn_ref.check.hyper_parameters import LATE
from mabn_ref.check.observe import NO_COUNT, About, Trace
from mabn_ref.check.report import INPUTS, Finding, Report, Row, listed
from mabn_ref.check.scenarios import LIKE, SEVERAL
from mabn_ref.check.smaller_batches import smaller_batches
from mabn_ref.check.tolerance import (
    TENSORS,
    Case,
    Difference,
    compared,
    first_difference,
    roles_by_name,
    rounding_errors,
)


def judge(name: str, norm: str, about: About, found: Sequence[Trace]) -> Report:
    """Explain what a target returned, scenario by scenario."""
    run = [trace for trace in found if not trace.skipped]
    cases = {id(t): Case(norm, t, about) for t in run if t.finished and not _one_value(norm, t)}
    telling = _telling(list(cases.values()))
    if not telling:
        rows = [Row(t.scenario.name, 0, t.skipped or t.failure, {}) for t in found]
        if about.broken:  # this is a difference, not a reason for not running
            refused = {rank: why for rank, why in about.refused.items() if rank not in about.broken}
            return Report(name, norm, "", broken=_broken(about), refused=refused, rows=rows)
        # nothing runs because of the inputs, not because of a scenario that is left out anyway
        why = [trace.failure for trace in run if trace.failure]
        why = why or list(filter(None, about.refused.values())) or [row.why for row in rows]
        return Report(name, norm, "", differences=list(dict.fromkeys(why)), rows=rows)
    best, caches = _without_caches(telling, list(cases.values()))
    read_off = numbers_read_off(best, telling)
    judged = [_row(norm, trace, cases.get(id(trace)), best, about) for trace in found]
    notes = [note for trace in run for note in trace.notes]
    notes += [
        f"inference changes {name}" for c in cases.values() for name in c.trace.changed if name not in _disturbed(c)
    ]
    notes += _digits(best, telling)
    notes += ["it raises in float64, so everything was run in float32"] * about.single
    notes += [f"{', '.join(caches)}: not a moving statistic, by its numbers; everything else agrees"] * bool(caches)
    single = [case for case in cases.values() if case.trace.scenario.dtype == "float32" and not case.trace.failure]
    notes += [] if best.conforms else about.limits
    exact = single[:1] if best.conforms and telling[0].channels <= WIDEST else []
    rows = [row for row, _ in judged]
    seen = {len(t.space) + 2 for t, row in zip(found, rows, strict=True) if row.errors}
    differing = {len(t.space) + 2 for t, (_, difference) in zip(found, judged, strict=True) if difference}
    return Report(
        target=name,
        norm=norm,
        preset=best.preset.name,
        hyper=read_off,
        findings=[*findings(best, telling), *_not_begun(best, telling, found), *_moved(list(cases.values()))],
        differences=_each_once([difference for _, difference in judged if difference]),
        rows=rows,
        ranks=sorted(seen),
        differing=sorted(differing),
        usual=len(run[0].space) + 2,
        refused={rank: why for rank, why in about.refused.items() if rank not in seen and rank not in about.broken},
        broken=_broken(about),
        not_run={row.scenario: row.why for row in rows if not row.errors},
        notes=list(dict.fromkeys(notes)),
        limits=[
            *_precision(about, best, notes),
            *_refused_numbers(norm, found),
            *(about.limits if best.conforms else []),
            *["its constants could not be set"] * (norm == "frozen-bn" and not all(t.frozen for t in run)),
            *["how its averages move late in training is not known"] * any(row.why == COUNTED for row in rows),
            *_without_gradients(best, telling),
            *_limits(about, best, read_off),
        ],
        ulps=rounding_errors(exact[0], best.convention(exact[0])) if exact else {},
        smaller=_smaller(best, telling),
    )


def _broken(about: About) -> str:
    """What goes wrong with inputs that forward accepts, each reason once."""
    by_words: dict[str, list[str]] = {}
    for rank in sorted(about.broken):
        by_words.setdefault(about.broken[rank], []).append(INPUTS[rank])
    everywhere = len(about.broken) == len(about.refused)
    return "; ".join(
        f"{words} on all inputs that were tried"
        if everywhere and len(by_words) == 1
        else f"on {listed(inputs)} {words}"
        for words, inputs in by_words.items()
    )


def _precision(about: About, best: Explanation, notes: Sequence[str]) -> list[str]:
    """What the headline says about the precision."""
    if about.single:
        return ["it raises in float64, so everything was run in float32"]
    found = ["it computes in float32, in part or in whole, where it is given float64"] * (
        about.coarse and "z" not in best.lost
    )
    told = [
        match.groups() for note in notes if (match := re.fullmatch(r"(z|dx) is (\w+) where x is (\w+)(.*)", note))
    ]
    for name, kept, given, at in sorted(told, key=lambda match: match[0] != "z"):  # of dx, what is not true of z
        if name == "z" or ("z", kept, given, "") not in told:
            found.append(f"{'it returns' if name == 'z' else 'its dx is'} {kept} where it is given {given}{at}")
    return list(dict.fromkeys(found))


COUNTED = "its averages are divided by a count or by weights, so setting the count alone makes them wrong"
"""A layer that averages all batches, or starts its averages at 0, cannot be aged by setting its count alone."""
REFUSALS = ("ValueError", "AssertionError", "NotImplementedError")
"""Errors by which code says that it refuses an input; NumPy's own, about shapes for example, do not say so."""


def _counts(convention: Convention) -> bool:
    """Whether the averages are divided by something that depends on the count of iterations."""
    return convention.decay == "cumulative" or "debiased" in (convention.start, convention.infer_by)


def _refuses(norm: str, trace: Trace) -> bool:
    """Whether forward refuses at once the number of samples that a scenario tests, which is not a fault."""
    of_a_number = trace.scenario.name.startswith(("|B| = ", "N = ")) and not _one_value(norm, trace)
    return of_a_number and trace.raised in REFUSALS and trace.part == "forward" and not trace.finished


def _refused_numbers(norm: str, found: Sequence[Trace]) -> list[str]:
    """What the headline says about numbers of samples that the layer refuses."""
    numbers = [str(trace.scenario.norm_batch) for trace in found if _refuses(norm, trace)]
    return [f"it refuses calls of {listed(numbers)} sample{'s' * (numbers != ['1'])}"] if numbers else []


def _without_gradients(best: Explanation, telling: Sequence[Case]) -> list[str]:
    """What the headline says about gradients that the layer does not return, so that they were not compared."""
    if "z" in best.lost:
        return []
    kind = best.convention(telling[0]).affine
    names = [name for name in ("gamma", "beta") if kind != f"{name} forgotten"]
    names = [name for name in names if not any(f"d{name}" in case.trace.values for case in telling)]
    return [f"it returns no gradient of {listed(names)}"] if names else []


def _limits(about: About, best: Explanation, read_off: Mapping[str, Any]) -> list[str]:
    """What the headline says about numbers whose names the check does not know."""
    found = []
    held = [*read_off.values(), *(value for _, choice in best.choices for _, value in choice.changes)]
    held += [part for value in held if isinstance(value, tuple) for part in value]
    numbers = [v for value in held if isinstance(value, int | float) for v in (value, 1 - value)]
    for name, value in about.unknown.items():
        if read_off and not any(abs(value - v) < 1e-9 for v in numbers):
            found.append(f"whether it uses {name}={value:g} is not known: the check does not know that name")
    return found


def _smaller(best: Explanation, telling: Sequence[Case]) -> str:
    """What to say of a layer whose normalisation batches are smaller than a call."""
    if "z" not in best.lost:
        return ""
    right = [case for case in telling if first_difference(case, best.convention(case), ("z",)) is None]
    return smaller_batches(telling, right)


def _not_begun(best: Explanation, telling: Sequence[Case], found: Sequence[Trace]) -> list[Finding]:
    """What a layer may do later is not seen if it keeps no count by which it could begin to."""
    words = not_begun(best, telling) if any(trace.skipped == NO_COUNT for trace in found) else ""
    return [Finding("z", words)] * bool(words)


def _moved(cases: Sequence[Case]) -> list[Finding]:
    """The moving statistics that inference changes, in any scenario."""
    names = list(dict.fromkeys(name for case in cases for name in _disturbed(case)))
    words = f"Inference changes {' and '.join(names)}; it must leave the moving statistics alone."
    return [Finding("behaviour", words, "inference-leaves-traces")] * bool(names)


FEW_DIGITS = (1e-4, 5e-2)
"""Relative errors of z that arise if part of the arithmetic has 8 or 11 significant bits."""
COARSE = "as if its statistics were taken in float16 or bfloat16"
"""This forward pass goes in steps, so a backward pass that is not its derivative would prove nothing."""


def _digits(best: Explanation, telling: Sequence[Case]) -> list[str]:
    """What to say if nothing explains z, although it is nearly right in every step of every scenario."""
    if "z" not in best.lost:
        return []
    worst = [compared(case, best.convention(case)).errors["z"] for case in telling]
    if not (FEW_DIGITS[0] < max(worst) < FEW_DIGITS[1]) or min(worst) < FEW_DIGITS[0] / 10:
        return []  # z is right in some scenario, so precision is not the reason
    return [f"z is right to {max(worst):.0e} everywhere, {COARSE}"]


WIDEST = 8
"""Exact arithmetic of more channels takes too long."""


def _each_once(differences: Sequence[Difference | str]) -> list[Difference | str]:
    """One line per difference: the first of each tensor, or text, with the other scenarios in which it shows."""
    groups: dict[str, tuple[Difference | str, list[str]]] = {}
    for difference in differences:
        if isinstance(difference, Difference):
            scenario, kind = difference.scenario, difference.tensor
        else:
            scenario, _, kind = difference.partition(": ")
            scenario = scenario.partition(", step ")[0]
        groups.setdefault(kind, (difference, []))[1].append(scenario)
    found: list[Difference | str] = []
    for first, (_, *also) in groups.values():
        if isinstance(first, Difference):
            found.append(replace(first, also=tuple(also)))
        else:
            found.append(f"{first} (also: {', '.join(also)})" if also else first)
    return found


def _without_caches(telling: Sequence[Case], cases: Sequence[Case]) -> tuple[Explanation, list[str]]:
    """The best explanation, and what is no moving statistic because nothing reproduces it though all else agrees."""
    best = _by_name(telling, cases, _best(telling, cases))
    roles = [case.roles for case in cases]
    caches: list[str] = []
    while best.lost == {"state"}:
        named = {d.tensor for d in best.unexplained}
        for case in cases:
            case.roles = {name: "" if name in named else role for name, role in case.roles.items()}
        caches += sorted(named)
        best = _best(telling, cases)
    if caches and not best.conforms:
        for case, known in zip(cases, roles, strict=True):
            case.roles = known
        return _best(telling, cases), []
    return best, caches


def _by_name(telling: Sequence[Case], cases: Sequence[Case], best: Explanation) -> Explanation:
    """The best explanation without what a layer keeps of a batch, if that explains as much.

    Averages that never move are at first not taken for averages if something else with such a name moves: some
    classes inherit averages that they do not use.
    """
    averages = {"state", "inferred"}
    if not best.unexplained and all(c.accepted for tensor, c in best.choices if tensor in averages):
        return best
    before = [case.roles for case in cases]
    for case in cases:
        case.roles = roles_by_name(case)
    if before != [case.roles for case in cases]:
        other = _best(telling, cases)
        if other.cost <= best.cost:
            return other
    for case, known in zip(cases, before, strict=True):
        case.roles = known
    return best


def _telling(cases: Sequence[Case]) -> list[Case]:
    """The cases that conventions are read from: complete, in float64 if there are any, and not long."""
    found = [case for case in cases if not (case.trace.scenario.name == SEVERAL and case.about.groups is None)]
    for wanted in (
        lambda case: case.trace.scenario.dtype == "float64",
        lambda case: not case.trace.failure,
        lambda case: case.trace.scenario.steps < 400,
    ):
        found = list(filter(wanted, found)) or found
    return found


def _best(telling: Sequence[Case], cases: Sequence[Case]) -> Explanation:
    """The best explanation of the scenarios from the start and, if there is one, of those late in a schedule too."""
    young = [case for case in telling if not case.trace.scenario.age]
    found = explain(young)
    if len(young) < len(telling) and (
        found[0].unexplained
        or any(compared(case, found[0].convention(case)).differences for case in telling if case not in young)
    ):
        later = explain(telling)
        found = found if len(later[0].unexplained) > len(found[0].unexplained) else later
    norm = telling[0].norm
    if LIKE.get(norm, norm) == "bn" and not any(_averages_seen(case, found[0]) for case in telling):
        found = [e for e in found if not e.preset.changes] or found  # these differ in the averages alone
    best = max(found, key=lambda e: (_steps_alike(e, telling), _defaults_alike(e, telling[0].about)))
    late = next((choice for _, choice in best.choices if choice.changes == (("renorm_from", LATE),)), None)
    if late is None:
        return best
    # r starts after the scenarios used so far; the longest one may show when
    longest = max(cases, key=lambda case: (case.trace.scenario.dtype == "float64", case.trace.finished))
    first = first_difference(longest, best.convention(longest), ("z",))
    if first is None:
        return best
    of_a_call = longest.trace.scenario.groups
    for start in range((first.step - 1) * of_a_call + 1, first.step * of_a_call + 1):
        words = f"r differs from 1 from iteration {start} on."
        exact = replace(late, changes=(("renorm_from", start),), words=words)
        best = replace(best, choices=tuple((t, exact if c is late else c) for t, c in best.choices))
        if first_difference(longest, best.convention(longest), ("z",)) is None:
            break
        late = exact
    return best


def _steps_alike(explanation: Explanation, telling: Sequence[Case]) -> tuple[float, int]:
    """The first step at which z differs in any case, and the sum of these steps over all tensors and cases."""
    earliest, steps = np.inf, 0
    for case in telling:
        differences = compared(case, explanation.convention(case)).differences
        steps += sum(differences[t].step if t in differences else case.trace.finished + 2 for t in TENSORS)
        if "z" in differences:
            earliest = min(earliest, differences["z"].step)
    return earliest, steps


def _defaults_alike(explanation: Explanation, about: About) -> int:
    """How many of the layer's default numbers are those of the convention."""
    return sum(explanation.preset.defaults.get(name) == value for name, value in about.defaults.items())


def _averages_seen(case: Case, best: Explanation) -> bool:
    """Whether anything that depends on batch norm's moving averages was compared and understood."""
    return any(case.roles.values()) or ("inferred" in case.trace.values and "inferred" not in best.lost)


def _one_value(norm: str, trace: Trace) -> bool:
    """Whether there is one value per channel, whose variance is zero."""
    return LIKE.get(norm, norm) in ("bn", "brn") and trace.scenario.norm_batch * int(np.prod(trace.space)) == 1


def _disturbed(case: Case) -> list[str]:
    """The moving statistics that inference changed; one of two with the same role may be a cache."""
    still = {role for name, role in case.roles.items() if name not in case.trace.changed}
    return [name for name in case.trace.changed if case.roles.get(name) and case.roles[name] not in still]


def _row(norm: str, trace: Trace, case: Case | None, best: Explanation, about: About) -> tuple[Row, Difference | str]:
    """A row of the table, and what is not explained in it."""
    name, failure = trace.scenario.name, trace.failure
    if trace.skipped:
        return Row(name, 0, trace.skipped, {}), ""
    if _one_value(norm, trace):
        if trace.not_finite:
            return Row(name, 0, failure, {}), f"{name}: one value per channel: {failure}"
        return Row(name, 0, f"one value per channel: {failure or 'the output is beta'}", {}), ""
    if _refuses(norm, trace):
        return Row(name, 0, failure, {}), ""
    if failure and not trace.finished and name == "ramps":
        return Row(name, 0, f"it takes no ramps: {failure}", {}), ""
    step = f", step {trace.failed_at}" if trace.failed_at else ""
    stopped = f"{name}{step}: {failure}" if failure else ""
    if case is None:
        return Row(name, trace.finished, failure, {}), stopped
    convention = best.convention(case)
    comparison = compared(case, convention)
    difference = comparison.first() or stopped
    late = trace.scenario.age and not stopped and {*comparison.differences} <= {"state", "inferred"}
    if difference and late and _counts(convention):
        return Row(name, 0, COUNTED, {}), ""
    whole = replace(convention, shared_by="call")
    if difference and name == SEVERAL and about.groups is None and first_difference(case, whole, best.agreed) is None:
        return Row(name, 0, "each call is one normalisation batch, whatever norm_batch says", {}), ""
    return Row(name, trace.finished, failure, comparison.errors), difference

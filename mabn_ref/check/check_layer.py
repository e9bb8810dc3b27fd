"""The check itself: run a target, explain what differs, and say so."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mabn_ref.check.behaviour import Outcome, behave
from mabn_ref.check.explain import Explanation, agreed, explain, findings, numbers_read_off
from mabn_ref.check.hyper_parameters import LATE
from mabn_ref.check.observe import About, Trace, derivative
from mabn_ref.check.report import Finding, Report, Row
from mabn_ref.check.run import Apart, Failed, Here, Step, plan, runner, traces
from mabn_ref.check.scenarios import ALONE, LIKE, MODULES, SEVERAL, scenarios
from mabn_ref.check.tolerance import (
    TENSORS,
    Case,
    Difference,
    compared,
    first_difference,
    roles_of,
    rounding_errors,
)

__all__ = ["ConformanceError", "assert_conforms", "check", "judge", "with_behaviour"]


class ConformanceError(AssertionError):
    """A target does not compute what it is to compute; the message is the report."""


def check(
    target: Any,
    norm: str,
    *,
    norm_batch: int | None = None,
    groups: int = 1,
    short: bool = False,
    time_limit: float = 20.0,
    extra: Mapping[str, Any] | None = None,
    axis: int | None = None,
    call: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Report:
    r"""Run a layer over the scenarios, and explain what it does.

    Parameters
    ----------
    target : str or object
        A dotted path such as "my_package.norms:MyMABN2d", which is run in a process of its own; or what it names: a
        `Target`, a module with the functions of `mabn_ref.norms`, a layer class of a framework, an instance of one,
        or a function of the number of channels that returns one.
    norm : str
        What it is to be, a key of `mabn_ref.norms.NORMS`: "bn", "brn", "modified-bn", "mabn", "gn", ...
    norm_batch : int, optional
        \|B\|, the only one; several by default. The samples of a call, where each is normalised alone.
    groups : int
        Normalisation batches in every call.
    short : bool
        A short set of scenarios, for continuous integration.
    time_limit : float
        Seconds for every scenario.
    extra : mapping, optional
        Keywords for the layer's constructor.
    axis : int, optional
        The axis of the layer's channels; found out by default.
    call : mapping, optional
        Keywords for every call of the layer; the values "training" and "inference" are the mode.
    progress : callable, optional
        Called with the name of every scenario before it runs.

    Returns
    -------
    Report
        ``report.conforms`` is the verdict; ``str(report)`` and ``report.to_dict()`` are for people and for machines.

    Raises
    ------
    ValueError
        If `norm` is none of these, or the path names nothing, or `groups` is given where samples are alone.
    TypeError
        If the target is none.

    Examples
    --------
    >>> from mabn_ref.mistakes import named, wrong
    >>> report = check(wrong(named("bn-no-g")), "bn", norm_batch=4, short=True)
    >>> report.conforms, [finding.mistake for finding in report.findings]
    (False, ['bn-no-g'])
    """
    if norm not in MODULES:
        raise ValueError(f"norm is {norm!r}, expected one of {', '.join(MODULES)}")
    if norm in ALONE and groups != 1:
        raise ValueError(
            f"groups is {groups}, expected 1: it counts normalisation batches, and {norm} has none; a layer gets "
            "its groups of channels as a keyword (--with on the command line)"
        )
    wanted = scenarios(norm, norm_batch=norm_batch, groups=groups, short=short)
    name = target if isinstance(target, str) else getattr(target, "__name__", type(target).__name__)
    told = progress or (lambda scenario: None)
    with runner(target, norm, extra or {}, time_limit, axis=axis, call=call) as runs:
        told("what it takes")
        about = runs.about(wanted[1])  # most scenarios have its settings: what was compiled for it is used again
        report = judge(name, norm, about, traces(runs, about, wanted, told))
        first = plan(about, scenarios(norm, norm_batch=norm_batch)[:1])[0]
        if first.skipped or not report.preset:
            return report
        told("behaviour")
        report = with_behaviour(report, _behaviour(runs, first))
        lost = {getattr(difference, "tensor", "") for difference in report.differences}
        if not lost & {"z", "dx", "dgamma", "dbeta"} or about.single:
            return report
        with contextlib.suppress(Failed):
            report = replace(report, taylor=runs.ask(derivative, first))
        return report


def _behaviour(runs: Here | Apart, first: Step) -> list[Outcome]:
    try:
        return [Outcome(*row) for row in json.loads(runs.ask(behave, first))]
    except Failed as why:
        return [Outcome("behaviour", "not run", str(why))]


OF_THE_OUTPUT = ("second-derivative-wrong", "one-pass-variance", "float16-range", "bfloat16-range")
"""What a probe may find only because the output itself is wrong, which is said already."""


def with_behaviour(report: Report, found: Sequence[Outcome]) -> Report:
    """Return a report with what the probes found."""
    lost = {getattr(difference, "tensor", "") for difference in report.differences}
    wrong = {finding.tensor for finding in report.findings if not finding.accepted}
    by_eps = any("eps" in finding.words for finding in report.findings if not finding.accepted)
    known: dict[str, str] = {}
    if "z" in lost:
        known = dict.fromkeys(OF_THE_OUTPUT, "its output is not understood")
    elif (lost | wrong) & {"z", "dx"}:
        known = {"second-derivative-wrong": "its dx is another's"}
    if by_eps:
        known["not-finite-on-a-constant"] = "it has another eps"
    found = [o._replace(kind="not run", words=known[o.mistake]) if o.mistake in known else o for o in found]
    faults = [o for o in found if o.kind == "fault"]
    return replace(
        report,
        findings=[*report.findings, *(Finding("behaviour", o.words, o.mistake) for o in faults)],
        limits=[o.words for o in found if o.kind == "limit"],
        not_run=report.not_run | {o.probe: o.words for o in found if o.kind == "not run"},
        behaviour=[o.probe for o in found if o.kind == "fine"],
    )


def assert_conforms(target: Any, norm: str, **options: Any) -> None:
    """Check a layer in a test: the arguments are those of `check`.

    Raises
    ------
    ConformanceError
        If it does not conform, with the report.

    Examples
    --------
    >>> from mabn_ref.norms import modified_batch_norm
    >>> assert_conforms(modified_batch_norm, "modified-bn", short=True)
    """
    report = check(target, norm, **options)
    if not report.conforms:
        raise ConformanceError(str(report))


def judge(name: str, norm: str, about: About, found: Sequence[Trace | Step]) -> Report:
    """Explain what a target returned, scenario by scenario."""
    given = about.fields(norm)
    found = [Step(t.scenario, t.space, t.skipped) if isinstance(t, Trace) and t.skipped else t for t in found]
    run = [item for item in found if isinstance(item, Trace)]
    cases = {id(t): Case(norm, t, given) for t in run if t.finished and not _one_value(norm, t)}
    telling = _telling(list(cases.values()), about)
    if not telling:
        rows = [Row(t.scenario.name, 0, t.failure if isinstance(t, Trace) else t.skipped, {}) for t in found]
        # a reason why nothing runs is one for the inputs, and not for a scenario that is left out besides
        why = [trace.failure for trace in run if trace.failure]
        why = why or list(filter(None, about.refused.values())) or [row.why for row in rows]
        return Report(name, norm, "", differences=list(dict.fromkeys(why)), rows=rows)
    best, caches = _without_caches(telling, list(cases.values()), about)
    judged = [
        _row(norm, item, cases.get(id(item)), best, about)
        if isinstance(item, Trace)
        else (Row(item.scenario.name, 0, item.skipped, {}), "")
        for item in found
    ]
    notes = [note for trace in run for note in trace.notes]
    notes += [
        f"inference changes {name}" for c in cases.values() for name in c.trace.changed if name not in _disturbed(c)
    ]
    notes += _digits(best, telling)
    notes += ["it raises in float64, so everything was run in float32"] * about.single
    notes += [f"{', '.join(caches)}: no moving statistic, by its numbers; all else agrees"] * bool(caches)
    single = [case for case in cases.values() if case.trace.scenario.dtype == "float32" and not case.trace.failure]
    fine = not best.unexplained and all(choice.accepted for _, choice in best.choices)
    exact = single[:1] if fine and telling[0].channels <= WIDEST else []
    rows = [row for row, _ in judged]
    seen = {len(t.space) + 2 for t, row in zip(found, rows, strict=True) if row.errors}
    return Report(
        target=name,
        norm=norm,
        preset=best.preset.name,
        hyper=numbers_read_off(best, telling),
        findings=findings(best, telling),
        differences=_each_once([difference for _, difference in judged if difference]),
        rows=rows,
        ranks=sorted(seen),
        refused={rank: why for rank, why in about.refused.items() if rank not in seen},
        not_run={row.scenario: row.why for row in rows if not row.errors},
        notes=list(dict.fromkeys(notes)),
        ulps=rounding_errors(exact[0], best.convention(exact[0])) if exact else {},
    )


FEW_DIGITS = (1e-4, 5e-2)
"""Relative errors of z as they come about where part of the arithmetic has 8 or 11 significant bits."""


def _digits(best: Explanation, telling: Sequence[Case]) -> list[str]:
    """What is to be said where nothing explains z, though it is nearly right in every step of every scenario."""
    if "z" in agreed(best):
        return []
    worst = max(compared(case, best.convention(case))[1]["z"] for case in telling)
    if not FEW_DIGITS[0] < worst < FEW_DIGITS[1]:
        return []
    return [f"z is right to {worst:.0e} everywhere, as if its statistics were taken in float16 or bfloat16"]


WIDEST = 8
"""Exact arithmetic of more channels takes too long."""


def _each_once(differences: Sequence[Difference | str]) -> list[Difference | str]:
    """One line for one difference: the first of a tensor, or of a text, with the scenarios where it shows too."""
    found: dict[str, Difference | str] = {}
    also: dict[str, list[str]] = {}
    for difference in differences:
        if isinstance(difference, Difference):
            scenario, kind = difference.scenario, difference.tensor
        else:
            scenario, _, kind = difference.partition(": ")
            scenario = scenario.partition(", step ")[0]
        if kind in found:
            also.setdefault(kind, []).append(scenario)
        else:
            found[kind] = difference
    return [
        replace(d, also=tuple(also.get(kind, ())))
        if isinstance(d, Difference)
        else f"{d} (also: {', '.join(also[kind])})"
        if kind in also
        else d
        for kind, d in found.items()
    ]


def _without_caches(telling: Sequence[Case], cases: Sequence[Case], about: About) -> tuple[Explanation, list[str]]:
    """The best explanation, and what is no moving statistic: nothing reproduces it, and everything else agrees."""
    best = _best(telling, cases, about)
    caches: list[str] = []
    while best.unexplained and all(d.tensor not in TENSORS for d in best.unexplained):
        named = {d.tensor for d in best.unexplained}
        for case in cases:
            case.roles = {name: "" if name in named else role for name, role in case.roles.items()}
        caches += sorted(named)
        best = _best(telling, cases, about)
    if caches and (best.unexplained or any(not choice.accepted for _, choice in best.choices)):
        for case in cases:
            case.roles = roles_of(case)
        return _best(telling, cases, about), []
    return best, caches


def _telling(cases: Sequence[Case], about: About) -> list[Case]:
    """The cases from which conventions are told: whole, in float64 if there are any, and not long."""
    found = [case for case in cases if not (case.trace.scenario.name == SEVERAL and about.groups is None)]
    for wanted in (
        lambda case: case.trace.scenario.dtype == "float64",
        lambda case: not case.trace.failure,
        lambda case: case.trace.scenario.steps < 400,
    ):
        found = list(filter(wanted, found)) or found
    return found


def _best(telling: Sequence[Case], cases: Sequence[Case], about: About) -> Explanation:
    """The best explanation: of the scenarios from the start, and of those later in a schedule if that can be had."""
    young = [case for case in telling if not case.trace.scenario.age]
    # a layer that is handed the whole Config need not heed all of it, and may have phases of its own
    whole = young[0].given >= set(vars(young[0].config))
    free = frozenset({"warmup", "renorm_from"} if whole else ())
    found = explain(young, about.numbers, free=free, tracks=about.tracks, asked=about.asked)
    if len(young) < len(telling) and (
        found[0].unexplained or any(_difference(case, found[0]) for case in telling if case not in young)
    ):
        later = explain(telling, about.numbers, free=free, tracks=about.tracks, asked=about.asked)
        found = found if len(later[0].unexplained) > len(found[0].unexplained) else later
    norm = telling[0].norm
    if LIKE.get(norm, norm) == "bn" and not any(_averages_seen(case, found[0]) for case in telling):
        found = [e for e in found if not e.preset.changes] or found  # whose changes are in the averages alone
    best = max(found, key=lambda e: sum(e.preset.defaults.get(name) == v for name, v in about.defaults.items()))
    late = next((choice for _, choice in best.choices if choice.changes == (("renorm_from", LATE),)), None)
    if late is None:
        return best
    # r starts after the scenarios that tell; the longest one may show when
    longest = max(cases, key=lambda case: (case.trace.scenario.dtype == "float64", case.trace.finished))
    first = first_difference(longest, best.convention(longest), ("z",))
    if first is None:
        return best
    words = f"r is other than 1 from iteration {first.step} on."
    exact = replace(late, changes=(("renorm_from", first.step),), words=words)
    return replace(best, choices=tuple((t, exact if choice is late else choice) for t, choice in best.choices))


def _averages_seen(case: Case, best: Explanation) -> bool:
    """Whether anything that batch norm's moving averages go into was compared, and understood."""
    lost = [difference.tensor for difference in best.unexplained]
    return any(case.roles.values()) or ("inferred" in case.trace.values and "inferred" not in lost)


def _difference(case: Case, best: Explanation) -> Difference | None:
    return first_difference(case, best.convention(case), TENSORS)


def _one_value(norm: str, trace: Trace) -> bool:
    """Whether there is one value a channel, whose variance is zero."""
    return LIKE.get(norm, norm) in ("bn", "brn") and trace.scenario.norm_batch * int(np.prod(trace.space)) == 1


def _disturbed(case: Case) -> list[str]:
    """The moving statistics that inference changed: one beside another by the same name may be a cache."""
    still = {role for name, role in case.roles.items() if name not in case.trace.changed}
    return [name for name in case.trace.changed if case.roles.get(name) and case.roles[name] not in still]


def _row(norm: str, trace: Trace, case: Case | None, best: Explanation, about: About) -> tuple[Row, Difference | str]:
    """A line of the table, and what is not explained in it."""
    name, failure = trace.scenario.name, trace.failure
    if _one_value(norm, trace):
        if "nan" in failure or "inf" in failure:
            return Row(name, 0, failure, {}), f"{name}: one value a channel: {failure}"
        return Row(name, 0, f"one value a channel: {failure or 'the output is beta'}", {}), ""
    if failure and not trace.finished and name == "ramps":
        return Row(name, 0, f"it takes no ramps: {failure}", {}), ""
    stopped = f"{name}, step {trace.failed_at}: {failure}" if failure else ""
    if case is None:
        return Row(name, trace.finished, failure, {}), stopped
    convention = best.convention(case)
    changed = [f"inference changes {moving}" for moving in _disturbed(case)]
    moved = f"{name}: {', '.join(changed)}" if changed else ""
    first, errors = compared(case, convention)
    difference = first or stopped or moved
    if moved and isinstance(difference, Difference) and difference.tensor == "inferred":
        difference = moved  # and so its output is another's
    whole = replace(convention, shared_by="call")
    if (
        difference
        and name == SEVERAL
        and about.groups is None
        and first_difference(case, whole, agreed(best)) is None
    ):
        return Row(name, 0, "a call is one normalisation batch, whatever norm_batch says", {}), ""
    return Row(name, trace.finished, failure, errors), difference

"""The check itself: run a target, explain what differs, and say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mabn_ref.check.compare import TENSORS, Case, Difference, first_difference, worst_errors
from mabn_ref.check.conventions import Convention
from mabn_ref.check.hyper import LATE
from mabn_ref.check.observe import Trace
from mabn_ref.check.plan import About, Step, plan
from mabn_ref.check.report import Report, Row
from mabn_ref.check.rounding import rounding
from mabn_ref.check.run import derivative_of, run_here, run_path
from mabn_ref.check.scenarios import ALONE, LIKE, MODULES, scenarios
from mabn_ref.check.search import Explanation, convention_of, explain
from mabn_ref.check.words import findings, hyper_parameters

__all__ = ["ConformanceError", "assert_conforms", "check"]


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
) -> Report:
    r"""Run a layer over the scenarios, and explain what it does.

    Parameters
    ----------
    target : str or object
        A dotted path such as "my_package.norms:MyMABN2d", which is run in a process of its own; or what it names: a
        `Target`, a module with the functions of `mabn_ref.norms`, a layer class of a framework, an instance of one,
        or a function of the number of channels that returns one.
    norm : str
        What it is to be: "bn", "brn", "modified-bn" or "mabn"; "gn", "ln" or "in", group, layer or instance
        normalisation; "online", Online Normalization; or "eval-norm".
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
    options = {"norm_batch": norm_batch, "groups": groups, "short": short, "extra": dict(extra or {})}
    run = run_path if isinstance(target, str) else run_here
    about, found = run(target, norm, options, time_limit)
    name = target if isinstance(target, str) else getattr(target, "__name__", type(target).__name__)
    report = _judge(name, norm, about, found)
    first = next(
        (step for step in plan(about, [scenarios(norm, norm_batch=norm_batch)[0]]) if not step.skipped), None
    )
    if first is None or about.single or not any(getattr(d, "tensor", "") in ("z", "dx") for d in report.differences):
        return report
    return replace(report, taylor=derivative_of(target, norm, options, first, time_limit))


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


def _judge(name: str, norm: str, about: About, found: Sequence[Trace | Step]) -> Report:
    given = about.fields(norm)
    traces = [item for item in found if isinstance(item, Trace)]
    cases = {id(trace): Case(norm, trace) for trace in traces if trace.finished and not _one_value(norm, trace)}
    told = _telling(list(cases.values()), about)
    if not told:
        rows = [
            Row(item.scenario.name, 0, item.failure if isinstance(item, Trace) else item.skipped, {})
            for item in found
        ]
        why = [trace.failure for trace in traces if trace.failure] or [row.why for row in rows]
        return Report(name, norm, "", differences=list(dict.fromkeys(why)), rows=rows)
    best = _started(_best(told, given, about), list(cases.values()), given)
    rows, differences, notes = [], [], [note for trace in traces for note in trace.notes]
    notes += [
        f"inference changes {name}" for c in cases.values() for name in c.trace.changed if not c.roles.get(name)
    ]
    notes += ["it raises in float64, so everything was run in float32"] * about.single
    for item in found:
        if isinstance(item, Step):
            rows.append(Row(item.scenario.name, 0, item.skipped, {}))
            continue
        row, difference = _row(norm, item, cases.get(id(item)), best, given)
        if (
            difference
            and item.scenario.name == SEVERAL
            and about.groups is None
            and _one_batch(cases, item, best, given)
        ):
            row, difference = (
                Row(row.scenario, 0, "a call is one normalisation batch, whatever norm_batch says", {}),
                "",
            )
        rows.append(row)
        differences += [difference] if difference else []
    single = [case for case in cases.values() if case.trace.scenario.dtype == "float32" and not case.trace.failure]
    return Report(
        target=name,
        norm=norm,
        preset=best.preset.name,
        hyper=hyper_parameters(best, told[0], given),
        findings=findings(best, told, given),
        differences=differences,
        rows=rows,
        notes=list(dict.fromkeys(notes)),
        ulps=rounding(single[0], _convention(single[0], best, given)) if single and not best.unexplained else {},
    )


SEVERAL = "several in a call"


def _telling(cases: Sequence[Case], about: About) -> list[Case]:
    """The cases from which conventions are told: whole, in float64 if there are any, and not long."""
    told = [case for case in cases if not (case.trace.scenario.name == SEVERAL and about.groups is None)]
    for wanted in (
        lambda case: case.trace.scenario.dtype == "float64",
        lambda case: not case.trace.failure,
        lambda case: case.trace.scenario.steps < 400,
    ):
        told = list(filter(wanted, told)) or told
    return told


def _best(told: Sequence[Case], given: frozenset[str], about: About) -> Explanation:
    """The best explanation: of the scenarios from the start, and of those later in a schedule if that can be had."""
    young = [case for case in told if not case.trace.scenario.age]
    # a layer that is handed the whole Config need not heed all of it, and may have phases of its own
    whole = given >= set(vars(told[0].config))
    free = frozenset({"warmup", "renorm_from"} if whole else ())
    found = explain(young, given, about.numbers, free=free)
    if len(young) < len(told) and (
        found[0].unexplained or any(_difference(case, found[0], given) for case in told if case not in young)
    ):
        later = explain(told, given, about.numbers, free=free)
        found = found if len(later[0].unexplained) > len(found[0].unexplained) else later
    if LIKE.get(told[0].norm, told[0].norm) == "bn" and not any(_averages_seen(case, found[0]) for case in told):
        found = [e for e in found if not e.preset.changes] or found  # whose changes are in the averages alone
    return max(found, key=lambda e: sum(e.preset.defaults.get(name) == v for name, v in about.defaults.items()))


def _averages_seen(case: Case, best: Explanation) -> bool:
    """Whether anything that batch norm's moving averages go into was compared, and understood."""
    lost = [difference.tensor for difference in best.unexplained]
    return any(case.roles.values()) or ("inferred" in case.trace.values and "inferred" not in lost)


def _started(best: Explanation, cases: Sequence[Case], given: frozenset[str]) -> Explanation:
    """Where r starts late, find in the longest scenario when."""
    late = next((pair for pair in best.choices if pair[1].changes == (("renorm_from", LATE),)), None)
    longest = max(cases, key=lambda case: (case.trace.scenario.dtype == "float64", case.trace.finished))
    first = first_difference(longest, _convention(longest, best, given), ("z",))
    if late is None or first is None:
        return best
    words = f"r is other than 1 from iteration {first.step} on."
    found = replace(late[1], changes=(("renorm_from", first.step),), words=words)
    return replace(best, choices=tuple(("z", found) if pair is late else pair for pair in best.choices))


def _convention(case: Case, best: Explanation, given: frozenset[str]) -> Convention:
    return convention_of(case, best.preset, [choice for _, choice in best.choices], given)


def _difference(case: Case, best: Explanation, given: frozenset[str]) -> Difference | None:
    return first_difference(case, _convention(case, best, given), TENSORS)


def _one_batch(cases: Mapping[int, Case], trace: Trace, best: Explanation, given: frozenset[str]) -> bool:
    """Whether a scenario is explained by a call that is one normalisation batch."""
    case = cases.get(id(trace))
    if case is None:
        return False
    convention = replace(_convention(case, best, given), shared_by="call")
    return first_difference(case, convention, TENSORS) is None


def _one_value(norm: str, trace: Trace) -> bool:
    """Whether there is one value a channel, whose variance is zero."""
    return LIKE.get(norm, norm) in ("bn", "brn") and trace.scenario.norm_batch * int(np.prod(trace.space)) == 1


def _row(
    norm: str, trace: Trace, case: Case | None, best: Explanation, given: frozenset[str]
) -> tuple[Row, Difference | str]:
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
    errors = worst_errors(case, _convention(case, best, given))
    changed = [f"inference changes {moving}" for moving in trace.changed if case.roles.get(moving)]
    moved = f"{name}: {', '.join(changed)}" if changed else ""
    return Row(name, trace.finished, failure, errors), _difference(case, best, given) or stopped or moved

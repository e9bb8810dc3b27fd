"""The check itself: run a target, explain what differs, and report it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mabn_ref.arrays import check_at_least
from mabn_ref.check.behaviour import Outcome, laid_to_causes, outcomes, with_behaviour
from mabn_ref.check.explain import explain
from mabn_ref.check.inquire import derivative, inquire
from mabn_ref.check.observe import About, Trace, observe
from mabn_ref.check.probes import PROBES, Probe
from mabn_ref.check.report import Report
from mabn_ref.check.run import Apart, Failed, Here, instead, plan, runner, traces
from mabn_ref.check.scenarios import ALONE, LIKE, MODULES, Scenario, scenarios
from mabn_ref.check.tolerance import Case
from mabn_ref.check.verdict import COARSE, judge


class ConformanceError(AssertionError):
    """A target does not compute what it should; the message is the report."""


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
        A dotted path such as "my_package.norms:MyMABN2d", which is run in its own process; or the object itself: a
        `Target`, a module with the functions of `mabn_ref.norms`, a layer class of a framework, an instance of one,
        or a function of the number of channels that returns one.
    norm : str
        What the layer should be, a key of `mabn_ref.norms.NORMS`: "bn", "brn", "modified-bn", "mabn", "gn", ...
    norm_batch : int, optional
        The only \|B\| to run; several by default. The samples per call, if each is normalised alone.
    groups : int
        Normalisation batches in every call.
    short : bool
        A short set of scenarios, for continuous integration.
    time_limit : float
        Seconds allowed for each scenario, 0.1 or more.
    extra : mapping, optional
        Keywords for the layer's constructor.
    axis : int, optional
        The axis of the layer's channels; found automatically by default.
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
        If `norm` is none of these, the path names nothing, `groups` is given for samples normalised alone, or
        `time_limit` is too short.
    TypeError
        If the target is not one of these.

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
            f"groups is {groups}, expected 1: it counts normalisation batches, and {norm} has none; pass "
            "groups of channels as a keyword of the layer (--with on the command line)"
        )
    check_at_least("time_limit", time_limit, 0.1)
    wanted = scenarios(norm, norm_batch=norm_batch, groups=groups, short=short)
    name = target if isinstance(target, str) else getattr(target, "__name__", type(target).__name__)
    told = progress or (lambda scenario: None)
    with runner(target, norm, extra or {}, time_limit, axis=axis, call=call) as runs:
        told("what it takes")
        try:
            about = runs.about(wanted[1])  # most scenarios have its settings and reuse what is compiled for it
            report = judge(name, norm, about, traces(runs, about, wanted, told))
            either = bool(about.other_axes)
            if either:
                about, report = _of_either_axis(runs, about, report, wanted, told)
        except Failed as why:
            return Report(name, norm, "", differences=[f"when it was first called: {why}"])
        first = plan(about, [replace(wanted[0], groups=1)])[0]
        if first.skipped or not report.preset:
            return report
        told("behaviour")
        report = with_behaviour(report, _behaviour(runs, first))
        if SHARED in report.mistakes and isinstance(runs, Apart):
            report = _not_shared(report, runs, about, first)
        if report.lost & {"z", "dx", "dgamma", "dbeta"} and not any(COARSE in note for note in report.notes):
            with contextlib.suppress(Failed):
                report = replace(report, taylor=runs.ask(derivative, first))
        odd = [finding for finding in report.wrong if finding.tensor in ("state", "z")]
        if not report.smaller and ("z" in report.lost or len(odd) + bool(report.differences) > 1):
            told("other normalisers")
            if either:  # another one may have its channels on another axis
                runs.turn(None)
            report = replace(report, other=_other(runs, norm, first.scenario.norm_batch))
        return report


def _of_either_axis(
    runs: Here | Apart, about: About, report: Report, wanted: Sequence[Scenario], told: Callable[[str], None]
) -> tuple[About, Report]:
    """Judge a layer that runs with its channels on either of two axes: by the axis on which it comes nearer."""
    taken, other = about.axis or -1, about.other_axes[0]
    if about.clear:
        words = f"gamma and beta belong to axis {taken}, which was used; --axis {other} uses the other"
    elif report.conforms:
        words = f"axis {taken} was used, and with it the layer conforms"
    else:
        runs.turn(other)
        there = runs.about(wanted[1])
        second = judge(report.target, report.norm, there, traces(runs, there, wanted, told))
        words = f"axis {taken} and axis {other} were both tried; "
        if second.conforms or len(second.differences) < len(report.differences):
            taken, other, about, report = other, taken, there, second
        else:
            runs.turn(taken)
        words += f"this report is for axis {taken}"
        words += "" if report.conforms else f", and the layer conforms with neither; --axis {other} shows the other"
    note = f"it runs with its channels on axis {taken} and on axis {other}: {words}"
    return about, replace(report, notes=[*report.notes, note])


FEW = 5
"""Steps enough to tell one normaliser from another."""


def _other(runs: Here | Apart, norm: str, norm_batch: int) -> str:
    """The nearest other normaliser that has the layer's outputs over a few steps.

    Return "" if there is none, or if the layer's outputs in the first scenario are those of `norm`, since Batch
    Renormalization starts as batch norm. The channels are left on the axis that suits the last normaliser tried.
    """
    found: dict[str, tuple[int, int, int]] = {}
    for other in (norm, *(name for name in MODULES if name != norm and name not in LIKE)):
        first = scenarios(other, norm_batch=norm_batch, short=True)[0]
        first = first if other == norm else replace(first, steps=FEW)
        try:
            about = runs.ask(functools.partial(instead, inquire, other), Trace(first, ()))
            planned = plan(about, [first])[0]
            trace = planned if planned.skipped else runs.ask(functools.partial(instead, observe, other), planned)
            best = explain([Case(other, trace, about)], deepest=1)[0] if trace.finished else None
        except Failed:  # a layer that hangs once would hang a dozen times
            break
        except ValueError:  # the other normaliser does not take what the user asked for
            continue
        if best and "z" not in best.lost and all(c.accepted for tensor, c in best.choices if tensor == "z"):
            if other == norm:
                return ""
            found[other] = best.cost
    return min(found, key=found.__getitem__, default="")


SHARED = "instances-share-state"


def _not_shared(report: Report, runs: Apart, about: About, first: Trace) -> Report:
    """Leave out what differs only because instances share their state: the first instance in a process conforms."""
    runs.stop()
    with contextlib.suppress(Failed):
        alone = judge(report.target, report.norm, about, traces(runs, about, [first.scenario]))
        if alone.conforms and not report.lost & {"z", "dx"}:
            note = "the first instance in a process conforms; later ones continue from the state that it left"
            found = [replace(f, tensor="inferred") if f.mistake == SHARED else f for f in report.findings]
            return replace(report, findings=found, differences=[], notes=[*report.notes, note])
    return report


def _behaviour(runs: Here | Apart, first: Trace) -> list[Outcome]:
    try:
        return [Outcome(*row) for row in runs.ask(outcomes, first)]
    except Failed:  # one probe hung or died: run each alone
        return laid_to_causes([_probed(runs, first, probe) for probe in PROBES])


def _probed(runs: Here | Apart, first: Trace, probe: Probe) -> Outcome:
    """What one probe finds: if the layer hangs or dies in it, that is a fault, and not the mistake it looks for."""
    try:
        (row,) = runs.ask(functools.partial(outcomes, only=probe.name), first)
    except Failed as why:
        return Outcome(probe.name, "fault", f"{probe.name}: {why}")
    return Outcome(*row)


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

"""How a layer behaves, apart from its numbers: run the probes, and report what they find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from mabn_ref.check.probes import PROBES, Probe
from mabn_ref.check.probing import Limit, NotOffered, Probing, first_line
from mabn_ref.check.report import Finding, Report
from mabn_ref.check.scenarios import ALONE, LIKE, Scenario
from mabn_ref.check.target import Target


class Outcome(NamedTuple):
    """What a probe found: a `fault`, a `limit` to report, why it was `not run`, or nothing."""

    probe: str
    kind: str  #: "fine", "fault", "limit" or "not run"
    words: str = ""
    mistake: str = ""  #: the name of a fault


def outcomes(target: Target, norm: str, scenario: Scenario, space: tuple[int, ...], only: str = "") -> list[Outcome]:
    """Run all probes on a target, or only the one called `only`."""
    with np.errstate(all="ignore"):
        p = Probing(target, norm, scenario, space)
        return laid_to_causes([_outcome(probe, p) for probe in PROBES if only in ("", probe.name)])


def laid_to_causes(found: Sequence[Outcome]) -> list[Outcome]:
    """Of several faults keep only the one that causes the others."""
    known: dict[str, str] = {}
    for cause, follow, why in _FOLLOW:
        if any(o.mistake == cause for o in found):
            known = dict.fromkeys(follow, why) | known
    return [_laid_to(known.get(o.probe), o) for o in found]


_COPIES = {"checkpoint", "deep copy", "pickling"}
_FOLLOW = (
    ("statistics-keep-the-graph", {"deep copy", "pickling"}, "the statistics keep their graphs"),
    (
        "inference-leaves-traces",
        {"gradient at inference", "one sample at inference", *_COPIES},
        "every inference changes the layer",
    ),
    ("first-layer-differs", {"forward passes alone"}, "it depends on whether its input needs a gradient"),
    ("instances-share-state", _COPIES, "instances share their state"),
)
"""The consequences of a fault: the same fault, seen by other probes."""


def _laid_to(cause: str | None, found: Outcome) -> Outcome:
    """A fault with a known cause does not count as another one."""
    return found._replace(kind="not run", words=cause, mistake="") if cause and found.kind == "fault" else found


def _outcome(probe: Probe, p: Probing) -> Outcome:
    if LIKE.get(p.norm, p.norm) in probe.not_of or p.norm in probe.not_of:
        return Outcome(probe.name, "not run", probe.why_not)
    if not all(hasattr(p.target, name) for name in probe.needs):
        return Outcome(probe.name, "not run", "this kind of target cannot do it")
    try:
        words = probe.run(p)
    except NotOffered as why:
        return Outcome(probe.name, "not run", str(why))
    except Limit as limit:
        return Outcome(probe.name, "limit", str(limit))
    except Exception as error:
        mistake = "" if probe.mistake in OF_NUMBERS else probe.mistake
        return Outcome(probe.name, "fault", f"{probe.name}: it raises {first_line(error)}", mistake)
    if not words:
        return Outcome(probe.name, "fine")
    return Outcome(probe.name, "fault", f"{probe.sentence} ({words})", probe.mistake)


OF_THE_OUTPUT = ("second-derivative-wrong", "zero-gamma", "one-pass-variance", "float16-range", "bfloat16-range")
"""What a probe may find only because the output is wrong, which is reported already."""
OF_NUMBERS = (*OF_THE_OUTPUT, "one-sample-differs", "no-gradient-at-inference", "not-finite-on-a-constant")
"""Mistakes in numbers: a layer that raises where one is looked for need not have made it."""


def with_behaviour(report: Report, found: Sequence[Outcome]) -> Report:
    """Return a report with what the probes found."""
    amiss = report.lost | {finding.tensor for finding in report.wrong}
    known: dict[str, str] = {}
    if "z" in report.lost:
        known = dict.fromkeys(OF_THE_OUTPUT, "its output is not understood")
    elif amiss & {"z", "dx"}:
        known = {"second-derivative-wrong": "its dx is already wrong"}
    of_gamma = any("gamma" in finding.words for finding in report.wrong if finding.tensor == "z")
    if amiss & {"dx", "dgamma", "dbeta"} or of_gamma:
        known |= {"zero-gamma": "its gamma is already wrong" if of_gamma else "its gradients are already wrong"}
    if amiss & ({"dx", "dgamma", "dbeta"} if report.norm in ALONE else {"dgamma", "dbeta"}):
        known |= {"no-gradient-at-inference": "its gradients are already wrong"}
    if any("eps" in finding.words for finding in report.wrong if finding.tensor != "inferred"):
        known["not-finite-on-a-constant"] = "its eps is another one or is in another place"
    found = [_laid_to(known.get(o.mistake), o) for o in found]
    faults = [o for o in found if o.kind == "fault" and o.mistake not in report.mistakes]  # one line for one fact
    return replace(
        report,
        findings=[*report.findings, *(Finding("behaviour", o.words, o.mistake) for o in faults)],
        limits=list(dict.fromkeys([*report.limits, *(o.words for o in found if o.kind == "limit")])),
        not_run=report.not_run | {o.probe: o.words for o in found if o.kind == "not run"},
        behaviour=[o.probe for o in found if o.kind == "fine"],
    )

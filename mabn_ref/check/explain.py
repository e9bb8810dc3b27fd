"""Find what reproduces a target's numbers, one tensor after the other and the fewest deviations first, and say so.

A tensor is settled before the next is looked at: what explains the output is kept while the gradient is explained.
So a wrong output and a wrong gradient take two small searches, not the product of both.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mabn_ref.check.choices import AS_CONVENTION, CHOICES, NO_AVERAGES, NO_CORRECTIONS, Choice
from mabn_ref.check.conventions import HYPER_PARAMETERS, Convention, Preset, presets_of
from mabn_ref.check.hyper_parameters import hyper_parameter_choices
from mabn_ref.check.models import BENDABLE
from mabn_ref.check.report import Finding
from mabn_ref.check.scenarios import LIKE
from mabn_ref.check.tolerance import TENSORS, Case, Difference, compared, first_difference
from mabn_ref.mistakes import named

DEEPEST = 3
"""How many deviations in one tensor are tried together."""
IN_PAIRS = {"affine", "by", "stops", "blend"}
"""The fields of deviations that are tried alone and in pairs, but not three together, which would take too long."""
COMPARISONS = 8_000
"""The most comparisons made to find one more deviation: a count, so that no verdict depends on the speed of a
machine."""
READS_AVERAGES = ("brn", "mabn", "online")
"""Normalisers whose output reads the moving statistics, so that these are explained first."""


@dataclass(frozen=True)
class Explanation:
    """What reproduces the numbers."""

    preset: Preset  #: where the search started from
    choices: tuple[tuple[str, Choice], ...] = ()  #: the deviations from it, with the tensor that showed each
    unexplained: tuple[Difference, ...] = ()  #: the first difference of every tensor for which nothing was found
    settled: frozenset[str] = frozenset()  #: the fields of the convention that are known by now

    @property
    def cost(self) -> tuple[int, int, int]:
        """Unexplained tensors, disagreements and deviations; the lower the better."""
        wrong = sum(not choice.accepted for _, choice in self.choices)
        unseen = 2 * ("z" in self.lost)  # without z, two gradients are not looked at
        return len(self.unexplained) + unseen, wrong, len(self.choices)

    @property
    def conforms(self) -> bool:
        """Whether accepted choices alone reproduce all numbers."""
        return not self.unexplained and all(choice.accepted for _, choice in self.choices)

    @property
    def lost(self) -> set[str]:
        """Those of `TENSORS` for which nothing was found."""
        return {d.tensor if d.tensor in TENSORS else "state" for d in self.unexplained}

    @property
    def agreed(self) -> tuple[str, ...]:
        """Those of `TENSORS` that are reproduced."""
        # without z its gradients are not understood
        unknown = self.lost | {"dx", "dgamma"} if "z" in self.lost else self.lost
        return tuple(tensor for tensor in TENSORS if tensor not in unknown)

    def convention(self, case: Case, *more: Choice) -> Convention:
        """Return the convention of a case: what the layer was given, the preset, the deviations, then some more."""
        values = dict(case.base)
        for own in (self.preset.defaults, self.preset.changes):
            values |= {name: value for name, value in own.items() if name not in case.given}
        for choice in (*(choice for _, choice in self.choices), *more):
            values |= {name: value(values) if callable(value) else value for name, value in choice.changes}
        return Convention(**values)


def explain(cases: Sequence[Case], deepest: int | None = None) -> list[Explanation]:
    """Search for what reproduces all cases of a target, and return the best explanations, equally good.

    At most `deepest` deviations in one tensor are tried together, by default `DEEPEST`.
    """
    norm, given, about = cases[0].norm, cases[0].given, cases[0].about
    # a layer that gets the whole Config need not use all of it, and may have its own phases
    whole = given >= set(vars(cases[0].config))
    free = frozenset({"warmup", "renorm_from"} if whole else ())
    offered: list[Choice] = []
    if norm in BENDABLE:
        # a convention is not accepted if the layer was told otherwise
        told = (replace(c, accepted=c.accepted and not _fields(c) & (given - free)) for c in CHOICES)
        numeric = hyper_parameter_choices(norm, given, free, about, cases[0].channels)
        offered = [*(c for c in told if _concerns(c, norm)), *(_heeding(c, cases[0]) for c in numeric)]
    if not about.tracks:
        words = "Inference normalises by the batch, as track_running_stats=False asks."
        offered = [
            replace(c, words=words, mistake="", accepted=True) if c.changes == (("infer_by", "batch"),) else c
            for c in offered
        ]
    if any(list(case.roles.values()).count(role) > 1 for case in cases for role in ("mean", "second")):
        # of several statistics with one role the nearest is compared; one of them may be the batch's own
        offered = [c for c in offered if c.changes != (("decay", 0.0),)]
    if not {"r_max", "d_max"} <= given:  # then there is no ramp to flip
        offered = [c for c in offered if c.changes[0][0] != "bounds"]
    order = ("state", "z") if norm in READS_AVERAGES else ("z", "state")
    judge = _Judge(cases)
    found: list[Explanation] = []
    for depth in range((DEEPEST if deepest is None else deepest) + 1):
        judge.left = COMPARISONS
        live = [Explanation(preset) for preset in presets_of(norm)]
        for tensor in (*order, "inferred", "dx", "dgamma", "dbeta"):
            live = [_settled(judge, explanation, tensor, offered, depth) for explanation in live]
            fewest = min(explanation.cost[0] for explanation in live)
            live = [explanation for explanation in live if explanation.cost[0] == fewest]
        found += live
        if not fewest:
            break
    found = [_debiased(explanation) for explanation in found]
    best = min(explanation.cost for explanation in found)
    return list(dict.fromkeys(explanation for explanation in found if explanation.cost == best))


def _debiased(explanation: Explanation) -> Explanation:
    """Merge averages that start at 0 with an inference that divides by the sum of their weights: one convention."""
    parts = {("start", 0.0), ("infer_by", "debiased")}
    found = [(tensor, c) for tensor, c in explanation.choices if len(c.changes) == 1 and c.changes[0] in parts]
    if len(found) < 2:
        return explanation
    words = "The moving averages start at 0, and inference divides them by the sum of their weights, as Adam does."
    tensor, first = found[0]
    whole = replace(first, changes=tuple(parts), words=words, mistake="", accepted=True)
    rest = [choice for choice in explanation.choices if choice not in found]
    return replace(explanation, choices=((tensor, whole), *rest))


def _heeding(choice: Choice, case: Case) -> Choice:
    """Accept a schedule that ends at the value that the layer's user asked for."""
    told = [(name, value) for name, value in choice.changes if name in case.given]
    ends = [hasattr(v, "last") and v.last == case.asked.get(name) for name, v in told]
    return replace(choice, accepted=True) if ends and all(ends) else choice


def _fields(choice: Choice) -> set[str]:
    return {name for name, _ in choice.changes}


def _concerns(choice: Choice, norm: str) -> bool:
    return norm in choice.norms or LIKE.get(norm) in choice.norms


class _Judge:
    """Compares, counts, and remembers."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self.cases, self.left = cases, 0
        # inference is compared after all steps, so a wrong candidate fails soonest where little is computed
        sizes = [case.trace.finished * case.trace.scenario.samples for case in cases]
        self.shortest = sorted(range(len(cases)), key=sizes.__getitem__)
        self.known: dict[Any, Difference | None] = {}

    def difference(self, so_far: Explanation, tensors: tuple[str, ...], *more: Choice) -> Difference | None:
        """The first difference of some tensors over all cases."""
        order = self.shortest if more and tensors == ("inferred",) else range(len(self.cases))
        for k in order:
            case = self.cases[k]
            convention = so_far.convention(case, *more)
            key = k, convention, tensors
            if key not in self.known:
                self.left -= 1
                if more:  # one of many candidates: most fail at their first step
                    self.known[key] = first_difference(case, convention, tensors)
                else:  # an explanation that is kept: every tensor will be asked for
                    self.known[key] = compared(case, convention).first(tensors)
            if self.known[key] is not None:
                return self.known[key]
        return None


def _settled(judge: _Judge, so_far: Explanation, tensor: str, offered: Sequence[Choice], deepest: int) -> Explanation:
    """Explain one more tensor."""
    if tensor == "state" and not any(judge.cases[0].roles.values()):
        return so_far
    if tensor in ("dx", "dgamma") and "z" in so_far.lost:
        return so_far  # the output is not understood, so its gradient cannot be
    # what explains an output must not change the moving statistics, which are known by now
    looked = (tensor, "state") if tensor == "z" and "decay" in so_far.settled else (tensor,)
    first = judge.difference(so_far, looked)
    fresh = [c for c in offered if tensor in c.shows and not _fields(c) & so_far.settled]
    if "z" in so_far.lost:  # what shows in z never shows elsewhere alone
        fresh = [c for c in fresh if "z" not in c.shows]
    if tensor == "inferred" and so_far.unexplained:
        deepest = min(deepest, 1)  # `findings` leaves it out then, so the longest search is not worth it
    more = _fewest(judge, so_far, looked, fresh, deepest) if first else ()
    if first and more is None:
        return replace(so_far, unexplained=(*so_far.unexplained, first))
    shown = {name for c in offered if tensor in c.shows for name in _fields(c)}
    later = {"state": _LATER, "z": _STATE}.get(tensor, shown)
    choices = (*so_far.choices, *((tensor, choice) for choice in more or ()))
    return replace(so_far, choices=choices, settled=so_far.settled | (shown - later))


_STATE = {"decay", "average_of", "fed", "start", "start_mean", "fed_by", "fed_per", "stops", "infer_eps"}
_LATER = {"eps", "eps_at", "shared_by", "variance", "statistic", "root", "short", "partial", "window_of", "window"}
_LATER |= {"window_holds", "warmup", "centred", "infer_eps"}
_LATER |= {"fed", "by"}  # "as used" is another thing once another variance is used


def _fewest(
    judge: _Judge, so_far: Explanation, tensors: tuple[str, ...], offered: Sequence[Choice], deepest: int
) -> Sequence[Choice] | None:
    """The smallest set of deviations that leaves no difference."""
    for size in range(1, deepest + 1):
        if size == DEEPEST:
            offered = [c for c in offered if not _fields(c) & IN_PAIRS]
        for extra in itertools.combinations(offered, size):
            if judge.left <= 0:
                return None
            fields = [name for choice in extra for name, _ in choice.changes]
            if len(fields) == len(set(fields)) and judge.difference(so_far, tensors, *extra) is None:
                return extra
    return None


def _shows(best: Explanation, cases: Sequence[Case], changes: Mapping[str, Any]) -> bool:
    """Whether other values of some fields would show in the tensors that agree with the explanation."""
    return any(
        first_difference(case, replace(best.convention(case), **changes), best.agreed) is not None for case in cases
    )


def findings(best: Explanation, cases: Sequence[Case]) -> list[Finding]:
    """Return the findings of an explanation, starting with how the preset differs from this project.

    What no tensor proves is left out: a convention that would make no difference, and the cause of an error at
    inference in a layer whose training output, or averages, are not understood.
    """
    doubtful = {"inferred"} if best.lost & {"z", "state"} else set()
    decided = cases[0].given | {name for _, choice in best.choices for name in _fields(choice)}
    own = [
        Finding("", AS_CONVENTION.get(choice.mistake) or _words(choice, cases), accepted=True)
        for field in best.preset.changes.items()
        for choice in CHOICES
        if choice.changes == (field,)
        and _concerns(choice, cases[0].norm)
        and field[0] not in decided
        and _shows(best, cases, {field[0]: cases[0].base[field[0]]})
    ]
    chosen = [(tensor, choice) for tensor, choice in best.choices if tensor not in doubtful]
    return own + [_finding(tensor, choice, best, cases) for tensor, choice in chosen]


def _words(choice: Choice, cases: Sequence[Case]) -> str:
    if "{bessel" not in choice.words:
        return choice.words
    values = cases[0].batches(Convention())[0].x.shape[1]
    return choice.words.format(bessel=values / (values - 1) if values > 1 else float("nan"), values=values)


def _finding(tensor: str, choice: Choice, best: Explanation, cases: Sequence[Case]) -> Finding:
    words, mistake, fine = _words(choice, cases), choice.mistake, choice.accepted
    if "{last}" in words:
        whole = [case for case in cases if compared(case, best.convention(case)).first(best.agreed) is None]
        words = words.format(last=max((case.iterations for case in whole or cases), default=0))
    if "{zero}" in words:
        words = words.format(zero=_still(cases))
    if "{given}" in words:
        words = words.format(given=_against(choice.changes[0][0], cases))
    if "{bounds}" in words:
        spans = _bounds(best, cases)
        brn = cases[0].norm == "brn"
        text = "; ".join(f"{r:.4g}{f' and {d:.4g}' if brn else ''} up to iteration {last}" for last, r, d in spans)
        words = words.format(bounds=text)
        highest = [r for _, r, _ in spans]
        asked = cases[0].asked
        fine = fine or (brn and {"r_max", "d_max"} & cases[0].given <= set(asked) and _reached(asked, spans[-1]))
        if brn and any(later < 0.99 * earlier for earlier, later in itertools.pairwise(highest)):
            mistake, fine = "brn-warm-up-inverted", False
            words = f"{named(mistake).sentence} {words}"
    return Finding(tensor, words, mistake, named(mistake).equation if mistake else "", fine)


def _still(cases: Sequence[Case]) -> str:
    """What to say about a moving mean that is 0 except for rounding."""
    means = [case.trace.states[name] for case in cases for name, role in case.roles.items() if role == "mean"]
    if not means:
        return "stays at 0, as if it were fed the normalised values"
    if not any(np.any(value) for values in means for value in values):
        return "never moves"
    return "is fed the mean of the normalised values, which is 0; feed it the mean of x"


def _reached(asked: Mapping[str, Any], last: tuple[int, float, float]) -> bool:
    """Whether a schedule ends at the requested bounds."""
    return all(abs(asked.get(name, v) - v) < 1e-6 for name, v in zip(("r_max", "d_max"), last[1:], strict=True))


def _against(name: str, cases: Sequence[Case]) -> str:
    """What a layer was given and ignores: only two different values show that the value does not matter."""
    values = sorted({case.base[name] for case in cases}, key=str)
    if name == "guard":
        return ", whatever layer_scaling says" if len(values) > 1 else f"; layer_scaling is {values[0] == 'scaling'}"
    return ", whatever it is given" if len(values) > 1 else f"; it was given {values[0]}"


def _bounds(best: Explanation, cases: Sequence[Case]) -> list[tuple[int, float, float]]:
    """Spans of iterations: the last one of each, and the largest bounds reached in it; 1 and 0 first, if any."""
    spans: dict[int, tuple[int, float, float]] = {}
    off: list[int] = []
    for case in cases:
        age = case.trace.scenario.age
        with np.errstate(all="ignore"):
            for k, model, _ in case.replay(best.convention(case)):
                if age and k + 1 == case.trace.scenario.age_after:
                    model.bounds.clear()
        r, d = (round(max(values), 9) for values in zip(*model.bounds, strict=True))
        if not age:
            none = itertools.takewhile(lambda bounds: max(bounds[0] - 1, bounds[1]) < 1e-9, model.bounds)
            off += [len(list(none))] if (r, d) != (1.0, 0.0) else []
        before = spans.get(age, (0, 1.0, 0.0))
        spans[age] = max(before[0], model.iteration), max(before[1], r), max(before[2], d)
    warm_up = min(off, default=0)
    found = [(warm_up, 1.0, 0.0)] * bool(warm_up) + [spans[age] for age in sorted(spans)]
    return [span for span, after in zip(found, [*found[1:], ()], strict=True) if span[1:] != after[1:]]


def not_begun(best: Explanation, cases: Sequence[Case]) -> str:
    """What to say if all that ran lies before the end of a warm-up, or before the start of a schedule; or ""."""
    norm, last = cases[0].norm, max(case.iterations for case in cases)
    conventions = [best.convention(case) for case in cases]
    if "z" in best.lost:
        return ""
    if norm == "mabn" and all(convention.warmup > last for convention in conventions):
        return NO_AVERAGES.format(last=last)
    if norm == "brn" and all(convention.r_of != "one" for convention in conventions):
        none = all((r, d) == (1.0, 0.0) for _, r, d in _bounds(best, cases))
        return NO_CORRECTIONS.format(last=last) if none else ""
    return ""


_TIMES = {"eps": 1.5, "clip": 0.9, "r_max": 0.9, "d_max": 0.9}


def _otherwise(name: str, value: Any) -> Any:
    """Another value of a hyper-parameter, different enough to show; for a count, one more."""
    if hasattr(value, "at"):
        return replace(value, last=value.last - 0.1)  # which shows only in what ran beyond its start
    if name.startswith("decay"):
        return (1 + value) / 2
    return value * _TIMES[name] if name in _TIMES else value + 1


def numbers_read_off(best: Explanation, cases: Sequence[Case]) -> dict[str, Any]:
    """Return, by name, the hyper-parameters that the layer does not take and that its numbers show."""
    case = cases[0]
    if case.norm not in BENDABLE:
        return {}
    searched = {name for _, choice in best.choices for name in _fields(choice)}
    convention = best.convention(case)
    known = case.given - set(case.asked) | ({"groups"} if case.norm in ("ln", "in") else set())  # by their names
    fields = [name for name in HYPER_PARAMETERS if hasattr(case.config, name) and name not in known]
    values = {name: getattr(convention, name) for name in fields if getattr(convention, name) != "measured"}
    return {
        name: value
        for name, value in values.items()
        if name in (*searched, "groups")
        or isinstance(value, str)
        or _shows(best, cases, {name: _otherwise(name, value)})
    }

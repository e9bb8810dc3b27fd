"""Find what reproduces a target's numbers: one tensor after the other, the fewest deviations first.

A tensor is settled before the next is looked at: what explains the output is kept when the gradient's turn comes.
So a wrong output and a wrong gradient are two small searches, not the product of both.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mabn_ref.check.choices import Choice
from mabn_ref.check.compare import Case, Difference, first_difference
from mabn_ref.check.conventions import PRESETS, Convention, Preset
from mabn_ref.check.hyper import hyper_choices
from mabn_ref.check.sample_choices import ALL_CHOICES
from mabn_ref.check.scenarios import ALONE, LIKE

__all__ = ["Explanation", "convention_of", "explain"]

DEEPEST = 3
"""How many deviations in one tensor are tried together."""
ORDER = {
    "bn": ("z", "state", "inferred", "dx", "dgamma", "dbeta"),
    "modified-bn": ("z", "state", "inferred", "dx", "dgamma", "dbeta"),
    "brn": ("state", "z", "inferred", "dx", "dgamma", "dbeta"),
    "mabn": ("state", "z", "inferred", "dx", "dgamma", "dbeta"),
    "eval-norm": ("z", "state", "inferred", "dx", "dgamma", "dbeta"),
    "online": ("state", "z", "inferred", "dx", "dgamma", "dbeta"),
    **dict.fromkeys(ALONE, ("z", "inferred", "dx", "dgamma", "dbeta")),
}
"""Batch Renormalization and MABN read their moving statistics in the output, so these come first."""


@dataclass(frozen=True)
class Explanation:
    """What reproduces the numbers.

    Attributes
    ----------
    preset : Preset
        Where the search started from.
    choices : tuple of (str, Choice)
        The deviations from it, with the tensor that showed each.
    unexplained : tuple of Difference
        The first difference of every tensor for which nothing was found.
    settled : frozenset of str
        The fields of the convention that are known by now.
    """

    preset: Preset
    choices: tuple[tuple[str, Choice], ...] = ()
    unexplained: tuple[Difference, ...] = ()
    settled: frozenset[str] = frozenset()

    @property
    def cost(self) -> tuple[int, int, int]:
        """Less is better: unexplained tensors, disagreements, deviations."""
        wrong = sum(not choice.accepted for _, choice in self.choices)
        lost = [difference.tensor for difference in self.unexplained]
        return len(lost) + 2 * ("z" in lost), wrong, len(self.choices)  # without z, two gradients are not looked at


def convention_of(case: Case, preset: Preset, choices: Sequence[Choice], given: frozenset[str]) -> Convention:
    """Return the convention of a case: what the layer was given, the preset, then the deviations."""
    values = case.base(given)
    for own in (preset.defaults, preset.changes):
        values |= {name: value for name, value in own.items() if name not in given}
    for choice in choices:
        values |= {name: value(values) if callable(value) else value for name, value in choice.changes}
    return Convention(**values)


def explain(
    cases: Sequence[Case],
    given: frozenset[str],
    numbers: Sequence[float],
    *,
    free: frozenset[str] = frozenset(),
    seconds: float = 15.0,
) -> list[Explanation]:
    """Search for what reproduces all cases.

    Parameters
    ----------
    cases : sequence of Case
        Of one target, the quickest to compare first.
    given : frozenset of str
        The hyper-parameters that it takes.
    numbers : sequence of float
        Numbers it has, which may be hyper-parameters.
    free : frozenset of str
        Of the hyper-parameters given, those that it need not keep.
    seconds : float
        How long to look for one more deviation.

    Returns
    -------
    list of Explanation
        The best ones, equally good.
    """
    norm = cases[0].norm
    kin = {norm, LIKE.get(norm, norm)}
    conventions = [_told(choice, given - free) for choice in ALL_CHOICES]
    offered = [c for c in (*conventions, *hyper_choices(norm, given, numbers, free)) if kin & set(c.norms)]
    if not {"r_max", "d_max"} <= given:  # then there is no ramp to flip
        offered = [c for c in offered if c.changes[0][0] != "bounds"]
    judge = _Judge(cases, given)
    found: list[Explanation] = []
    for deepest in range(DEEPEST + 1):
        judge.deadline = time.monotonic() + seconds
        live = [Explanation(preset) for preset in PRESETS[norm]]
        for tensor in ORDER[norm]:
            live = [_settled(judge, explanation, tensor, offered, deepest) for explanation in live]
            fewest = min(explanation.cost[0] for explanation in live)
            live = [explanation for explanation in live if explanation.cost[0] == fewest]
        found += live
        if not fewest:
            break
    best = min(explanation.cost for explanation in found)
    return list(dict.fromkeys(explanation for explanation in found if explanation.cost == best))


def _told(choice: Choice, given: frozenset[str]) -> Choice:
    """The choice; nobody's convention where the layer was told otherwise."""
    return replace(choice, accepted=choice.accepted and not given & {name for name, _ in choice.changes})


class _Judge:
    """Compares, and remembers."""

    def __init__(self, cases: Sequence[Case], given: frozenset[str]) -> None:
        self.cases, self.given = cases, given
        self.known: dict[Any, Difference | None] = {}
        self.deadline = 0.0

    def difference(self, preset: Preset, choices: Sequence[Choice], tensors: tuple[str, ...]) -> Difference | None:
        """The first difference of some tensors over all cases."""
        for k, case in enumerate(self.cases):
            convention = convention_of(case, preset, choices, self.given)
            key = k, convention, tensors
            if key not in self.known:
                self.known[key] = first_difference(case, convention, tensors)
            if self.known[key] is not None:
                return self.known[key]
        return None


def _settled(judge: _Judge, so_far: Explanation, tensor: str, offered: Sequence[Choice], deepest: int) -> Explanation:
    """Explain one more tensor."""
    if tensor == "state" and not any(judge.cases[0].roles.values()):
        return so_far
    if tensor in ("dx", "dgamma") and "z" in [difference.tensor for difference in so_far.unexplained]:
        return so_far  # the gradient of what is not understood
    chosen = [choice for _, choice in so_far.choices]
    # what explains an output must leave the moving statistics what they are known to be
    known = tensor == "z" and "decay" in so_far.settled
    looked = (tensor, "state") if known else (tensor,)
    first = judge.difference(so_far.preset, chosen, looked)
    more: Sequence[Choice] | None = ()
    if first is not None:
        fresh = [c for c in offered if tensor in c.shows and not {name for name, _ in c.changes} & so_far.settled]
        more = _fewest(judge, so_far.preset, chosen, looked, fresh, deepest)
    if more is None:
        assert first is not None
        return replace(so_far, unexplained=(*so_far.unexplained, first))
    shown = {name for c in offered if tensor in c.shows for name, _ in c.changes}
    later = {"state": _LATER, "z": _STATE}.get(tensor, shown)
    return replace(
        so_far,
        choices=(*so_far.choices, *((tensor, choice) for choice in more)),
        settled=so_far.settled | (shown - later),
    )


_STATE = {"decay", "average_of", "fed", "start", "start_mean", "fed_by", "fed_per"}
_LATER = {"eps", "eps_at", "shared_by", "variance", "statistic", "root", "short", "partial", "window_of", "window"}
_LATER |= {"warmup", "centred", "fed"}  # "as used" is another thing once another variance is used


def _fewest(
    judge: _Judge,
    preset: Preset,
    chosen: Sequence[Choice],
    tensors: tuple[str, ...],
    offered: Sequence[Choice],
    deepest: int,
) -> Sequence[Choice] | None:
    """The smallest set of deviations that leaves no difference."""
    for size in range(1, deepest + 1):
        for extra in itertools.combinations(offered, size):
            if time.monotonic() > judge.deadline:
                return None
            fields = [name for choice in extra for name, _ in choice.changes]
            if len(fields) == len(set(fields)) and judge.difference(preset, [*chosen, *extra], tensors) is None:
                return extra
    return None

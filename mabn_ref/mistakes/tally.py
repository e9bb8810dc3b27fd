"""Count the wrong passes that oracles reject and the right ones they accept: if not all, the command fails."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.mistakes import MISTAKES
from mabn_ref.mistakes.edit import Mistake, wrong
from mabn_ref.mistakes.oracles import ORACLES
from mabn_ref.mistakes.random_inputs import RIGHT_DRAWS
from mabn_ref.mistakes.random_layer_inputs import Draw
from mabn_ref.norms import mabn, mabn_variants


class Tally(NamedTuple):
    """What an oracle said of many draws."""

    name: str  #: of the mistake, or of the module
    right: bool  #: whether it is the right pass
    oracle: str
    draws: int
    as_hoped: int  #: on how many it rejected the wrong pass, or accepted the right one
    closest: float  #: the least error of a wrong pass, or the largest of a right one
    misjudged: str  #: what it said the first time it was wrong, and on which draw; "" if never


def _tally(name: str, subject: str, oracle: str, implementation: Any, draw: Draw, draws: int, hope: bool) -> Tally:
    as_hoped, errors, misjudged = 0, [], ""
    for k in range(draws):
        inputs = draw(np.random.default_rng([zlib.crc32(name.encode()), k]))
        verdict = ORACLES[oracle](subject, implementation, inputs)
        errors.append(verdict.error)
        as_hoped += verdict.accepted is hope
        if verdict.accepted is not hope and not misjudged:
            misjudged = f"draw {k}: {verdict.evidence}"
    return Tally(name, hope, oracle, draws, as_hoped, (max if hope else min)(errors), misjudged)


def tally_wrong(mistake: Mistake, draws: int) -> Tally:
    """Have a mistake's oracle judge it on its own draws.

    Examples
    --------
    >>> from mabn_ref.mistakes import named
    >>> tally_wrong(named("bn-no-eps"), 5).as_hoped
    5
    """
    subject = mistake.subject_name
    return _tally(mistake.name, subject, mistake.oracle, wrong(mistake), mistake.draw, draws, hope=False)


def tally_right(module: ModuleType, oracle: str, draws: int) -> Tally:
    """Have an oracle judge the right implementation.

    Examples
    --------
    >>> from mabn_ref.norms import batch_norm
    >>> tally_right(batch_norm, "forward", 5).as_hoped
    5
    """
    subject = module.__name__.rpartition(".")[2]
    return _tally(subject, subject, oracle, module, RIGHT_DRAWS[module], draws, hope=True)


def right_passes() -> list[tuple[ModuleType, str]]:
    """Every module with every oracle that rejects a mistake in it; MABN's variants with the oracles of MABN."""
    pairs = [(mistake.subject, mistake.oracle) for mistake in MISTAKES]
    return list(dict.fromkeys(pairs + [(mabn_variants, oracle) for module, oracle in pairs if module is mabn]))


def passes() -> int:
    """How many passes `judge` judges."""
    return len(MISTAKES) + len(right_passes())


def judge(
    draws: int,
    seeds: int,
    after_each: Callable[[], object] = lambda: None,
    run: Callable[[Callable[[int], Tally], Iterable[int]], Iterable[Tally]] = map,
) -> list[Tally]:
    """Judge `draws` draws of every wrong pass and `seeds` of every right one; `after_each` is called after each pass.

    `run` is `map`, or that of an executor of processes.
    """
    found = []
    for tally in run(partial(_judge_one, draws, seeds), range(passes())):
        found.append(tally)
        after_each()
    return found


def _judge_one(draws: int, seeds: int, k: int) -> Tally:
    """Judge pass number k, the wrong ones first. A number because modules and draws cannot be sent to a process."""
    if k < len(MISTAKES):
        return tally_wrong(MISTAKES[k], draws)
    return tally_right(*right_passes()[k - len(MISTAKES)], seeds)


_ROW = "{:<20}{:>14}{:>13}{:>16}{:>15}"


def summary(tallies: Sequence[Tally]) -> str:
    """Write a line for each oracle, one for each pass that was misjudged, and how many were not.

    Examples
    --------
    >>> print(summary(judge(draws=1, seeds=1)))  # doctest: +ELLIPSIS
    oracle                wrong passes  least error    right passes  largest error
    ...
    ... wrong passes rejected, 1 of each
    ... right passes accepted, 1 of each
    """
    lines = [_ROW.format("oracle", "wrong passes", "least error", "right passes", "largest error")]
    for oracle in dict.fromkeys(t.oracle for t in tallies):
        wrong_ones, right_ones = (
            [t for t in tallies if t.oracle == oracle and t.right is right] for right in (False, True)
        )
        least, largest = min(t.closest for t in wrong_ones), max(t.closest for t in right_ones)
        lines.append(_ROW.format(oracle, len(wrong_ones), f"{least:.1e}", len(right_ones), f"{largest:.1e}"))
    for t in tallies:
        if t.misjudged:
            kind, done = ("right", "accepted") if t.right else ("wrong", "rejected")
            lines.append(f"{kind} pass {t.name}: {done} by {t.oracle} on {t.as_hoped} of {t.draws} draws")
            lines.append(f"    {t.misjudged}")
    for right, said in ((False, "wrong passes rejected"), (True, "right passes accepted")):
        of = [t for t in tallies if t.right is right]
        lines.append(f"{sum(t.as_hoped for t in of)} of {sum(t.draws for t in of)} {said}, {of[0].draws} of each")
    return "\n".join(lines)

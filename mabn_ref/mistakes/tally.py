"""How many wrong passes the oracles reject and how many right ones they accept: all, or the command fails."""

from __future__ import annotations

import sys
import time
import zlib
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.mistakes import MISTAKES
from mabn_ref.mistakes.edit import Mistake, wrong
from mabn_ref.mistakes.oracles import ORACLES
from mabn_ref.mistakes.random_inputs import RIGHT_DRAWS, Draw
from mabn_ref.norms import mabn, mabn_variants


class Tally(NamedTuple):
    """What an oracle said of many draws."""

    name: str  #: of the mistake, or of the module
    oracle: str
    draws: int
    as_hoped: int  #: on how many it rejected the wrong pass, or accepted the right one
    closest: float  #: the least error of a wrong pass, or the largest of a right one
    misjudged: str
    """What it said the first time it was wrong, and on which draw; "" if never."""


def _tally(name: str, subject: str, oracle: str, implementation: Any, draw: Draw, draws: int, hope: bool) -> Tally:
    as_hoped, errors, misjudged = 0, [], ""
    for k in range(draws):
        inputs = draw(np.random.default_rng([zlib.crc32(name.encode()), k]))
        verdict = ORACLES[oracle](subject, implementation, inputs)
        errors.append(verdict.error)
        as_hoped += verdict.accepted is hope
        if verdict.accepted is not hope and not misjudged:
            misjudged = f"draw {k}: {verdict.evidence}"
    return Tally(name, oracle, draws, as_hoped, (max if hope else min)(errors), misjudged)


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
    """Every module with every oracle that rejects some mistake of it; MABN's variants with those of MABN."""
    pairs = [(mistake.subject, mistake.oracle) for mistake in MISTAKES]
    return list(dict.fromkeys(pairs + [(mabn_variants, oracle) for module, oracle in pairs if module is mabn]))


def count(draws: int, seeds: int) -> int:
    """Judge `draws` draws of every wrong pass and `seeds` of every right one, and print a table.

    Returns 0 if nothing was misjudged, else 1.

    Examples
    --------
    >>> count(draws=1, seeds=1)  # doctest: +ELLIPSIS
    wrong passes ...
    ... wrong passes rejected, 1 of each; ... right passes accepted, 1 of each; ... s
    0
    """
    started = time.perf_counter()
    print(f"{'wrong passes':<38}{'oracle':<22}{'rejected':>10}  least error")
    rejected = [_shown(tally_wrong(mistake, draws)) for mistake in MISTAKES]
    print(f"{'right passes':<38}{'oracle':<22}{'accepted':>10}  largest error")
    accepted = [_shown(tally_right(module, oracle, seeds)) for module, oracle in right_passes()]
    print(
        f"{sum(t.as_hoped for t in rejected)} of {sum(t.draws for t in rejected)} wrong passes rejected, "
        f"{draws} of each; "
        f"{sum(t.as_hoped for t in accepted)} of {sum(t.draws for t in accepted)} right passes accepted, "
        f"{seeds} of each; {time.perf_counter() - started:.0f} s"
    )
    return int(any(t.misjudged for t in (*rejected, *accepted)))


def _shown(tally: Tally) -> Tally:
    print(f"{tally.name:<38}{tally.oracle:<22}{f'{tally.as_hoped}/{tally.draws}':>10}  {tally.closest:.1e}")
    if tally.misjudged:
        print(f"    {tally.misjudged}")
    sys.stdout.flush()
    return tally

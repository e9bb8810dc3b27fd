"""Many verdicts at once: p-values of paired differences, and which stay significant after a correction."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mabn_ref.paper.study import STUDIES, Context
from mabn_ref.train import results
from mabn_ref.train.table_layout import Interval, t_quantile

LEVEL = 0.05  #: the significance level of a single verdict, and of the corrections


class Judged(NamedTuple):
    """One of many paired verdicts."""

    file: Path
    line: str  #: the verdict as its study writes it
    p: float
    kept: bool  #: whether Benjamini and Hochberg's procedure rejects "no difference"
    holm: bool  #: whether Holm's does
    first: bool  #: whether it is the first verdict on its difference

    @property
    def name(self) -> str:
        """The claim, which is the line up to its colon."""
        return self.line.partition(":")[0]

    @property
    def fallen(self) -> bool:
        """Whether the difference is significant by itself but not after the correction."""
        return self.p <= LEVEL and not self.kept


def p_value(difference: Interval) -> float:
    r"""Return the two-sided p-value of a paired t test.

    It is the probability of \|t\| or more if the true difference is zero. For a whole number of degrees of freedom,
    the distribution of t is a finite sum (Abramowitz and Stegun, 26.7.3 and 26.7.4). Raises `ValueError` if the
    difference has no interval.

    Examples
    --------
    >>> from mabn_ref.train.table_layout import mean_interval
    >>> round(p_value(mean_interval([1.0, 2.0, 3.0, 4.0])), 4)
    0.0305
    """
    if difference.half is None:
        raise ValueError(f"difference is {difference}, expected one with an interval")
    if difference.half == 0:
        return 0.0 if difference.mean else 1.0
    freedom = difference.freedom or difference.runs - 1
    t = abs(difference.mean) / difference.half * t_quantile(freedom)
    angle = math.atan(t / math.sqrt(freedom))
    odd = freedom % 2
    term, total = math.cos(angle) if odd else 1.0, 0.0
    for k in range(freedom // 2):
        total += term
        term *= (2 * k + 1 + odd) / (2 * k + 2 + odd) * math.cos(angle) ** 2
    inside = 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
    return 1 - inside


def benjamini_hochberg(p_values: Sequence[float], level: float = LEVEL) -> list[bool]:
    """Tell which of many p-values are significant at a false discovery rate of `level`.

    Benjamini and Hochberg (1995): those up to the largest rank k, from below, whose value is at most level * k / n.

    Examples
    --------
    >>> benjamini_hochberg([0.04, 0.01, 0.9, 0.02])
    [False, True, False, True]
    """
    many = len(p_values)
    ranks = [k for k, p in enumerate(sorted(p_values), start=1) if p <= k / many * level]
    return _lowest(p_values, max(ranks, default=0))


def holm(p_values: Sequence[float], level: float = LEVEL) -> list[bool]:
    """Tell which of many p-values are significant if the probability of any false one is to be at most `level`.

    Holm (1979): from the lowest up, until one is above the level divided by the number of those left.
    """
    many = len(p_values)
    above = (k for k, p in enumerate(sorted(p_values)) if p > level / (many - k))
    return _lowest(p_values, next(above, many))


def _lowest(p_values: Sequence[float], count: int) -> list[bool]:
    """Tell which are the lowest `count`."""
    kept = set(sorted(range(len(p_values)), key=lambda place: p_values[place])[:count])
    return [place in kept for place in range(len(p_values))]


def family(folder: Path) -> list[Judged]:
    """Judge all paired verdicts of a folder's studies together, from the records of the runs.

    The folder has the JSON files of ``mabn-ref paper``, at any depth, with the records beside them. Files without
    records or paired verdicts are ignored. A difference shared by several verdicts, as in studies with common runs,
    counts once; all its verdicts are returned, in order.
    """
    found: list[tuple[Path, str, Interval]] = []
    for file in sorted(folder.rglob("*.json")):
        content = json.loads(file.read_text(encoding="utf-8"))
        if content.get("study") not in STUDIES or not content["runs"]:
            continue
        study = STUDIES[content["study"]]
        context = Context(tuple(content["seeds"]), content["settings"], content.get("layer", "norm4"))
        outcome = study.outcome(context, results.read(file.parent / study.file))
        if outcome.differences:
            found += [
                (file, line, difference)
                for line, difference in zip(outcome.verdicts, outcome.differences, strict=True)
                if difference and difference.half is not None
            ]
    # the same for a difference and its negative
    keys = [(round(abs(d.mean), 9), round(d.half or 0.0, 9), d.runs) for _, _, d in found]
    distinct = {key: p_value(difference) for key, (_, _, difference) in zip(keys, found, strict=True)}
    kept = dict(zip(distinct, benjamini_hochberg(list(distinct.values())), strict=True))
    strictly = dict(zip(distinct, holm(list(distinct.values())), strict=True))
    return [
        Judged(file, line, distinct[key], kept[key], strictly[key], key not in keys[:place])
        for place, (key, (file, line, _)) in enumerate(zip(keys, found, strict=True))
    ]

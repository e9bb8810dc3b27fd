"""Means over seeds with their 95 % t intervals, paired differences, and the one layout of tables."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

_Z = 1.959964  # the 97.5 % quantile of the normal distribution
_T = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281,
    2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860,
)  # fmt: skip


class Interval(NamedTuple):
    """A mean, and half the width of its 95 % interval: None where one value leaves it unknown."""

    mean: float
    half: float | None
    runs: int


def t_quantile(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t with `freedom` >= 1 degrees of freedom, to 4 digits.

    A table up to 20; from there three terms of the expansion in 1/freedom around the normal quantile.
    """
    if freedom < 1:
        raise ValueError(f"freedom is {freedom}, expected at least 1")
    if freedom <= len(_T):
        return _T[freedom - 1]
    z = _Z
    first = (z**3 + z) / (4 * freedom)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    return z + first + second + third


def mean_interval(values: Sequence[float]) -> Interval:
    """Return the mean of `values` and half the width of its 95 % t interval.

    Examples
    --------
    >>> mean_interval([1.0, 1.0])
    Interval(mean=1.0, half=0.0, runs=2)
    """
    mean = statistics.fmean(values)
    if len(values) < 2:
        return Interval(mean, None, len(values))
    half = t_quantile(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return Interval(mean, half, len(values))


def paired_difference(values: Mapping[int, float], baseline: Mapping[int, float]) -> Interval | None:
    """Return the mean of value - baseline over the seeds that both have, with its 95 % interval; None if none."""
    shared = sorted(values.keys() & baseline.keys())
    return mean_interval([values[seed] - baseline[seed] for seed in shared]) if shared else None


class Table(NamedTuple):
    """Cells as text, the first column a name; a row of one cell stands above those that it names."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]

    def __str__(self) -> str:
        """Write it as plain text.

        Examples
        --------
        >>> print(Table("Errors", ("", "runs"), [("Small batches",), ("  BN 2", "3"), ("  MABN 2", "10")]))
        Errors
                   runs
        Small batches
          BN 2        3
          MABN 2     10
        """
        lines = [self.header, *self.rows]
        widths = [max(len(line[column]) for line in lines if len(line) > 1) for column in range(len(self.header))]
        found = [self.title] if self.title else []
        for first, *others in lines:
            cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=False)]
            found.append("   ".join([first.ljust(widths[0]), *cells]).rstrip())
        return "\n".join(found)


def text(interval: Interval | None, sign: str = "", alone: str = " (1 run)") -> str:
    """Write a mean and its 95 % interval, `alone` where one run has none, or that there is neither.

    Examples
    --------
    >>> text(Interval(41.0, 12.71, 2)), text(Interval(40.0, None, 1), "+"), text(None)
    ('41.00 ± 12.71', '+40.00 (1 run)', 'none')
    """
    if interval is None:
        return "none"
    found = f"{interval.mean:{sign}.2f}"
    return f"{found}{alone}" if interval.half is None else f"{found} ± {interval.half:.2f}"

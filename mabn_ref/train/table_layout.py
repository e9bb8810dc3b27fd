"""Means over seeds with 95 % t intervals, paired differences, and the layout of all tables."""

from __future__ import annotations

import math
import statistics
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

_Z = 1.959964  # the 97.5 % quantile of the normal distribution
_T = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281,
    2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860,
)  # fmt: skip

FEWEST = 3  #: values that an interval needs: from two that happen to be equal, its width would be zero
WIDTH = 80
"""Columns of a terminal. All that is printed fits, so that no row of a table is broken in two."""


class Interval(NamedTuple):
    """A mean, and half the width of its 95 % interval; None with fewer than `FEWEST` values."""

    mean: float
    half: float | None
    runs: int
    freedom: int | None = None  #: degrees of freedom of the t interval, where they are not ``runs - 1``


def t_quantile(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t with `freedom` >= 1 degrees of freedom, to 4 digits.

    Up to 20 from a table; beyond, by three terms of the expansion in 1/freedom around the normal quantile.
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
    >>> mean_interval([1.0, 1.0, 1.0])[:3], mean_interval([1.0, 1.0])[:3]
    ((1.0, 0.0, 3), (1.0, None, 2))
    """
    mean = statistics.fmean(values)
    if len(values) < FEWEST:
        return Interval(mean, None, len(values))
    half = t_quantile(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return Interval(mean, half, len(values))


def paired_difference(values: Mapping[int, float], baseline: Mapping[int, float]) -> Interval | None:
    """Return the mean of value - baseline over their common seeds, with its 95 % interval; None if there are none."""
    shared = sorted(values.keys() & baseline.keys())
    return mean_interval([values[seed] - baseline[seed] for seed in shared]) if shared else None


class Table(NamedTuple):
    """Cells as text, with names in the first column; a row of one cell is a heading of the rows below it."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]

    def __str__(self) -> str:
        """Return the table as plain text; columns that do not fit in `WIDTH` follow below, with the names repeated.

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
        names, *widths = (
            max(len(line[column]) for line in lines if len(line) > 1) for column in range(len(lines[0]))
        )

        def row(line: tuple[str, ...], block: range) -> str:
            cells = (line[k + 1].rjust(widths[k]) for k in block if len(line) > 1)
            return "   ".join([line[0].ljust(names), *cells]).rstrip()

        blocks = ["\n".join(row(line, block) for line in lines) for block in _blocks(names, widths)]
        return (f"{textwrap.fill(self.title, WIDTH)}\n" if self.title else "") + "\n\n".join(blocks)


def _blocks(names: int, widths: Sequence[int]) -> Iterator[range]:
    """Yield the columns of each block: as many as fit beside the names, and at least one."""
    first, used = 0, names
    for column, width in enumerate(widths):
        if used + 3 + width > WIDTH and column > first:
            yield range(first, column)
            first, used = column, names
        used += 3 + width
    yield range(first, len(widths))


def text(interval: Interval | None, sign: str = "") -> str:
    """Return a mean with its 95 % interval, or with the number of runs if these are too few; "none" for None.

    Examples
    --------
    >>> text(Interval(41.0, 12.71, 3)), text(Interval(40.0, None, 1), "+"), text(None)
    ('41.00 ± 12.71', '+40.00 (1 run)', 'none')
    """
    if interval is None:
        return "none"
    found = f"{interval.mean:{sign}.2f}"
    if interval.half is None:
        return f"{found} ({interval.runs} run{'' if interval.runs == 1 else 's'})"
    return f"{found} ± {interval.half:.2f}"

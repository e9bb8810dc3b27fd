"""The one layout of tables, how a mean with its interval is written in them, and the colours of pictures."""

from __future__ import annotations

from typing import NamedTuple

from mabn_ref.train.intervals import Interval

COLOURS = ("#000000", "#d55e00", "#0072b2", "#009e73", "#7a7a7a", "#e69f00", "#56b4e9", "#cc79a7")
LINES = ("-", "--", "-.", ":")


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

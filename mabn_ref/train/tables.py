"""The table of a comparison: errors over seeds, and paired differences to the two baselines."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from mabn_ref.train import results
from mabn_ref.train.config import RunConfig, label
from mabn_ref.train.intervals import Interval, mean_interval, paired_difference
from mabn_ref.train.rows import is_control

__all__ = ["BASELINES", "Row", "collect", "table"]

BASELINES = ("BN 32", "BN 32 + WC")


class Row(NamedTuple):
    """The runs of one row by seed: curves of those that ended, and how many diverged."""

    label: str
    control: bool
    curves: dict[int, list[float]]
    """Test error in % after each epoch."""
    diverged: int

    @property
    def errors(self) -> dict[int, float]:
        """The last test error of each seed, in %."""
        return {seed: curve[-1] for seed, curve in self.curves.items()}


def collect(configs: Sequence[RunConfig], records: Sequence[dict[str, Any]]) -> list[Row]:
    """Sort records into rows, the paper's pairing before the controls; a run without a record leaves no trace."""
    rows: dict[str, Row] = {}
    for config in configs:
        name = label(config)
        row = rows.setdefault(name, Row(name, is_control(config), {}, 0))
        record = results.find(records, config)
        if record is None:
            continue
        if record["status"] == "done":
            row.curves[config.seed] = [line["test_error"] for line in record["epochs"]]
        else:
            rows[name] = row._replace(diverged=row.diverged + 1)
    return sorted(rows.values(), key=lambda row: row.control)


def table(rows: Sequence[Row]) -> str:
    """Write rows as a table of plain text.

    Examples
    --------
    >>> print(table([Row("BN 32", False, {0: [41.0], 1: [43.0]}, 0), Row("BN 2", False, {0: [50.5]}, 1)]))
                        runs    test error %   minus BN 32
    The paper's pairing
      BN 32                2   42.00 ± 12.71             -
      BN 2    1 (1 diverged)           50.50         +9.50
    """
    baselines = [row for row in rows if row.label in BASELINES]
    header = ["", "runs", "test error %", *(f"minus {row.label}" for row in baselines)]
    lines: list[list[str]] = [header]
    for control, group in itertools.groupby(rows, key=lambda row: row.control):
        lines.append(["Controls" if control else "The paper's pairing"])
        for row in group:
            runs = str(len(row.curves)) + (f" ({row.diverged} diverged)" if row.diverged else "")
            error = _text(mean_interval(list(row.errors.values())) if row.errors else None)
            differences = [
                "-" if row is base else _text(paired_difference(row.errors, base.errors), sign="+")
                for base in baselines
            ]
            lines.append(["  " + row.label, runs, error, *differences])
    widths = [max(len(line[column]) for line in lines if len(line) > 1) for column in range(len(header))]
    formats = [f"{{:<{widths[0]}}}", *(f"{{:>{width}}}" for width in widths[1:])]
    return "\n".join("   ".join(formats[: len(line)]).format(*line).rstrip() for line in lines)


def _text(interval: Interval | None, sign: str = "") -> str:
    if interval is None:
        return "none"
    text = f"{interval.mean:{sign}.2f}"
    return text if interval.half is None else f"{text} ± {interval.half:.2f}"

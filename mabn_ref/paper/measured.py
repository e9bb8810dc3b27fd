"""Rows of a study with their errors, paired differences, and verdicts on what the paper claims."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from mabn_ref.paper.study import Context, Records, Table
from mabn_ref.train import results
from mabn_ref.train.config import RunConfig
from mabn_ref.train.intervals import Interval, mean_interval, paired_difference
from mabn_ref.train.rows import recipe

__all__ = [
    "FEWEST",
    "Claim",
    "Measured",
    "Row",
    "configs",
    "difference",
    "effect",
    "error_table",
    "error_text",
    "measure",
    "plan_of",
    "row_data",
    "runs_text",
    "text",
    "verdict",
]

FEWEST = 3
"""Pairs that a verdict needs: with two, errors that happen to differ alike would make an interval of no width."""


class Row(NamedTuple):
    """A row of a table: its name, the fields of its runs, and what the paper reports."""

    label: str
    settings: Mapping[str, Any]
    paper: str = ""


class Claim(NamedTuple):
    """That row `a` has a lower error than row `b`, or none that differs."""

    a: str
    b: str
    lower: bool | None
    """None if nobody says either, and the difference is what is asked."""
    source: str
    """Who says so, and where."""


class Measured(NamedTuple):
    """The runs of one row."""

    errors: dict[int, float]
    """The last test error of each seed that ended, in %."""
    diverged: dict[int, str]
    """The message of each that diverged."""
    missing: int
    """Runs without a record: they failed, or have not been run."""


def config(row: Row, seed: int, context: Context) -> RunConfig:
    """Return one run of a row."""
    return recipe(**{**context.settings, **row.settings, "seed": seed})


def configs(rows: Sequence[Row], context: Context) -> list[RunConfig]:
    """Return the runs of `rows`, one seed after the other, so that an early end leaves whole pairs."""
    runs = (config(row, seed, context) for seed in context.seeds for row in rows)
    return list(dict.fromkeys(runs))


def plan_of(rows: Sequence[Row]) -> Callable[[Context, Records], list[RunConfig]]:
    """Return the plan of a study whose rows do not depend on what is recorded."""

    def plan(context: Context, records: Records) -> list[RunConfig]:
        return configs(rows, context)

    return plan


def measure(rows: Sequence[Row], context: Context, records: Records, value: str = "") -> dict[str, Measured]:
    """Sort records by row.

    Parameters
    ----------
    rows : sequence of Row
        No two of one label.
    context : Context
        The seeds, and what all runs share.
    records : sequence of dict
        Those of other runs are left aside.
    value : str
        The entry of a record that is its error; the last test error if "".

    Returns
    -------
    dict
        By label.
    """
    found: dict[str, Measured] = {}
    for row in rows:
        measured = Measured({}, {}, 0)
        missing = 0
        for seed in context.seeds:
            record = results.find(records, config(row, seed, context))
            if record is None:
                missing += 1
            elif record["status"] == "done":
                measured.errors[seed] = record[value] if value else record["epochs"][-1]["test_error"]
            else:
                measured.diverged[seed] = record["message"]
        found[row.label] = measured._replace(missing=missing)
    return found


def text(interval: Interval | None, sign: str = "") -> str:
    """Write a mean and its 95 % interval, or that there is none.

    Examples
    --------
    >>> text(mean_interval([40.0, 42.0])), text(mean_interval([40.0]), "+"), text(None)
    ('41.00 ± 12.71', '+40.00 (1 run)', 'none')
    """
    if interval is None:
        return "none"
    found = f"{interval.mean:{sign}.2f}"
    return f"{found} (1 run)" if interval.half is None else f"{found} ± {interval.half:.2f}"


def error_table(
    title: str,
    rows: Sequence[Row],
    found: Mapping[str, Measured],
    baselines: Sequence[str] = (),
    unit: str = "error %",
) -> Table:
    """Write errors beside the paper's, with the number of runs and paired differences to some of the rows."""
    header = ("", "paper %", "runs", unit, *(f"minus {base}" for base in baselines))
    lines = []
    for row in rows:
        mine = found[row.label]
        differences = [
            "-" if base == row.label else text(paired_difference(mine.errors, found[base].errors), "+")
            for base in baselines
        ]
        lines.append((row.label, row.paper or "-", runs_text(mine), error_text(mine), *differences))
    return Table(title, header, lines)


def runs_text(found: Measured) -> str:
    """Write how many runs of a row ended, diverged and are missing."""
    shown = str(len(found.errors))
    if found.diverged:
        shown += f", {len(found.diverged)} diverged"
    return shown + (f", {found.missing} missing" if found.missing else "")


def error_text(found: Measured) -> str:
    """Write the mean error of a row and its interval, or that there is none."""
    if found.errors:
        return text(mean_interval(list(found.errors.values())))
    return "diverged" if found.diverged else "none"


def difference(claim: Claim, found: Mapping[str, Measured]) -> Interval | None:
    """Return the paired difference that a claim is judged by; None if no seed has both rows.

    Examples
    --------
    >>> found = {"A": Measured({0: 40.0, 1: 41.0}, {}, 0), "B": Measured({0: 50.0, 1: 51.0}, {}, 0)}
    >>> difference(Claim("A", "B", True, "Table 1"), found)
    Interval(mean=-10.0, half=0.0, runs=2)
    """
    return paired_difference(found[claim.a].errors, found[claim.b].errors)


def verdict(claim: Claim, found: Mapping[str, Measured]) -> str:
    """Judge a claim by the 95 % interval of the paired difference.

    Examples
    --------
    >>> found = {"A": Measured({0: 40.0, 1: 41.0, 2: 42.0}, {}, 0), "B": Measured({0: 50.0, 1: 50.5, 2: 52.0}, {}, 0)}
    >>> verdict(Claim("A", "B", True, "Table 1"), found)
    'A below B: holds; the difference is -9.83 ± 0.72 over 3 pairs (Table 1)'
    >>> verdict(Claim("A", "B", False, "Table 1"), found)
    'A like B: does not hold; the difference is -9.83 ± 0.72 over 3 pairs (Table 1)'
    >>> verdict(Claim("A", "B", None, "our question"), found)
    'A minus B: lowers the error, -9.83 ± 0.72 over 3 pairs (our question)'
    """
    a, b = found[claim.a], found[claim.b]
    lost = sum(len(row.diverged) for row in (a, b))
    runs = f"{lost} run{'' if lost == 1 else 's'}"
    between = difference(claim, found)
    if claim.lower is None:
        left = f", {runs} that diverged left out" if lost else ""
        return f"{claim.a} minus {claim.b}: {effect(between)}{left} ({claim.source})"
    said = f"{claim.a} {'below' if claim.lower else 'like'} {claim.b}"
    if between is None or between.half is None or between.runs < FEWEST:
        why = f"fewer than {FEWEST} pairs" + (f", {runs} diverged" if lost else "")
        return f"{said}: no verdict, {why} ({claim.source})"
    low, high = between.mean - between.half, between.mean + between.half
    if claim.lower:
        judged = "holds" if high < 0 else "the opposite holds" if low > 0 else "not decided"
    else:
        judged = "no difference found" if low <= 0 <= high else "does not hold"
    left = f", {runs} that diverged left out" if lost else ""
    over = f"{text(between, '+')} over {between.runs} pairs{left}"
    return f"{said}: {judged}; the difference is {over} ({claim.source})"


def effect(difference: Interval | None, over: str = "pairs") -> str:
    """Say what a 95 % interval says of a change that nobody has made a claim on.

    Examples
    --------
    >>> effect(mean_interval([-5.0, -4.0, -4.5])), effect(mean_interval([-5.0]), "seeds")
    ('lowers the error, -4.50 ± 1.24 over 3 pairs', 'no verdict, fewer than 3 seeds')
    """
    if difference is None or difference.half is None or difference.runs < FEWEST:
        return f"no verdict, fewer than {FEWEST} {over}"
    low, high = difference.mean - difference.half, difference.mean + difference.half
    judged = "lowers the error" if high < 0 else "raises the error" if low > 0 else "no effect found"
    return f"{judged}, {text(difference, '+')} over {difference.runs} {over}"


def row_data(rows: Sequence[Row], found: Mapping[str, Measured]) -> list[dict[str, Any]]:
    """Return rows ready for JSON."""
    return [
        {
            "label": row.label,
            "paper": row.paper,
            "settings": dict(row.settings),
            "errors": {str(seed): error for seed, error in found[row.label].errors.items()},
            "diverged": {str(seed): message for seed, message in found[row.label].diverged.items()},
            "missing": found[row.label].missing,
        }
        for row in rows
    ]


def have(configs: Sequence[RunConfig], records: Records) -> bool:
    """Tell whether there is a record of every run."""
    return all(results.find(records, config) is not None for config in configs)

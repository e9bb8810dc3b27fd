"""Rows of a study with their errors, paired differences, and verdicts on what the paper claims."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from mabn_ref.paper.hits import two_way, unpacked
from mabn_ref.paper.study import Context, Outcome, Records, Study
from mabn_ref.train import results
from mabn_ref.train.comparison import ROWS
from mabn_ref.train.config import RunConfig, label, recipe
from mabn_ref.train.table_layout import FEWEST, Interval, Table, mean_interval, paired_difference, text


class Row(NamedTuple):
    """A row of a table: its name, the fields of its runs, and what the paper reports."""

    label: str
    settings: Mapping[str, Any]
    paper: str = ""


class Claim(NamedTuple):
    """The claim that row `a` has a lower error than row `b`, or that the two do not differ."""

    a: str
    b: str
    lower: bool | None  #: None if nobody claims either and the difference is the question
    source: str  #: who claims it, and where


class Measured(NamedTuple):
    """The runs of one row."""

    errors: dict[int, float]  #: the last test error of each seed that ended, in %
    diverged: dict[int, str]  #: the message of each that diverged
    missing: int  #: runs without a record: they failed, or have not been run
    #: for each seed that ended, a bool array: which test images were right; None if records lack this
    hits: Mapping[int, Any] | None = None


Found: TypeAlias = Mapping[str, Measured]  #: the runs of the rows, by label


def rows_of(*names: str) -> list[Row]:
    """Return rows of `mabn_ref.train.comparison.ROWS`, labelled as there."""
    return [Row(label(recipe(**ROWS[name])), ROWS[name]) for name in names]


def config(row: Row, seed: int, context: Context) -> RunConfig:
    """Return one run of a row."""
    return recipe(**{**context.settings, **row.settings, "seed": seed})


def configs(rows: Sequence[Row], context: Context) -> list[RunConfig]:
    """Return the runs of `rows`, seed by seed, so that an interrupted study has complete pairs."""
    runs = (config(row, seed, context) for seed in context.seeds for row in rows)
    return list(dict.fromkeys(runs))


def plan_of(rows: Sequence[Row]) -> Callable[[Context, Records], list[RunConfig]]:
    """Return the plan of a study whose rows do not depend on what is recorded."""
    return lambda context, records: configs(rows, context)


def rows_study(
    title: str,
    rows: Sequence[Row],
    claims: Sequence[Claim],
    *,
    tables: Callable[[Sequence[Row], Found], list[Table]],
    notes: Callable[[Sequence[Row], Found], list[str]],
    draw: Callable[[Mapping[str, Any]], dict[str, Any]],
    more: Callable[[Context, Records], list[Row]] = lambda context, records: [],
) -> Study:
    """Return a study that consists of rows and claims about them.

    `outcome_of` makes the outcome. `tables` and `notes` get the rows and their runs, `draw` the outcome's data;
    `more` returns further rows, which may depend on what is recorded.
    """

    def plan(context: Context, records: Records) -> list[RunConfig]:
        return configs([*rows, *more(context, records)], context)

    def outcome(context: Context, records: Records) -> Outcome:
        shown = [*rows, *more(context, records)]
        found = measure(shown, context, records)
        return outcome_of(shown, found, claims, tables(shown, found), notes(shown, found))

    return Study(title, plan, outcome, draw)


def outcome_of(
    rows: Sequence[Row], found: Found, claims: Sequence[Claim], tables: list[Table], notes: list[str], **data: Any
) -> Outcome:
    """Return an outcome with verdicts on the claims whose rows exist; its data are `row_data` and `data`."""
    known = [claim for claim in claims if {claim.a, claim.b} <= found.keys()]
    verdicts = [verdict(claim, found) for claim in known]
    differences = [between(found[claim.a], found[claim.b]) for claim in known]
    return Outcome(tables, verdicts, notes, {"rows": row_data(rows, found), **data}, differences)


def measure(rows: Sequence[Row], context: Context, records: Records, value: str = "") -> dict[str, Measured]:
    """Return the runs of each row, by its label; records of other runs are ignored.

    `value` names the entry of a record to use as the error; "" is the last test error. A run that ended without the
    entry counts as missing.
    """
    found: dict[str, Measured] = {}
    for row in rows:
        done, diverged = results.by_seed(records, configs([row], context))
        errors = {seed: r.get(value) if value else r["epochs"][-1]["test_error"] for seed, r in done.items()}
        known = {seed: error for seed, error in errors.items() if error is not None}
        found[row.label] = Measured(
            known,
            {seed: record["message"] for seed, record in diverged.items()},
            len(context.seeds) - len(known) - len(diverged),
            None if value else {seed: unpacked(r["hits"]) for seed, r in done.items() if "hits" in r} or None,
        )
    return found


def error_table(
    title: str,
    rows: Sequence[Row],
    found: Found,
    baselines: Sequence[str] = (),
    *,
    paper: str | None = "paper %",
    error: str = "error %",
) -> Table:
    """Return a table of runs and errors, made by `compared`; with the paper's errors if their column has a name."""
    lines = []
    for row in rows:
        reported = (row.paper or "-",) if paper else ()
        lines.append((row.label, *reported, runs_text(found[row.label]), error_text(found[row.label])))
    return compared(title, ("", *((paper,) if paper else ()), "runs", error), lines, found, baselines)


def compared(
    title: str, header: Sequence[str], lines: Sequence[tuple[str, ...]], found: Found, baselines: Sequence[str]
) -> Table:
    """Return a table of `lines`, which begin with a row's label, and of paired differences from the baselines.

    A baseline that is not among the rows has no column.
    """
    known = [base for base in baselines if base in found]
    complete = [(*line, *differences_to(known, line[0], found)) for line in lines]
    return Table(title, (*header, *(f"minus {base}" for base in known)), complete)


def differences_to(baselines: Sequence[str], label: str, found: Found) -> list[str]:
    """Return the paired differences of a row from the baselines as text, a dash for the row itself."""
    return ["-" if base == label else text(between(found[label], found[base]), "+") for base in baselines]


def runs_text(found: Measured) -> str:
    """Return as text how many runs of a row ended, diverged and are missing."""
    shown = str(len(found.errors))
    if found.diverged:
        shown += f", {len(found.diverged)} diverged"
    return shown + (f", {found.missing} missing" if found.missing else "")


def error_text(found: Measured) -> str:
    """Return the mean error of a row with its interval as text, or "diverged" or "none"."""
    if found.errors:
        return text(mean_interval(list(found.errors.values())))
    return "diverged" if found.diverged else "none"


def counts_text(found: Sequence[Measured]) -> str:
    """Return as text the numbers of runs of the rows, from the fewest to the most."""
    return "-".join(map(str, sorted({len(row.errors) for row in found})))


def between(a: Measured, b: Measured) -> Interval | None:
    """Return the mean of a's error less b's over the seeds of both, and over test images where all have hits.

    It is what a claim is judged by; None if no seed has both.
    """
    shared = sorted(a.errors.keys() & b.errors.keys())
    if not shared or a.hits is None or b.hits is None or not set(shared) <= a.hits.keys() & b.hits.keys():
        return paired_difference(a.errors, b.errors)
    return two_way(np.array([100.0 * b.hits[seed] - 100.0 * a.hits[seed] for seed in shared]))


def side_of_zero(interval: Interval | None) -> int | None:
    """Return -1 or +1 if the whole 95 % interval is below or above zero, else 0; None if there is no interval."""
    if interval is None or interval.half is None:
        return None
    low, high = interval.mean - interval.half, interval.mean + interval.half
    return -1 if high < 0 else 1 if low > 0 else 0


BELOW = {-1: "holds", 0: "not decided", 1: "the opposite holds"}
"""The verdict on a claim that a difference is negative, by the side of zero on which its interval lies."""


def verdict(claim: Claim, found: Found) -> str:
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
    lost = sum(len(found[label].diverged) for label in (claim.a, claim.b))
    runs = f"{lost} run{'' if lost == 1 else 's'}"
    left = f", {runs} that diverged left out" if lost else ""
    difference = between(found[claim.a], found[claim.b])
    if claim.lower is None:
        return f"{claim.a} minus {claim.b}: {effect(difference)}{left} ({claim.source})"
    said, side = f"{claim.a} {'below' if claim.lower else 'like'} {claim.b}", side_of_zero(difference)
    if difference is None or side is None:
        why = f"fewer than {FEWEST} pairs" + (f", {runs} diverged" if lost else "")
        return f"{said}: no verdict, {why} ({claim.source})"
    decided = BELOW[side] if claim.lower else "does not hold" if side else "no difference found"
    over = f"{text(difference, '+')} over {difference.runs} pairs{left}"
    return f"{said}: {decided}; the difference is {over} ({claim.source})"


def effect(difference: Interval | None, over: str = "pairs") -> str:
    """Return what a 95 % interval says of a change about which there is no claim."""
    side = side_of_zero(difference)
    if difference is None or side is None:
        return f"no verdict, fewer than {FEWEST} {over}"
    said = {-1: "lowers the error", 0: "no effect found", 1: "raises the error"}[side]
    return f"{said}, {text(difference, '+')} over {difference.runs} {over}"


def row_data(rows: Sequence[Row], found: Found) -> list[dict[str, Any]]:
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

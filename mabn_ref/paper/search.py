"""The same tuning for every method: equally many settings, on separate seeds; then the best with fresh seeds.

A comparison in which only one method was tuned is not fair to the others. The search chooses a schedule and a decay
for Batch Renormalization, a window and a start of r for MABN, a decay and a learning rate for batch norm and the
modified form.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from mabn_ref.paper import claims
from mabn_ref.paper.claims import Claim, Found, Measured, Row
from mabn_ref.paper.study import Context, Outcome, Records, Study
from mabn_ref.train import plotting, results
from mabn_ref.train.config import RunConfig, recipe
from mabn_ref.train.table_layout import Table

SEARCH_SEEDS = (1000, 1001)  #: seeds on which settings are compared; never those that are reported

BUDGET = 6  #: settings per method


def _grid(**choices: Sequence[Any]) -> list[dict[str, Any]]:
    """Return every combination of these choices."""
    return [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]


_DECAY_AND_RATE = _grid(decay=(0.9, 0.98), lr_factor=(0.5, 1.0, 2.0))
_GRIDS = {
    "bn-2": _DECAY_AND_RATE,
    "bn-2-wc": _DECAY_AND_RATE,
    "brn-2": _grid(decay=(0.9, 0.99), ramp=(0.25, 1.0, 2.0)),
    "modified-bn-2": _DECAY_AND_RATE,
    "mabn-2": _grid(window=(None, 32, 64), renorm_after=(25, 100)),
    "bn-32": _DECAY_AND_RATE,
}
_METHODS = {
    row.label: (row.settings, grid) for row, grid in zip(claims.rows_of(*_GRIDS), _GRIDS.values(), strict=True)
}

_CLAIMS = [
    Claim("BRN 2", "BN 2", True, "Table 1"),
    Claim("MABN 2 + WC", "BRN 2", True, "Table 1"),
    Claim("MABN 2 + WC", "modified BN 2 + WC", True, "Table 2"),
    Claim("MABN 2 + WC", "BN 2", True, "Table 1"),
    Claim("MABN 2 + WC", "BN 2 + WC", True, "the control"),
]


def candidates(context: Context) -> dict[str, list[Row]]:
    """Return the settings of each method, `BUDGET` of them; ``lr_factor`` multiplies the run's learning rate."""
    rate = float(context.settings.get("lr", RunConfig.lr))
    found: dict[str, list[Row]] = {method: [] for method in _METHODS}
    for method, (fixed, grid) in _METHODS.items():
        for settings in grid:
            fields = {**fixed, **settings}
            if "lr_factor" in fields:
                fields["lr"] = rate * fields.pop("lr_factor")
            name = ", ".join(f"{key} {'default' if value is None else value}" for key, value in settings.items())
            found[method].append(Row(f"{method}: {name}", fields))
    return found


def best(method: str, context: Context, records: Records) -> Row | None:
    """Return the method's setting with the lowest mean error on the search's seeds.

    None until all of its runs are recorded, and if every setting diverged at least once.
    """
    return lowest(candidates(context)[method], context._replace(seeds=SEARCH_SEEDS), records)


def lowest(rows: Sequence[Row], context: Context, records: Records) -> Row | None:
    """Return the row with the lowest mean error; None until all runs are recorded, or if every row has diverged."""
    if results.missing(claims.configs(rows, context), records):
        return None
    found = claims.measure(rows, context, records)
    first = min(rows, key=lambda row: _score(found[row.label]))
    return first if math.isfinite(_score(found[first.label])) else None


def _score(found: Measured) -> float:
    """Return the mean error; infinity for a setting that diverged once."""
    return math.inf if found.diverged or not found.errors else statistics.fmean(found.errors.values())


def _chosen(context: Context, records: Records) -> dict[str, Row]:
    """Return the best setting of each method that has one."""
    return {method: row for method in _METHODS if (row := best(method, context, records)) is not None}


def _plan(context: Context, records: Records) -> list[RunConfig]:
    searching = context._replace(seeds=SEARCH_SEEDS)
    runs = [run for rows in candidates(context).values() for run in claims.configs(rows, searching)]
    return list(dict.fromkeys([*runs, *claims.configs(list(_chosen(context, records).values()), context)]))


def _tried(method: str, settings: Found) -> Table:
    lines: list[tuple[str, ...]] = []
    for label, found in settings.items():
        score = f"{_score(found):.2f}" if math.isfinite(_score(found)) else "diverged" if found.diverged else "none"
        lines.append((label.partition(": ")[2], claims.runs_text(found), score))
    return Table(f"{method}: search, mean error % on seeds {SEARCH_SEEDS}", ("", "runs", "error %"), lines)


def _outcome(context: Context, records: Records) -> Outcome:
    searching = context._replace(seeds=SEARCH_SEEDS)
    of_all = candidates(context)
    tables = [_tried(method, claims.measure(rows, searching, records)) for method, rows in of_all.items()]
    chosen = _chosen(context, records)
    rows = [Row(method, row.settings) for method, row in chosen.items()]
    final = claims.measure(rows, context, records)
    title = f"The best of {BUDGET} settings each, on seeds of its own"
    tables.append(claims.error_table(title, rows, final, ("BN 32",)))
    defaults = [Row(f"{method}, default", fixed) for method, (fixed, _) in _METHODS.items()]
    found_defaults = claims.measure(defaults, context, records)
    known = [row for row in defaults if found_defaults[row.label].missing < len(context.seeds)]
    if known:
        tables.append(claims.error_table("The defaults, as Tables 1 and 2 have them", known, found_defaults))
    settings = [f"{method}: {row.label.partition(': ')[2]}" for method, row in chosen.items()]
    notes = [
        f"Every method had {BUDGET} settings and {len(SEARCH_SEEDS)} runs of each, on seeds that are not reported.",
        "Settings are compared on the test images, as many for each method: all errors are a little too low.",
        *([f"Chosen: {'; '.join(settings)}."] if settings else []),
    ]
    outcome = claims.outcome_of(rows, final, _CLAIMS, tables, notes)
    settings_of = {method: dict(row.settings) for method, row in chosen.items()}
    return outcome._replace(data={"chosen": settings_of, **outcome.data})


def _draw(data: Mapping[str, Any]) -> dict[str, Any]:
    rows = data["rows"]
    return {"": plotting.errors_by_row(rows, f"The best of {BUDGET} settings each")} if rows else {}


SEARCH = Study("The same tuning for every method, Batch Renormalization's schedule included", _plan, _outcome, _draw)


TUNED = "BRN 2, best of the search"


def tuned_rows(context: Context, records: Records) -> list[Row]:
    """Return Batch Renormalization as tuned by the search, once the search's runs are recorded."""
    chosen = best("BRN 2", context, records)
    return [] if chosen is None else [Row(TUNED, chosen.settings)]


def note_on_tuning(rows: Sequence[Row]) -> str:
    """Return the note on how Batch Renormalization was tuned in a table with these rows."""
    schedule = "BRN has Ioffe's schedule squeezed into the run"
    if rows[-1].label != TUNED:
        return f"{schedule}. After `mabn-ref paper search` this table has its best, too."
    default = next(row for row in rows if row.settings["norm"] == "brn" and row.settings["norm_batch"] == 2)
    same = recipe(**{**default.settings, "ramp": 1.0}) == recipe(**rows[-1].settings)  # with the default schedule
    which = ", which turn out to be those it has" if same else ""
    return f"{schedule}, and below the best of {BUDGET} settings on other seeds{which}."

"""The same tuning for every method: as many settings each, on seeds of their own, then the best with fresh seeds.

A comparison in which one method was tuned says nothing about the others. Batch Renormalization has a schedule and a
decay to choose, MABN a window and a start of r, batch norm and the modified form a decay and a learning rate.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from itertools import product
from typing import Any

from mabn_ref.paper import drawing
from mabn_ref.paper.measured import (
    Claim,
    Measured,
    Row,
    config,
    configs,
    difference,
    error_table,
    have,
    measure,
    row_data,
    runs_text,
    verdict,
)
from mabn_ref.paper.study import Context, Outcome, Records, Study, Table
from mabn_ref.train import results
from mabn_ref.train.config import RunConfig

__all__ = ["BUDGET", "SEARCH", "SEARCH_SEEDS", "best", "candidates"]

SEARCH_SEEDS = (1000, 1001)
"""Seeds that settings are compared on; never those that are reported."""

BUDGET = 6
"""Settings a method."""

_DECAY_AND_RATE: list[dict[str, Any]] = [
    {"decay": decay, "lr_factor": factor} for decay, factor in product((0.9, 0.98), (0.5, 1.0, 2.0))
]

_GRIDS: dict[str, tuple[Mapping[str, Any], list[dict[str, Any]]]] = {
    "BN 2": (
        {"norm": "bn", "norm_batch": 2},
        _DECAY_AND_RATE,
    ),
    "BN 2 + WC": (
        {"norm": "bn", "norm_batch": 2, "centralized": True},
        _DECAY_AND_RATE,
    ),
    "BRN 2": (
        {"norm": "brn", "norm_batch": 2},
        [{"decay": decay, "ramp": ramp} for decay, ramp in product((0.9, 0.99), (0.25, 1.0, 2.0))],
    ),
    "modified BN 2 + WC": (
        {"norm": "modified-bn", "norm_batch": 2},
        _DECAY_AND_RATE,
    ),
    "MABN 2 + WC": (
        {"norm": "mabn", "norm_batch": 2},
        [{"window": window, "renorm_after": start} for window, start in product((None, 32, 64), (25, 100))],
    ),
    "BN 32": (
        {"norm": "bn", "norm_batch": 32},
        _DECAY_AND_RATE,
    ),
}


def candidates(context: Context) -> dict[str, list[Row]]:
    """Return the settings of each method, `BUDGET` of them; ``lr_factor`` multiplies the run's learning rate."""
    found: dict[str, list[Row]] = {}
    for method, (fixed, grid) in _GRIDS.items():
        rows = []
        for settings in grid:
            fields = dict(settings)
            factor = fields.pop("lr_factor", None)
            if factor is not None:
                fields["lr"] = factor * float(context.settings.get("lr", RunConfig.lr))
            name = ", ".join(f"{key} {'default' if value is None else value}" for key, value in settings.items())
            rows.append(Row(f"{method}: {name}", {**fixed, **fields}))
        found[method] = rows
    return found


def best(method: str, context: Context, records: Records) -> Row | None:
    """Return the setting of lowest mean error on the search's seeds.

    None before all of its runs are recorded, and if no setting got through them without diverging.
    """
    rows = candidates(context)[method]
    searching = context._replace(seeds=SEARCH_SEEDS)
    if not have(configs(rows, searching), records):
        return None
    found = measure(rows, searching, records)
    lowest = min(rows, key=lambda row: _score(found[row.label]))
    return lowest if math.isfinite(_score(found[lowest.label])) else None


def _score(found: Measured) -> float:
    """The mean error; a setting that diverged once is out."""
    return math.inf if found.diverged or not found.errors else statistics.fmean(found.errors.values())


def _score_text(found: Measured) -> str:
    if found.diverged:
        return "diverged"
    return f"{_score(found):.2f}" if found.errors else "none"


def _plan(context: Context, records: Records) -> list[RunConfig]:
    searching = context._replace(seeds=SEARCH_SEEDS)
    of_all = candidates(context)
    runs = [run for rows in of_all.values() for run in configs(rows, searching)]
    chosen = [row for method in of_all if (row := best(method, context, records)) is not None]
    return list(dict.fromkeys([*runs, *configs(chosen, context)]))


def _outcome(context: Context, records: Records) -> Outcome:
    of_all, searching = candidates(context), context._replace(seeds=SEARCH_SEEDS)
    tables, chosen = [], {}
    for method, rows in of_all.items():
        found = measure(rows, searching, records)
        lines: list[tuple[str, ...]] = [
            (row.label.partition(": ")[2], runs_text(found[row.label]), _score_text(found[row.label])) for row in rows
        ]
        tables.append(
            Table(f"{method}: search, mean error % on seeds {SEARCH_SEEDS}", ("", "runs", "error %"), lines)
        )
        row = best(method, context, records)
        if row is not None:
            chosen[method] = row
    defaults = {method: Row(f"{method}, default", fixed) for method, (fixed, _) in _GRIDS.items()}
    rows = [Row(method, row.settings) for method, row in chosen.items()]
    final = measure(rows, context, records)
    claims = [
        Claim(a, b, True, source)
        for a, b, source in (
            ("BRN 2", "BN 2", "Table 1"),
            ("MABN 2 + WC", "BRN 2", "Table 1"),
            ("MABN 2 + WC", "modified BN 2 + WC", "Table 2"),
            ("MABN 2 + WC", "BN 2", "Table 1"),
            ("MABN 2 + WC", "BN 2 + WC", "the control"),
        )
        if a in final and b in final
    ]
    tables.append(
        error_table(
            f"The best of {BUDGET} settings each, on seeds of its own",
            rows,
            final,
            ("BN 32",) if "BN 32" in final else (),
        )
    )
    known = [method for method, row in defaults.items() if _known(row, context, records)]
    if known:
        compared = [defaults[method] for method in known]
        tables.append(
            error_table("The defaults, as Tables 1 and 2 have them", compared, measure(compared, context, records))
        )
    settings = [f"{method}: {row.label.partition(': ')[2]}" for method, row in chosen.items()]
    notes = [
        f"Every method had {BUDGET} settings and {len(SEARCH_SEEDS)} runs of each, on seeds that are not reported.",
        "Settings are compared on the test images, as many for each method: all errors are a little too low.",
        *([f"Chosen: {'; '.join(settings)}."] if settings else []),
    ]
    return Outcome(
        tables,
        [verdict(claim, final) for claim in claims],
        notes,
        {"chosen": {method: dict(row.settings) for method, row in chosen.items()}, "rows": row_data(rows, final)},
        [difference(claim, final) for claim in claims],
    )


def _known(row: Row, context: Context, records: Records) -> bool:
    return any(results.find(records, config(row, seed, context)) is not None for seed in context.seeds)


def _draw(data: Mapping[str, Any]) -> dict[str, Any]:
    rows = data["rows"]
    return {"": drawing.errors_by_row(rows, f"The best of {BUDGET} settings each")} if rows else {}


SEARCH = Study("The same tuning for every method, Batch Renormalization's schedule included", _plan, _outcome, _draw)

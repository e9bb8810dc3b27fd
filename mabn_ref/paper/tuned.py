"""Batch Renormalization as the search has tuned it: a further row of Tables 1 and 2."""

from __future__ import annotations

from collections.abc import Callable

from mabn_ref.paper.measured import Row, configs
from mabn_ref.paper.search import BUDGET, best
from mabn_ref.paper.study import Context, Records
from mabn_ref.train.config import RunConfig
from mabn_ref.train.rows import recipe

__all__ = ["TUNED", "note_on_tuning", "plan_tuned", "with_tuned"]

TUNED = "BRN 2, best of the search"
_AS_IT_IS = 1.0
"""The factor of BRN's schedule that leaves it as it is."""


def with_tuned(rows: list[Row], context: Context, records: Records) -> list[Row]:
    """Return `rows`, and Batch Renormalization as the search has tuned it once the search's runs are recorded."""
    chosen = best("BRN 2", context, records)
    return rows if chosen is None else [*rows, Row(TUNED, chosen.settings)]


def plan_tuned(rows: list[Row]) -> Callable[[Context, Records], list[RunConfig]]:
    """Return the plan of a study with these rows and the tuned one."""

    def plan(context: Context, records: Records) -> list[RunConfig]:
        return configs(with_tuned(rows, context, records), context)

    return plan


def note_on_tuning(rows: list[Row]) -> str:
    """Say how Batch Renormalization was tuned in a table that has these rows."""
    if rows[-1].label == TUNED:
        default = next(row for row in rows if row.settings["norm"] == "brn" and row.settings["norm_batch"] == 2)
        same = recipe(**{**default.settings, "ramp": _AS_IT_IS}) == recipe(**rows[-1].settings)
        which = ", which turn out to be those it has" if same else ""
        return (
            f"BRN has Ioffe's schedule squeezed into the run, and below the best of {BUDGET} settings on other "
            f"seeds{which}."
        )
    return (
        "BRN has Ioffe's schedule squeezed into the run. After `mabn-ref paper search` this table has its best, too."
    )

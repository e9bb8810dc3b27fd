"""Table 4 as a full factorial: averages in both directions, form, centralisation."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

from mabn_ref.paper import drawing
from mabn_ref.paper.factorial import AVERAGES, CELLS, FORMS, NAMES, ROWS, cell
from mabn_ref.paper.measured import Claim, difference, error_text, measure, plan_of, row_data, verdict
from mabn_ref.paper.study import Context, Outcome, Records, Study, Table

__all__ = ["TABLE_4"]


def _outcome(context: Context, records: Records) -> Outcome:
    found = measure(ROWS, context, records)
    tables = []
    for form, wc in product(FORMS, (False, True)):
        lines = [
            (f"forward {NAMES[ahead]}", *(error_text(found[cell(form, ahead, back, wc)]) for back in AVERAGES))
            for ahead in AVERAGES
        ]
        header = ("", *(f"backward {NAMES[back]}" for back in AVERAGES))
        runs = sorted({len(found[cell(form, a, b, wc)].errors) for a, b in product(AVERAGES, AVERAGES)})
        title = f"{form} form{' + WC' if wc else ''}: test error %, {'-'.join(map(str, runs))} runs a cell"
        tables.append(Table(title, header, lines))
    best = cell("modified", "sma", "sma", True)
    claims = [
        Claim(best, cell("modified", "ema", "batch", True), True, "Table 2, rows 7 and 8"),
        Claim(best, cell("modified", "sma", "ema", True), True, "section 4.3: SMAS, not EMAS, in backward"),
        Claim(best, cell("modified", "sma", "batch", True), True, "Table 4: averages in backward"),
        Claim(best, cell("modified", "sma", "sma", False), True, "Table 4: WC matters to the modified form"),
        Claim(best, cell("vanilla", "sma", "sma", False), True, "Table 2: averages alone fail in the vanilla form"),
        Claim(best, cell("vanilla", "sma", "sma", True), True, "the control"),
        Claim(best, cell("vanilla", "ema", "sma", True), True, "the control: row 5 of Table 2, centralised"),
    ]
    return Outcome(
        tables,
        [verdict(claim, found) for claim in claims],
        [
            CELLS,
            "The paper's own Table 4 could not be recovered from its text; its claims could.",
        ],
        {"rows": row_data(ROWS, found)},
        [difference(claim, found) for claim in claims],
    )


def _draw(data: Mapping[str, Any]) -> dict[str, Any]:
    return {"": drawing.errors_by_row(data["rows"], "Table 4 as a full factorial")}


TABLE_4 = Study(
    "Table 4 as a full factorial: averages in both directions, form, centralisation", plan_of(ROWS), _outcome, _draw
)

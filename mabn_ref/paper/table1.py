"""Table 1: batch norm, Batch Renormalization and MABN at |B| = 2 and 32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mabn_ref.paper import drawing, figure1b
from mabn_ref.paper.measured import Claim, difference, error_table, measure, row_data, verdict
from mabn_ref.paper.notes import PAIRING, PAPER_IS_IMAGENET
from mabn_ref.paper.study import Context, Outcome, Records, Study
from mabn_ref.paper.tuned import TUNED, note_on_tuning, plan_tuned, with_tuned

__all__ = ["ROWS", "TABLE_1"]

ROWS = [row for row in figure1b.ROWS if row.settings["norm_batch"] in (2, 32)]


def _outcome(context: Context, records: Records) -> Outcome:
    rows = with_tuned(ROWS, context, records)
    found = measure(rows, context, records)
    claims = [
        Claim("MABN 2 + WC", "BN 2", True, "Table 1"),
        Claim("MABN 2 + WC", "BRN 2", True, "Table 1"),
        Claim("BRN 2", "BN 2", True, "Table 1"),
        Claim("BN 32", "BN 2", True, "Table 1"),
        Claim("MABN 2 + WC", "BN 32", False, "Table 1"),
        Claim("MABN 2 + WC", "BN 2 + WC (control)", True, "the control"),
        Claim("MABN 2 + WC", "BN 32 + WC (control)", False, "the control"),
    ]
    claims += [Claim("MABN 2 + WC", TUNED, True, "Table 1, with BRN tuned and MABN not")] if TUNED in found else []
    table = error_table("Table 1: test error", rows, found, ("BN 32", "BN 32 + WC (control)"))
    return Outcome(
        [table],
        [verdict(claim, found) for claim in claims],
        [note_on_tuning(rows), PAIRING, PAPER_IS_IMAGENET],
        {"rows": row_data(rows, found)},
        [difference(claim, found) for claim in claims],
    )


def _draw(data: Mapping[str, Any]) -> dict[str, Any]:
    return {"": drawing.errors_by_row(data["rows"], "Table 1 in miniature")}


TABLE_1 = Study("Table 1: BN, BRN and MABN at |B| = 2 and 32", plan_tuned(ROWS), _outcome, _draw)

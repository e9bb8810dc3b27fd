"""Table 2: the ablation, one part of MABN after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mabn_ref.paper import drawing
from mabn_ref.paper.factorial import moving
from mabn_ref.paper.measured import Claim, Row, difference, error_table, measure, row_data, verdict
from mabn_ref.paper.notes import PAIRING, PAPER_IS_IMAGENET
from mabn_ref.paper.study import Context, Outcome, Records, Study
from mabn_ref.paper.tuned import note_on_tuning, plan_tuned, with_tuned

__all__ = ["ROWS", "TABLE_2"]

ROWS = [
    Row("(1) BN 32", {"norm": "bn", "norm_batch": 32}, "23.41"),
    Row("(2) modified BN 32 + WC", {"norm": "modified-bn", "norm_batch": 32}, "as row 1"),
    Row("(3) BN 2", {"norm": "bn", "norm_batch": 2}, "35.22"),
    Row("(4) BRN 2", {"norm": "brn", "norm_batch": 2}, "30.29"),
    Row("(5) BRN 2, SMAS backward", moving("vanilla", "ema", "sma", False), "diverged"),
    Row("(6) modified BN 2 + WC", {"norm": "modified-bn", "norm_batch": 2}, "below 30.29"),
    Row("(7) modified BN 2 + WC, EMAS forward", moving("modified", "ema", "batch", True), "27.03"),
    Row("(8) MABN 2 + WC", {"norm": "mabn", "norm_batch": 2}, "23.58"),
    Row("BN 32 + WC (control)", {"norm": "bn", "norm_batch": 32, "centralized": True}),
    Row("BN 2 + WC (control)", {"norm": "bn", "norm_batch": 2, "centralized": True}),
    Row("BRN 2 + WC (control)", {"norm": "brn", "norm_batch": 2, "centralized": True}),
    Row("modified BN 2 (control)", {"norm": "modified-bn", "norm_batch": 2, "centralized": False}),
    Row("MABN 2 (control)", {"norm": "mabn", "norm_batch": 2, "centralized": False}),
]

_CLAIMS = [
    Claim("(8) MABN 2 + WC", "(3) BN 2", True, "Table 2, rows 3 and 8"),
    Claim("(8) MABN 2 + WC", "BN 2 + WC (control)", True, "the control"),
    Claim("(4) BRN 2", "(3) BN 2", True, "Table 2, rows 3 and 4"),
    Claim("(6) modified BN 2 + WC", "(4) BRN 2", True, "Table 2, rows 4 and 6"),
    Claim("(6) modified BN 2 + WC", "BN 2 + WC (control)", True, "the control"),
    Claim("(7) modified BN 2 + WC, EMAS forward", "(6) modified BN 2 + WC", True, "Table 2, rows 6 and 7"),
    Claim("(8) MABN 2 + WC", "(7) modified BN 2 + WC, EMAS forward", True, "Table 2, rows 7 and 8"),
    Claim("(8) MABN 2 + WC", "(1) BN 32", False, "Table 2, rows 1 and 8"),
    Claim("(8) MABN 2 + WC", "BN 32 + WC (control)", False, "the control"),
    Claim("(2) modified BN 32 + WC", "(1) BN 32", False, "Table 2, rows 1 and 2"),
    Claim("(2) modified BN 32 + WC", "BN 32 + WC (control)", False, "the control"),
    Claim("(8) MABN 2 + WC", "MABN 2 (control)", True, "Table 4: WC matters to the modified form"),
    Claim("(6) modified BN 2 + WC", "modified BN 2 (control)", True, "Table 4: WC matters to the modified form"),
    Claim("BN 2 + WC (control)", "(3) BN 2", False, "Table 4: WC does little for the vanilla form"),
]


def _outcome(context: Context, records: Records) -> Outcome:
    rows = with_tuned(ROWS, context, records)
    found = measure(rows, context, records)
    fifth = found["(5) BRN 2, SMAS backward"]
    came = f"diverged in {len(fifth.diverged)} of {len(fifth.diverged) + len(fifth.errors)} runs here"
    return Outcome(
        [error_table("Table 2: test error", rows, found, ("(1) BN 32", "BN 32 + WC (control)"))],
        [verdict(claim, found) for claim in _CLAIMS],
        [
            f"Row 5 does not converge in the paper, and {came}.",
            "Rows 5 and 7 are `moving_statistics` with MABN's clip and start of r.",
            note_on_tuning(rows),
            PAIRING,
            PAPER_IS_IMAGENET,
        ],
        {"rows": row_data(rows, found)},
        [difference(claim, found) for claim in _CLAIMS],
    )


def _draw(data: Mapping[str, Any]) -> dict[str, Any]:
    return {"": drawing.errors_by_row(data["rows"], "Table 2 in miniature")}


TABLE_2 = Study("Table 2: the ablation, one part of MABN after the other", plan_tuned(ROWS), _outcome, _draw)

"""Section 2: the methods that the paper names beside its own, on the same small network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mabn_ref.paper import drawing
from mabn_ref.paper.measured import Claim, Row, difference, error_table, measure, plan_of, row_data, verdict
from mabn_ref.paper.study import Context, Outcome, Records, Study

__all__ = ["RELATED", "ROWS"]

ROWS = [
    Row("BN 32", {"norm": "bn", "norm_batch": 32}),
    Row("BN 2", {"norm": "bn", "norm_batch": 2}),
    Row("MABN 2 + WC", {"norm": "mabn", "norm_batch": 2}),
    Row("GN", {"norm": "gn", "norm_batch": 1}),
    Row("LN", {"norm": "ln", "norm_batch": 1}),
    Row("IN", {"norm": "in", "norm_batch": 1}),
    Row("GN + WS", {"norm": "gn", "norm_batch": 1, "standardized": True}),
    Row("BN 2 + WS", {"norm": "bn", "norm_batch": 2, "standardized": True}),
    Row("EvalNorm 2", {"norm": "eval-norm", "norm_batch": 2}),
    Row("EvalNorm 2, estimated", {"norm": "eval-norm", "norm_batch": 2, "estimated": True}),
    Row("Online Norm", {"norm": "online", "norm_batch": 1}),
    Row("SyncBN 32", {"norm": "sync-bn", "norm_batch": 32}),
]

_CLAIMS = [
    Claim("GN", "BN 32", False, "section 2: GN restores the performance of BN very well"),
    Claim("BN 32", "LN", True, "section 2: LN shows no superiority to BN in most cases"),
    Claim("BN 32", "IN", True, "section 2: IN shows no superiority to BN in most cases"),
    Claim("GN + WS", "GN", True, "section 2: WS needs GN where batches are small"),
    Claim("BN 32", "BN 2 + WS", True, "section 2: WS alone does not mend small batches"),
    Claim("EvalNorm 2", "BN 2", True, "section 2: EvalNorm restores BN to some extent"),
    Claim("EvalNorm 2, estimated", "BN 2", True, "section 2: EvalNorm restores BN to some extent"),
    Claim("BN 32", "EvalNorm 2, estimated", True, "section 2: but not completely"),
    Claim("Online Norm", "BN 32", False, "section 2: Online Normalization without degradation"),
    Claim("MABN 2 + WC", "GN", None, "our question"),
]


def _outcome(context: Context, records: Records) -> Outcome:
    found = measure(ROWS, context, records)
    return Outcome(
        [error_table("Related methods: test error", ROWS, found, ("BN 32", "BN 2"))],
        [verdict(claim, found) for claim in _CLAIMS],
        [
            "The paper gives no numbers for these on this task; the claims are its sentences.",
            "SyncBN runs in one process here, as a single worker with the whole batch, and so is BN 32.",
            "EvalNorm trains as BN 2 does. At inference a sample's own statistics weigh 1/2, or as was estimated.",
            "WS: standardised weights. Nothing was tuned.",
        ],
        {"rows": row_data(ROWS, found)},
        [difference(claim, found) for claim in _CLAIMS],
    )


def _draw(data: Mapping[str, Any]) -> dict[str, Any]:
    return {"": drawing.errors_by_row(data["rows"], "Related methods in miniature")}


RELATED = Study(
    "Related methods: GN, LN, IN, weight standardisation, EvalNorm, Online Norm, SyncBN",
    plan_of(ROWS),
    _outcome,
    _draw,
)

"""The window: error against m, and decay, clip and start of r around it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

from mabn_ref.paper import drawing
from mabn_ref.paper.measured import Claim, Row, difference, error_table, measure, plan_of, row_data, verdict
from mabn_ref.paper.study import Context, Outcome, Records, Study

__all__ = ["ROWS", "WINDOW"]

_WINDOWS = (1, 4, 16, 32, 64, 128, 256)


def _mabn(label: str, **settings: Any) -> Row:
    return Row(label, {"norm": "mabn", "norm_batch": 2, **settings})


def _rows() -> list[Row]:
    rows = [_mabn(f"m = {m}", window=None if m == 16 else m) for m in _WINDOWS]
    around: list[tuple[str, str, tuple[Any, ...]]] = [
        ("decay", "decay", (0.9, 0.995)),
        ("clip", "clip", (1.0, 1.5, 20.0)),
        ("r from gradient batch", "renorm_after", (0, 25, 10**6)),
    ]
    for m, (name, field, values) in product((16, 64), around):
        for value in values:
            shown = "never" if value == 10**6 else value
            rows.append(_mabn(f"m = {m}, {name} {shown}", window=None if m == 16 else m, **{field: value}))
    return [*rows, *_CONTROLS]


_CONTROLS = [
    Row("BN 32", {"norm": "bn", "norm_batch": 32}),
    Row("BN 32 + WC", {"norm": "bn", "norm_batch": 32, "centralized": True}),
    Row("BN 2 + WC", {"norm": "bn", "norm_batch": 2, "centralized": True}),
]

ROWS = _rows()


def _outcome(context: Context, records: Records) -> Outcome:
    found = measure(ROWS, context, records)
    claims = [
        Claim("m = 64", "m = 16", True, "the prototype: four gradient batches are better than one"),
        Claim("m = 64", "BN 32 + WC", False, "the prototype: m = 64 closes the gap"),
        Claim("m = 16", "m = 16, r from gradient batch never", True, "the prototype: r matters"),
        Claim("m = 64", "m = 256", None, "does it turn?"),
        Claim("m = 16", "m = 1", True, "section 4.3: averages help"),
    ]
    return Outcome(
        [error_table("MABN at |B| = 2, centralised weights", ROWS, found, ("m = 16", "BN 32 + WC"))],
        [verdict(claim, found) for claim in claims],
        ["m = 16 is one gradient batch, as in the paper. Decay 0.98, clip 5, r from gradient batch 100 if not said."],
        {"rows": row_data(ROWS, found)},
        [difference(claim, found) for claim in claims],
    )


def _draw(data: Mapping[str, Any]) -> dict[str, Any]:
    rows = {row["label"]: row for row in data["rows"]}
    curves = {"MABN 2 + WC": {m: rows[f"m = {m}"] for m in _WINDOWS}}
    curves |= {row.label: dict.fromkeys((1, 256), rows[row.label]) for row in _CONTROLS}
    return {"": drawing.errors_over(curves, "MABN's window at |B| = 2", "m, normalisation batches in the window")}


WINDOW = Study("MABN's window, decay, clip and start of r", plan_of(ROWS), _outcome, _draw)

"""Figure 1(b): error against |B| at a fixed gradient batch."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

from mabn_ref.paper import drawing
from mabn_ref.paper.measured import Claim, Row, difference, error_text, measure, plan_of, row_data, verdict
from mabn_ref.paper.notes import PAIRING
from mabn_ref.paper.study import Context, Outcome, Records, Study, Table

__all__ = ["FIGURE_1B", "ROWS", "SIZES"]

SIZES = (1, 2, 4, 8, 16, 32)
_METHODS = {"BN": "bn", "BRN": "brn", "MABN": "mabn"}
_PAPER = {("bn", 32): "23.41", ("bn", 2): "35.22", ("brn", 2): "30.29", ("mabn", 2): "23.58"}


def _rows() -> list[Row]:
    """|B| of 1 to 32 for each method, with centralised weights and without."""
    rows = []
    for (name, norm), centralized, size in product(_METHODS.items(), (False, True), SIZES):
        pairing = centralized == (norm == "mabn")
        label = f"{name} {size}{' + WC' if centralized else ''}{'' if pairing else ' (control)'}"
        settings = {"norm": norm, "norm_batch": size, "centralized": centralized}
        rows.append(Row(label, settings, _PAPER.get((norm, size), "") if pairing else ""))
    return rows


ROWS = _rows()


def _lines() -> dict[str, dict[int, str]]:
    """The labels of each line of the figure by |B|."""
    lines: dict[str, dict[int, str]] = {}
    for row, size in zip(ROWS, SIZES * (len(ROWS) // len(SIZES)), strict=True):
        lines.setdefault(row.label.replace(f" {size}", "", 1), {})[size] = row.label
    return lines


def _outcome(context: Context, records: Records) -> Outcome:
    found = measure(ROWS, context, records)
    lines = [(name, *(error_text(found[label]) for label in labels.values())) for name, labels in _lines().items()]
    runs = {len(measured.errors) for measured in found.values()}
    table = Table(
        f"Figure 1(b): test error %, mean and half of the 95 % interval over {'-'.join(map(str, sorted(runs)))} runs",
        ("|B|", *map(str, SIZES)),
        lines,
    )
    claims = [
        Claim("MABN 1 + WC", "BN 1", True, "Figure 1(b)"),
        Claim("BRN 1", "BN 1", True, "Figure 1(b)"),
        Claim("BRN 2", "BN 2", True, "Figure 1(b)"),
        Claim("MABN 1 + WC", "MABN 32 + WC", False, "Figure 1(b): MABN retains its capacity at any |B|"),
        Claim("MABN 2 + WC", "MABN 32 + WC", False, "Figure 1(b): MABN retains its capacity at any |B|"),
        Claim("MABN 1 (control)", "MABN 32 (control)", None, "the control"),
        Claim("BN 32", "BN 8", True, "Figure 1(b): BN relies on |B|"),
        Claim("BRN 32", "BRN 2", True, "Figure 1(b): BRN relies on |B|"),
    ]
    claims += [Claim(f"MABN {size} + WC", f"BN {size} + WC (control)", None, "the control") for size in SIZES]
    return Outcome(
        [table],
        [verdict(claim, found) for claim in claims],
        ["The gradient batch is 32 throughout, and MABN's window 32 / |B|.", PAIRING],
        {"rows": row_data(ROWS, found)},
        [difference(claim, found) for claim in claims],
    )


def _draw(data: Mapping[str, Any]) -> dict[str, Any]:
    rows = {row["label"]: row for row in data["rows"]}
    curves = {name: {size: rows[label] for size, label in labels.items()} for name, labels in _lines().items()}
    return {"": drawing.errors_over(curves, "Figure 1(b) in miniature", "|B|, samples that share statistics")}


FIGURE_1B = Study("Figure 1(b): error against |B|", plan_of(ROWS), _outcome, _draw)

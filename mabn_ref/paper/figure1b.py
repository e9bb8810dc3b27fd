"""Figure 1(b): error against |B| at a fixed gradient batch."""

from __future__ import annotations

from itertools import product

from mabn_ref.paper import drawing
from mabn_ref.paper.measured import Claim, Measured, Row, error_text, measure, plan_of, row_data, verdict
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


def _outcome(context: Context, records: Records) -> Outcome:
    found = measure(ROWS, context, records)
    curves: dict[str, dict[int, Measured]] = {}
    lines: list[tuple[str, ...]] = []
    for (name, norm), centralized in product(_METHODS.items(), (False, True)):
        title = f"{name}{' + WC' if centralized else ''}{'' if centralized == (norm == 'mabn') else ' (control)'}"
        of_title = {
            int(row.settings["norm_batch"]): found[row.label]
            for row in ROWS
            if row.settings["norm"] == norm and row.settings["centralized"] == centralized
        }
        curves[title] = of_title
        lines.append((title, *(error_text(of_title[size]) for size in SIZES)))
    runs = {len(measured.errors) for measured in found.values()}
    table = Table(
        f"Figure 1(b): test error %, mean and half of the 95 % interval over {'-'.join(map(str, sorted(runs)))} runs",
        ("|B|", *map(str, SIZES)),
        lines,
    )
    claims = [
        Claim("MABN 1 + WC", "BN 1", True, "Figure 1(b)"),
        Claim("MABN 2 + WC", "MABN 32 + WC", False, "Figure 1(b): MABN retains its capacity at any |B|"),
        Claim("BN 32", "BN 8", True, "Figure 1(b): BN relies on |B|"),
        Claim("BRN 32", "BRN 2", True, "Figure 1(b): BRN relies on |B|"),
    ]
    return Outcome(
        [table],
        [verdict(claim, found) for claim in claims],
        ["The gradient batch is 32 throughout, and MABN's window 32 / |B|.", PAIRING],
        {"": drawing.errors_over(curves, "Figure 1(b) in miniature", "|B|, samples that share statistics")},
        {"rows": row_data(ROWS, found)},
    )


FIGURE_1B = Study("Figure 1(b): error against |B|", plan_of(ROWS), _outcome)

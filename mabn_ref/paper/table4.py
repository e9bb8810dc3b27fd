"""What each part of MABN does: Table 4 as a full factorial, and which part closes how much of the gap.

The factorial varies, at |B| = 2, the averages in either direction, the form and weight centralisation;
`mabn_ref.norms.moving_statistics` is the normaliser of all its cells. The gap is the difference in error between
small and large batches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from mabn_ref.paper import claims
from mabn_ref.paper.claims import Claim, Found, Row
from mabn_ref.paper.study import Context, Outcome, Records, Study
from mabn_ref.train import plotting
from mabn_ref.train.table_layout import Interval, Table, mean_interval, text

FORMS, AVERAGES = ("vanilla", "modified"), {"batch": "BS", "sma": "SMAS", "ema": "EMAS"}


def moving(form: str, forward: str, backward: str, centralized: bool) -> dict[str, Any]:
    """Return the settings of a cell."""
    averages = {"form": form, "forward_average": forward, "backward_average": backward}
    return {"norm": "moving", "norm_batch": 2, "centralized": centralized, **averages}


def cell(form: str, forward: str, backward: str, centralized: bool) -> str:
    """Return the name of a cell: statistics in forward / in backward."""
    return f"{form} {AVERAGES[forward]}/{AVERAGES[backward]}{' + WC' if centralized else ''}"


ROWS = [
    Row(cell(form, ahead, back, wc), moving(form, ahead, back, wc))
    for form, wc, ahead, back in product(FORMS, (False, True), AVERAGES, AVERAGES)
]
_BEST = cell("modified", "sma", "sma", True)


def _tables(rows: Sequence[Row], found: Found) -> list[Table]:
    tables = []
    for form, wc in product(FORMS, (False, True)):
        cells = {(a, b): found[cell(form, a, b, wc)] for a, b in product(AVERAGES, AVERAGES)}
        lines = [
            (f"forward {name}", *(claims.error_text(cells[ahead, back]) for back in AVERAGES))
            for ahead, name in AVERAGES.items()
        ]
        header = ("", *(f"backward {name}" for name in AVERAGES.values()))
        counts = claims.counts_text(list(cells.values()))
        title = f"{form} form{' + WC' if wc else ''}: test error %, {counts} runs a cell"
        tables.append(Table(title, header, lines))
    return tables


TABLE4 = claims.rows_study(
    "Table 4 as a full factorial: averages in both directions, form, centralisation",
    ROWS,
    [
        Claim(_BEST, cell("modified", "ema", "batch", True), True, "Table 2, rows 7 and 8"),
        Claim(_BEST, cell("modified", "sma", "ema", True), True, "section 4.3: SMAS, not EMAS, in backward"),
        Claim(_BEST, cell("modified", "sma", "batch", True), True, "Table 4: averages in backward"),
        Claim(_BEST, cell("modified", "sma", "sma", False), True, "Table 4: WC matters to the modified form"),
        Claim(_BEST, cell("vanilla", "sma", "sma", False), True, "Table 2: averages alone fail in the vanilla form"),
        Claim(_BEST, cell("vanilla", "sma", "sma", True), True, "the control"),
        Claim(_BEST, cell("vanilla", "ema", "sma", True), True, "the control: row 5 of Table 2, centralised"),
    ],
    tables=_tables,
    notes=lambda rows, found: [
        (
            "BS: the batch's statistics. Forward EMAS is the batch's corrected by r and d, as in BRN; forward SMAS "
            "the window's corrected by r and d, as in MABN, whose cell is modified SMAS/SMAS + WC. All cells have "
            "the same clip, start of r, window and decay."
        ),
        "The paper's own Table 4 could not be recovered from its text; its claims could.",
    ],
    draw=lambda data: {"": plotting.errors_by_row(data["rows"], "Table 4 as a full factorial")},
)


ROWS_OF_CREDIT = [
    *claims.rows_of("bn-32", "bn-32-wc", "bn-2", "bn-2-wc", "modified-bn-2"),
    Row("MABN 2", {"norm": "mabn", "norm_batch": 2, "centralized": False}),
    *claims.rows_of("mabn-2"),
    Row("MABN 2 + WC, m = 64", {"norm": "mabn", "norm_batch": 2, "window": 64}),
]
"""The two ends of the gap, with centralised weights (WC) and without, and the parts of MABN between them."""

_GAP = {"BN 2": 1, "BN 32": -1}
_GAP_WC = {"BN 2 + WC": 1, "BN 32 + WC": -1}
_MABN_WC = {"MABN 2 + WC": 1, "MABN 2": -1}


class Effect(NamedTuple):
    """A signed sum of the errors of rows, formed seed by seed, and the gap to compare it with."""

    name: str
    errors: Mapping[str, int]  #: the sign of each row's error
    #: the gap that a negative effect closes; None for a gap itself, and for effects that close none
    gap: Mapping[str, int] | None


EFFECTS = [
    Effect("the gap: BN 2 minus BN 32", _GAP, None),
    Effect("the gap with WC: BN 2 minus BN 32", _GAP_WC, None),
    Effect("WC on BN 2, beyond what it does to BN 32", {**_GAP_WC, "BN 2": -1, "BN 32": 1}, _GAP),
    Effect("form, with WC", {"modified BN 2 + WC": 1, "BN 2 + WC": -1}, _GAP_WC),
    Effect("averages (m = 16), with WC", {"MABN 2 + WC": 1, "modified BN 2 + WC": -1}, _GAP_WC),
    Effect("form and averages (m = 16), with WC", {"MABN 2 + WC": 1, "BN 2 + WC": -1}, _GAP_WC),
    Effect("form and averages (m = 64), with WC", {"MABN 2 + WC, m = 64": 1, "BN 2 + WC": -1}, _GAP_WC),
    Effect("form and averages (m = 16), without WC", {"MABN 2": 1, "BN 2": -1}, _GAP),
    Effect("WC on MABN 2, beyond what it does to BN 2", {**_MABN_WC, "BN 2 + WC": -1, "BN 2": 1}, None),
]
"""What each part adds to batch norm, at equal weights; and how much more WC does to one row than to another."""


def _credit(context: Context, records: Records) -> Outcome:
    found = claims.measure(ROWS_OF_CREDIT, context, records)
    errors = {label: row.errors for label, row in found.items()}
    seeds = [seed for seed in context.seeds if all(seed in of_row for of_row in errors.values())]
    lost = sorted(label for label, row in found.items() if row.diverged)

    def summed(signs: Mapping[str, int]) -> list[float]:
        return [sum(sign * errors[label][seed] for label, sign in signs.items()) for seed in seeds]

    differences: dict[str, Interval | None] = {}
    lines: list[tuple[str, ...]] = []
    for name, signs, gap in EFFECTS:
        values, whole, share = summed(signs), summed(gap or {}), "-"
        differences[name] = mean_interval(values) if seeds else None
        if seeds and min(whole) > 0:
            closed = [-100 * value / of for value, of in zip(values, whole, strict=True)]
            share = text(mean_interval(closed), "+")
        lines.append((name, str(len(seeds)), text(differences[name], "+"), share))
    header = ("", "seeds", "difference in error %", "of the gap closed, %")
    notes = [
        "Every difference, and every share of a gap, is formed seed by seed. WC: centralised weights.",
        "A share is of the gap at the same weights, if every seed has one. With WC it is closed at BN 32 + WC.",
        "The paper gives the credit to the averages, in backward above all, and calls WC a practical remedy.",
    ]
    if lost:
        notes.append(f"Seeds are left out where one of these diverged: {', '.join(lost)}.")
    table = Table("What closes the gap between statistics of 2 and of 32 samples", header, lines)
    verdicts = [f"{name}: {claims.effect(value, 'seeds')}" for name, value in differences.items()]
    # the degrees of freedom of an interval over seeds follow from the runs, and are not kept
    kept = {
        name: value and dict(zip(Interval._fields[:3], value, strict=False)) for name, value in differences.items()
    }
    data = {"effects": kept, "rows": claims.row_data(ROWS_OF_CREDIT, found)}
    return Outcome([table], verdicts, notes, data, list(differences.values()))


def _draw_credit(data: Mapping[str, Any]) -> dict[str, Any]:
    effects = {name: value and Interval(**value) for name, value in data["effects"].items()}
    label = "difference in test error (%),\nwith 95 % interval"
    return {"": plotting.intervals(effects, "Who gets the credit", label)}


_TITLE = "Who gets the credit: what closes the gap between small and large batches"
CREDIT = Study(_TITLE, claims.plan_of(ROWS_OF_CREDIT), _credit, _draw_credit)

"""Who gets the credit: what centralised weights, form and averages do to the gap between small and large batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from mabn_ref.paper import drawing
from mabn_ref.paper.measured import Row, effect, measure, plan_of, row_data, text
from mabn_ref.paper.study import Context, Outcome, Records, Study, Table
from mabn_ref.train.intervals import Interval, mean_interval

__all__ = ["CREDIT", "EFFECTS", "ROWS", "Effect"]

ROWS = [
    Row("BN 32", {"norm": "bn", "norm_batch": 32}),
    Row("BN 32 + WC", {"norm": "bn", "norm_batch": 32, "centralized": True}),
    Row("BN 2", {"norm": "bn", "norm_batch": 2}),
    Row("BN 2 + WC", {"norm": "bn", "norm_batch": 2, "centralized": True}),
    Row("modified BN 2 + WC", {"norm": "modified-bn", "norm_batch": 2}),
    Row("MABN 2", {"norm": "mabn", "norm_batch": 2, "centralized": False}),
    Row("MABN 2 + WC", {"norm": "mabn", "norm_batch": 2}),
    Row("MABN 2 + WC, m = 64", {"norm": "mabn", "norm_batch": 2, "window": 64}),
]
"""The gap with centralised weights (WC) and without, and what of MABN stands between its two ends."""

_GAP = {"BN 2": 1, "BN 32": -1}
_GAP_WC = {"BN 2 + WC": 1, "BN 32 + WC": -1}


class Effect(NamedTuple):
    """A sum of errors of rows, taken seed by seed, and the gap that it is compared with."""

    name: str
    errors: Mapping[str, int]
    """The sign of each row's error."""
    gap: Mapping[str, int] | None
    """The gap that a negative effect closes; None for a gap itself, and for what closes none."""


EFFECTS = [
    Effect("the gap: BN 2 minus BN 32", _GAP, None),
    Effect("the gap with WC: BN 2 minus BN 32", _GAP_WC, None),
    Effect(
        "WC on BN 2, beyond what it does to BN 32", {"BN 2 + WC": 1, "BN 32 + WC": -1, "BN 2": -1, "BN 32": 1}, _GAP
    ),
    Effect("form, with WC", {"modified BN 2 + WC": 1, "BN 2 + WC": -1}, _GAP_WC),
    Effect("averages (m = 16), with WC", {"MABN 2 + WC": 1, "modified BN 2 + WC": -1}, _GAP_WC),
    Effect("form and averages (m = 16), with WC", {"MABN 2 + WC": 1, "BN 2 + WC": -1}, _GAP_WC),
    Effect("form and averages (m = 64), with WC", {"MABN 2 + WC, m = 64": 1, "BN 2 + WC": -1}, _GAP_WC),
    Effect("form and averages (m = 16), without WC", {"MABN 2": 1, "BN 2": -1}, _GAP),
    Effect(
        "WC on MABN 2, beyond what it does to BN 2",
        {"MABN 2 + WC": 1, "MABN 2": -1, "BN 2 + WC": -1, "BN 2": 1},
        None,
    ),
]
"""What is added to batch norm, at equal weights; and what centralised weights do to one row more than to another."""


def _outcome(context: Context, records: Records) -> Outcome:
    found = measure(ROWS, context, records)
    errors = {label: row.errors for label, row in found.items()}
    seeds = [seed for seed in context.seeds if all(seed in of_row for of_row in errors.values())]
    lost = sorted(label for label, row in found.items() if row.diverged)

    def summed(signs: Mapping[str, int]) -> list[float]:
        return [sum(sign * errors[label][seed] for label, sign in signs.items()) for seed in seeds]

    differences: dict[str, Interval | None] = {}
    lines: list[tuple[str, ...]] = []
    for name, signs, gap in EFFECTS:
        values = summed(signs)
        differences[name] = mean_interval(values) if seeds else None
        whole = summed(gap) if gap else []
        is_gap = bool(whole) and min(whole) > 0
        closed = [-100 * value / of for value, of in zip(values, whole, strict=True)] if is_gap else []
        share = text(mean_interval(closed), "+") if closed else "-"
        lines.append((name, str(len(seeds)), text(differences[name], "+"), share))
    header = ("", "seeds", "difference in error %", "of the gap closed, %")
    notes = [
        "Every difference, and every share of a gap, is formed seed by seed. WC: centralised weights.",
        "A share is of the gap at the same weights, if every seed has one. With WC it is closed at BN 32 + WC.",
        "The paper gives the credit to the averages, in backward above all, and calls WC a practical remedy.",
    ]
    if lost:
        notes.append(f"Seeds are left out where one of these diverged: {', '.join(lost)}.")
    return Outcome(
        [Table("What closes the gap between statistics of 2 and of 32 samples", header, lines)],
        [f"{name}: {effect(value, 'seeds')}" for name, value in differences.items()],
        notes,
        {
            "effects": {name: value and value._asdict() for name, value in differences.items()},
            "rows": row_data(ROWS, found),
        },
        list(differences.values()),
    )


def _draw(data: Mapping[str, Any]) -> dict[str, Any]:
    effects = {name: value and Interval(**value) for name, value in data["effects"].items()}
    return {"": drawing.intervals(effects, "Who gets the credit", "difference in test error (%), with 95 % interval")}


CREDIT = Study(
    "Who gets the credit: what closes the gap between small and large batches", plan_of(ROWS), _outcome, _draw
)

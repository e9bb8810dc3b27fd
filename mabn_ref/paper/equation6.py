"""Equation (6): inference with statistics over the whole training set, beside the moving averages ("precise BN")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mabn_ref.paper.claims import Row, effect, error_text, measure, plan_of, row_data, rows_of
from mabn_ref.paper.study import Context, Outcome, Records, Study
from mabn_ref.train import plotting
from mabn_ref.train.population import run_reestimated
from mabn_ref.train.table_layout import Table, paired_difference, text

_ROWS = [
    *rows_of("bn-32", "bn-2"),
    Row("BN 2, decay 0.9", {"norm": "bn", "norm_batch": 2, "decay": 0.9}),
    *rows_of("brn-2", "modified-bn-2", "mabn-2"),
]
_IMAGES = {"population_error": "training images", "augmented_error": "augmented"}


def _outcome(context: Context, records: Records) -> Outcome:
    moving = measure(_ROWS, context, records)
    again = {name: measure(_ROWS, context, records, value=name) for name in _IMAGES}
    lines, verdicts, differences = [], [], []
    for row in _ROWS:
        before = moving[row.label].errors
        cells = [row.label, str(len(before)), error_text(moving[row.label])]
        for name, images in _IMAGES.items():
            found = again[name][row.label]
            difference = paired_difference(found.errors, before)
            differences.append(difference)
            cells += [error_text(found), text(difference, "+")]
            verdicts.append(f"{row.label}, {images}: {effect(difference)}")
        lines.append(tuple(cells))
    header = ("", "runs", "moving averages", "training images", "difference", "augmented", "difference")
    title = "Equation (6): test error % with moving averages, and with statistics of the whole training set"
    notes = [
        "Weights fixed, one layer after the other.",
        "Augmented: every training image flipped and cropped once at random, "
        + ("as" if context.settings.get("augment", True) else "which is not how")
        + " the network saw them in training.",
    ]
    data = {"moving": row_data(_ROWS, moving)} | {name: row_data(_ROWS, found) for name, found in again.items()}
    return Outcome([Table(title, header, lines)], verdicts, notes, data, differences)


def _draw(data: Mapping[str, Any]) -> dict[str, Any]:
    differences = {}
    for k, row in enumerate(data["moving"]):
        for name, images in _IMAGES.items():
            differences[f"{row['label']}, {images}"] = paired_difference(data[name][k]["errors"], row["errors"])
    return {"": plotting.intervals(differences, "Training-set statistics against moving averages", "difference (%)")}


_TITLE = "Equation (6): statistics of the whole training set at inference"
EQUATION6 = Study(_TITLE, plan_of(_ROWS), _outcome, _draw, run_reestimated, "precise.jsonl")

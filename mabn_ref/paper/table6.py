"""Table 6 of the paper in miniature: a detector that is fine-tuned, on eight devices with two images each."""

from __future__ import annotations

from typing import Any

from mabn_ref.paper import detection
from mabn_ref.paper.claims import Claim, Row, configs
from mabn_ref.paper.pretraining import CENTRALIZED, PLAIN, run_tuned
from mabn_ref.paper.study import Context, Outcome, Records
from mabn_ref.train import results
from mabn_ref.train.config import RunConfig
from mabn_ref.train.table_layout import Table, mean_interval, text

_USUAL = detection.USUAL | {"train_size": 400, "textured": True}
"""Default sizes and recipe: few scenes, because with many a detector from scratch learns as much."""

_SYNC_WC = "SyncBN 16 + WC (control)"
_CENTRED = "MABN 2 + WC, centred (control)"
_STARTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "SyncBN 16": ("SyncBN 16", PLAIN, {}),
    "MABN 2 + WC": ("MABN 2 + WC", CENTRALIZED, {}),
    "BRN 2": ("BRN 2", PLAIN, {}),
    "BN 2": ("BN 2", PLAIN, {}),
    "frozen BN": ("BN 2", PLAIN, {"norm": "frozen-bn", "norm_batch": 1, "devices": 1, "decay": RunConfig.decay}),
    _SYNC_WC: ("SyncBN 16", CENTRALIZED, {"centralized": True}),
}
"""For each row its method, the network it begins from, and what differs from the method."""
_AUTHORS = {"SyncBN 16": "38.25", "MABN 2 + WC": "38.42"}


def _scratch(label: str) -> str:
    return f"{label.removesuffix(' (control)')}, scratch (control)"


_CLAIMS = [
    *(Claim(_scratch(label), label, True, "whether pretraining transfers") for label in ("SyncBN 16", "MABN 2 + WC")),
    Claim("MABN 2 + WC", "SyncBN 16", False, "the paper"),
    Claim("MABN 2 + WC", _SYNC_WC, False, "the control: the same pretraining"),
    Claim(_SYNC_WC, "SyncBN 16", False, "the control: what the other pretraining does"),
    Claim("BN 2", "MABN 2 + WC", True, "as in Table 3"),
    Claim("BRN 2", "MABN 2 + WC", True, "as in Table 3"),
    Claim("frozen BN", "MABN 2 + WC", True, "our question"),
    Claim(_CENTRED, "MABN 2 + WC", True, "whether the pretraining has to be with WC"),
    Claim("BN 2", f"BN 2{detection.OWN}", True, "the probe: a gap between training and inference"),
]
_NOTES = [
    (
        "A pretraining tells embedded images apart, whose textures are the objects' classes, with BN 32; MABN 2 + WC "
        "and SyncBN 16 + WC begin from the one with centralised weights, the others from the one without, and "
        '"centred" from that one too, its weights centred before the first update. "Scratch" makes as many updates.'
    ),
    (
        'The column "authors" is AP of boxes on COCO from the README of their code ("2x fine-tune"). That it is '
        "Table 6 is our reading; their two rows begin from two pretrainings."
    ),
]


def _rows(context: Context) -> list[Row]:
    rows = [
        detection.row_of(label, method, context, _AUTHORS.get(label, ""), start=start, **further)
        for label, (method, start, further) in _STARTS.items()
    ]
    centred = detection.row_of(_CENTRED, "MABN 2 + WC", context, start=PLAIN)
    scratch = [
        detection.row_of(_scratch(label), method, context, **further)
        for label, (method, _, further) in _STARTS.items()
    ]
    return [*rows, centred, *scratch]


_DETECTION = detection.study_of("Table 6 in miniature: detection, fine-tuned", _rows, _CLAIMS, _NOTES, _USUAL)


def _outcome(context: Context, records: Records) -> Outcome:
    """Return the outcome of any study of detectors, and what conversion made of the pretrained networks."""
    found = _DETECTION.outcome(context, records)
    lost = _lost(_DETECTION.suited(context), records)
    table = _conversions(lost)
    return found._replace(tables=[*found.tables, table], data=found.data | {"conversions": lost})


def _lost(context: Context, records: Records) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """Return `pretraining.conversions` by pretraining and seed."""
    lost: dict[str, dict[str, Any]] = {}
    for row in [row for row in _rows(context) if row.label in _AUTHORS]:  # one of each pretraining
        for run in configs([row], context):
            record = results.find(records, run)
            if record is not None and "start" in record:
                lost.setdefault(row.settings["start"], {})[str(run.seed)] = record["start"]["conversions"]
    return lost


_WAYS = {
    "none": "as it was trained",
    "exact": "MABN, exact",
    "naive": "centred, statistics kept",
    "plain": "centred, measured again",
    "optimal": "centred optimally, measured again",
}


def _conversions(lost: dict[str, Any]) -> Table:
    lines: list[tuple[str, ...]] = []
    for start, of_seeds in lost.items():
        lines.append((start,))
        for way, name in _WAYS.items():
            each = [ways[way] for ways in of_seeds.values() if way in ways]
            if each:
                figures = (text(mean_interval([one[key] for one in each])) for key in ("test_error", "moved"))
                lines.append((f"  {name}", *figures))
    return Table("What conversion loses", ("", "test error %", "logits moved %"), lines)


TABLE6 = _DETECTION._replace(outcome=_outcome, run=run_tuned, file="tuned.jsonl")

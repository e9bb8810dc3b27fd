"""Table 8 of the paper and its COCO runs in miniature: a class for every pixel, with two images per device.

Two protocols: an update of the weights after every two images, and one update for eight devices with two images each,
as in the paper.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from mabn_ref.data import scenes
from mabn_ref.extras import require
from mabn_ref.paper import claims
from mabn_ref.paper.claims import Claim, Found, Row, configs
from mabn_ref.paper.detection import WINDOW, drawn, examples
from mabn_ref.paper.study import RUNS, Context, Outcome, Records, Study, usual
from mabn_ref.train import plotting
from mabn_ref.train.config import GROUPS, RunConfig
from mabn_ref.train.runs import run_pixels
from mabn_ref.train.table_layout import Table

RENORM_AFTER = 1600  #: normalisation batches of MABN with r = 1 at the start, as many as in the runs on whole images


def _methods(small: Mapping[str, Any], **of_mabn: Any) -> dict[str, dict[str, Any]]:
    """Return the methods: `small` are the settings of those with statistics of two images, `of_mabn` MABN's own."""
    return {
        "BN 2": {"norm": "bn", **small},
        "BRN 2": {"norm": "brn", **small},
        "MABN 2": {"norm": "mabn", **small, "window": WINDOW, **of_mabn},
        "GN": {"norm": "gn", "gradient_batch": small["gradient_batch"], "norm_batch": 1},
        "SyncBN 16": {"norm": "sync-bn", "gradient_batch": 16, "norm_batch": 16},
    }


_METHODS = _methods({"gradient_batch": 2, "norm_batch": 2}, renorm_after=RENORM_AFTER)
_ON_DEVICES = _methods({"gradient_batch": 16, "norm_batch": 2, "devices": 8})
_USUAL: dict[str, Any] = {"width": 16, "lr": 0.03}
"""Defaults that differ from those for whole images."""
_USUAL_ON_DEVICES = _USUAL | {"lr": 0.06}
"""A quarter of SyncBN 16's rate in the first protocol, at which BRN, MABN and GN stay near the background."""
_PAPER = {"BN 2": "0", "BRN 2": "+0.19", "MABN 2 + WC": "+1.09", "SyncBN 16": "+1.41"}
"""Mean IoU on Cityscapes (PSPNet), minus that of BN."""


def _rows(context: Context, methods: Mapping[str, Mapping[str, Any]] = _METHODS) -> list[Row]:
    """Return each method without and with centralised weights."""
    rows, groups = [], math.gcd(GROUPS, int(context.settings["width"]))
    smallest = min(method["gradient_batch"] for method in methods.values())
    for name, method in methods.items():
        settings = {**method, "groups": groups} if name == "GN" else dict(method)
        # the learning rate is in proportion to the batch: otherwise the larger one would learn an eighth as much
        settings["lr"] = context.settings["lr"] * method["gradient_batch"] / smallest
        for centralized in (False, True):
            paired = centralized == (name == "MABN 2")
            label = f"{name}{' + WC' if centralized else ''}{'' if paired else ' (control)'}"
            paper = _PAPER.get(label, "")
            rows.append(Row(label, {**settings, "centralized": centralized, "augment": False}, paper))
    return rows


# A claim is that the first has the lower number, and here the higher one is better.
_CLAIMS = [
    Claim("BN 2", "MABN 2 + WC", True, "Table 8"),
    Claim("BN 2", "SyncBN 16", True, "Table 8"),
    Claim("BRN 2", "MABN 2 + WC", True, "Table 8"),
    Claim("BN 2", "BRN 2", True, "Table 8"),
    Claim("MABN 2 + WC", "SyncBN 16", False, "Table 8"),
    Claim("BN 2 + WC (control)", "MABN 2 + WC", True, "the control"),
    Claim("SyncBN 16 + WC (control)", "MABN 2 + WC", False, "the control"),
]
_NOTES = [
    (
        "Weights are updated after every batch of 2 scenes, with statistics of these 2; MABN averages over the last "
        f"{WINDOW} batches. SyncBN 16 stands for 8 workers with 2 scenes each: its batch is 16, its steps an eighth "
        "as many and its learning rate eight times as high; in one process it is batch normalisation of the 16."
    ),
    "The paper's numbers are differences to BN in mean IoU on Cityscapes (PSPNet); only signs can be compared.",
    "Rows marked (control) centralise weights (WC) otherwise than the paper does.",
    "Where the seeds of a row fall into two groups, learnt or not, its t interval describes neither.",
]
_NOTES_ON_DEVICES = [
    (
        "Weights are updated once for 16 scenes. 8 devices have 2 scenes each, with statistics and averages of their "
        f"own; MABN averages over the last {WINDOW} updates. SyncBN 16 has the statistics of all 16. Images, "
        "updates and learning rate are the same in every row. Inference has the statistics of device 0."
    ),
    *_NOTES[1:],
]


def _table(title: str, rows: list[Row], found: Found) -> Table:
    lines = []
    for row in rows:
        mine = found[row.label]
        of_seeds = ", ".join(f"{mine.errors[seed]:.0f}" for seed in sorted(mine.errors)) or "none"
        lines.append((row.label, row.paper or "-", claims.runs_text(mine), claims.error_text(mine), of_seeds))
    header = ("", "paper", "runs", "mean IoU %", "of each seed")
    return claims.compared(title, header, lines, found, ("BN 2", "SyncBN 16"))


def _pictures(found: Mapping[str, Any]) -> Any:
    """Draw test scenes, their masks, and the predictions."""
    many = found["count"]
    test = scenes.generate(1, many, 0)[1]  # the first test scenes, whose predictions are kept
    lines: list[tuple[str, Any]] = [("scene", test.images), ("mask", test.masks)]
    for label, row in found["rows"].items():
        digits = [np.array(list(map(int, text))).reshape(32, 32) for text in row["predictions"]]
        lines.append((f"{label}\n{row['mean_iou']:.1f} %", digits))
    colours = require("matplotlib.colors", "run").ListedColormap([*plotting.COLOURS[:3], *plotting.COLOURS[5:8]])
    patch = require("matplotlib.patches", "run").Patch
    handles = [patch(color=colours(k), label=name) for k, name in enumerate(scenes.CLASS_NAMES)]

    def show(panel: Any, image: Any) -> None:
        panel.imshow(image, cmap=colours, vmin=-0.5, vmax=len(scenes.CLASS_NAMES) - 0.5)

    title = f"Test scenes, their masks, and predictions\nafter training (seed {found['seed']}), with mean IoU"
    return drawn(lines, show, (0.9 * many + 1.6, 0.95 * len(lines) + 0.9), handles, title)


def _study(
    title: str, methods: Mapping[str, Any], own: Mapping[str, Any], of_table: str, of_figure: str, notes: list[str]
) -> Study:
    suited = partial(usual, own=own, data="embedded", data_dir=None, augment=False, network="plain")

    def plan(context: Context, records: Records) -> list[RunConfig]:
        context = suited(context)
        return configs(_rows(context, methods), context)

    def outcome(context: Context, records: Records) -> Outcome:
        context = suited(context)
        rows = _rows(context, methods)
        found = claims.measure(rows, context, records, "mean_iou")
        predicted = examples(rows, context, records, "mean_iou")
        return claims.outcome_of(rows, found, _CLAIMS, [_table(of_table, rows, found)], notes, scenes=predicted)

    def draw(data: Mapping[str, Any]) -> dict[str, Any]:
        figure = plotting.errors_by_row(data["rows"], of_figure, "mean IoU (%)")
        return {"": figure} | ({"scenes": _pictures(data["scenes"])} if data["scenes"]["rows"] else {})

    return Study(
        title, plan, outcome, draw, run=run_pixels, file="segmentation.jsonl", seeds=5, suited=suited, reads=RUNS
    )


TABLE8 = _study(
    "Table 8 in miniature: segmentation with true small batches",
    _METHODS,
    _USUAL,
    "Table 8: mean intersection over union",
    "Table 8 in miniature: a class for every pixel",
    _NOTES,
)
TABLE8_DEVICES = _study(
    "Table 8 in miniature: segmentation on 8 devices, one update for all",
    _ON_DEVICES,
    _USUAL_ON_DEVICES,
    "Table 8 on 8 devices: mean intersection over union",
    "Table 8 in miniature, on 8 devices",
    _NOTES_ON_DEVICES,
)

"""Table 8: its rows, what is made of their records, and its picture."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from mabn_ref.paper import table8
from mabn_ref.paper.claims import config
from mabn_ref.paper.output import write
from mabn_ref.paper.study import Context
from mabn_ref.paper.table8 import TABLE8, TABLE8_DEVICES
from mabn_ref.train.config import DEFAULTS
from mabn_ref.train.runs import run_pixels
from tests.paper.made_up import run_all

TINY: dict[str, Any] = {"width": 2, "epochs": 1, "train_size": 16, "test_size": 3, "lr": 0.02}


def records(context: Context, iou: dict[str, float]) -> list[dict[str, Any]]:
    """Records with these values by row, a little more for each seed."""
    context = TABLE8.suited(context)
    return [
        {
            "status": "done",
            "message": None,
            "config": config(row, seed, context).as_dict(),
            "mean_iou": iou.get(row.label, 40.0) + seed,
            "epochs": [],
            "predictions": ["0" * 1024] * 4,
        }
        for row in table8._rows(context)
        for seed in context.seeds
    ]


def test_the_rows_are_true_small_batches_with_and_without_centralisation() -> None:
    runs = TABLE8.plan(Context((0,), {}), [])
    assert len(runs) == len(set(runs)) == 10
    small = [run for run in runs if run.norm != "sync-bn"]
    assert {run.gradient_batch for run in small} == {2}
    assert {run.gradient_batch for run in runs} == {2, 16}
    assert {(run.norm, run.norm_batch) for run in small} == {("bn", 2), ("brn", 2), ("mabn", 2), ("gn", 1)}
    assert {run.lr for run in small} == {0.03}
    assert {run.lr for run in runs if run.norm == "sync-bn"} == {0.24}
    assert [run.window for run in runs if run.norm == "mabn"] == [16, 16]
    for norm in ("bn", "brn", "mabn", "gn", "sync-bn"):
        assert [run.centralized for run in runs if run.norm == norm] == [False, True]


def test_on_devices_all_rows_have_the_same_updates() -> None:
    """Which removes what confounds the first protocol; at its rate both have the runs of SyncBN in common."""
    runs = TABLE8_DEVICES.plan(Context((0,), {}), [])
    assert len(set(runs)) == 10
    assert {(run.gradient_batch, run.lr, run.epochs, run.train_size) for run in runs} == {(16, 0.06, 8, 2400)}
    assert {(run.norm, run.norm_batch, run.devices) for run in runs} == {
        ("bn", 2, 8),
        ("brn", 2, 8),
        ("mabn", 2, 8),
        ("gn", 1, 1),
        ("sync-bn", 16, 1),
    }
    quick = TABLE8_DEVICES.plan(Context((0,), {"lr": 0.24}), [])
    assert {run.lr for run in quick} == {0.24}
    assert {run.norm for run in {*quick} & {*TABLE8.plan(Context((0,), {}), [])}} == {"sync-bn"}


def test_on_devices_a_run_ends_and_a_network_of_whole_images_is_refused() -> None:
    runs = TABLE8_DEVICES.plan(Context((0,), TINY | {"network": "resnet8"}), [])
    assert {run.network for run in runs} == {"plain"}
    mabn = next(run for run in runs if run.norm == "mabn" and run.centralized)
    assert run_pixels(mabn)["status"] == "done"
    with pytest.raises(
        ValueError, match="network is 'resnet8', expected 'plain': scenes have a network of their own"
    ):
        run_pixels(dataclasses.replace(mabn, network="resnet8"))


def test_a_higher_mean_iou_is_what_a_claim_wants() -> None:
    context = Context((0, 1, 2), {})
    found = records(context, {"BN 2": 30.0, "MABN 2 + WC": 50.0, "SyncBN 16": 50.0})
    outcome = TABLE8.outcome(context, found)
    assert outcome.verdicts[0].startswith("BN 2 below MABN 2 + WC: holds; the difference is -20.00 ± 0.00 over 3")
    assert outcome.verdicts[3].startswith("BN 2 below BRN 2: holds; the difference is -10.00")
    assert outcome.verdicts[4].startswith("MABN 2 + WC like SyncBN 16: no difference found")
    table = {line[0]: line[1:] for line in outcome.tables[0].rows}
    assert table["MABN 2 + WC"] == ("+1.09", "3", "51.00 ± 2.48", "50, 51, 52", "+20.00 ± 0.00", "+0.00 ± 0.00")
    assert len(outcome.data["rows"]) == 10


def test_other_images_make_way_for_scenes() -> None:
    runs = TABLE8.plan(Context((0,), {"data": "directory", "data_dir": "somewhere"}), [])
    assert {(run.data, run.data_dir, run.train_size) for run in runs} == {("embedded", None, 2400)}


def test_what_was_asked_for_stays_whatever_the_images_are() -> None:
    """What is usual for those images, too."""
    asked = {"train_size": 100, "width": 4, "epochs": 1, "lr": DEFAULTS["directory"]["lr"]}
    runs = TABLE8.plan(Context((0,), {"data": "directory", "data_dir": "somewhere", **asked}), [])
    assert {(run.train_size, run.test_size, run.width, run.epochs) for run in runs} == {(100, 1000, 4, 1)}
    assert min(run.lr for run in runs) == DEFAULTS["directory"]["lr"]


def test_from_runs_to_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason='matplotlib is not installed: pip install "mabn_ref[run]"')
    context = Context((0,), TINY)
    planned, records_ = run_all(TABLE8, context, tmp_path, run_pixels)
    assert len(planned) == 10
    outcome = TABLE8.outcome(context, records_)
    figures = TABLE8.draw(outcome.data)
    assert set(figures) == {"", "scenes"}
    assert figures["scenes"].get_figwidth() < 5.3, "inches, whose letters are read on a phone"
    panels = [axes for axes in figures["scenes"].axes if axes.images]
    assert len(panels) == 3 * 12, "three test scenes; the scene, its mask and ten rows"
    paths = write("table8", TABLE8, outcome, context, tmp_path, "mabn-ref paper table8", planned, records_)
    assert [path.name for path in paths if path.suffix == ".png"] == ["table8.png", "table8-scenes.png"]
    assert all(path.stat().st_size > 1000 for path in paths)

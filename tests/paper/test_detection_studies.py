"""Tables 3, 5 and 7: their rows, what is made of their records, and the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mabn_ref.cli import main
from mabn_ref.paper import detection
from mabn_ref.paper.detection import OWN, TABLE3, TABLE5, TABLE7
from mabn_ref.paper.output import as_text, write
from mabn_ref.paper.study import Context
from mabn_ref.paper.table6 import TABLE6
from mabn_ref.paper.table8 import TABLE8, TABLE8_DEVICES
from mabn_ref.train.config import DEFAULTS, RunConfig
from mabn_ref.train.runs import run_boxes
from tests.paper.made_up import run_all

TINY: dict[str, Any] = {"width": 2, "epochs": 1, "train_size": 16, "test_size": 16, "lr": 0.02}
CONTEXT = Context((0, 1, 2), {})


def records(rows_of: Any, ap: dict[str, float], own: dict[str, float]) -> list[dict[str, Any]]:
    """Records with these values by row, a little more for each seed."""
    context = TABLE3.suited(CONTEXT)
    return [
        {
            "status": "done",
            "config": detection.config(row, seed, context).as_dict(),
            "ap": ap.get(row.label, 10.0) + seed,
            "ap50": 25.0,
            "ap75": 5.0,
            "own_ap": own.get(row.label, 12.0) + seed,
            "epochs": [],
            "predictions": [[]] * 4,
        }
        for row in rows_of(context)
        for seed in context.seeds
    ]


def test_all_rows_make_the_same_updates_and_small_batches_have_devices() -> None:
    for study in (TABLE3, TABLE5, TABLE7):
        runs = study.plan(Context((0,), {}), [])
        assert len(runs) == len(set(runs))
        shared = {(run.gradient_batch, run.lr, run.epochs, run.train_size, run.augment) for run in runs}
        assert shared == {(16, 0.1, 10, 1600, False)}
        assert {(run.norm_batch, run.devices) for run in runs} <= {(16, 1), (2, 8), (1, 1)}
        assert {run.window for run in runs if run.norm == "mabn"} == {16}
        assert {run.heads for run in runs} == {study is TABLE5}


def test_the_head_of_table_5_warms_up_for_a_sixth_of_the_run() -> None:
    asked = Context((0,), {"epochs": 3, "train_size": 160})
    warm = [run.head_warmup for run in TABLE5.plan(asked, []) if run.norm == "mabn"]
    assert warm == [5, 0]


def test_a_higher_average_precision_is_what_a_claim_wants() -> None:
    found = records(detection._backbone, {"BN 2": 2.0, "MABN 2 + WC": 9.0, "SyncBN 16": 12.0}, {"BN 2": 11.0})
    outcome = TABLE3.outcome(CONTEXT, found)
    assert outcome.verdicts[0].startswith("BN 2 below MABN 2 + WC: holds; the difference is -7.00 ± 0.00 over 3")
    assert outcome.verdicts[2].startswith("MABN 2 + WC like SyncBN 16: does not hold; the difference is -3.00")
    assert any(line.startswith(f"BN 2 below BN 2{OWN}: holds; the difference is -9.00") for line in outcome.verdicts)
    first, second = ({line[0]: line[1:] for line in table.rows} for table in outcome.tables)
    assert first["MABN 2 + WC"] == ("3", "10.00 ± 2.48", "+7.00 ± 0.00", "-3.00 ± 0.00")
    assert second["BN 2"] == ("25.00 ± 0.00", "5.00 ± 0.00", "12.00 ± 2.48", "+9.00 ± 0.00")
    assert [line for line in as_text(outcome).splitlines() if len(line) > 80] == []


def test_the_authors_numbers_stand_beside_table_5() -> None:
    outcome = TABLE5.outcome(CONTEXT, records(detection._heads, {}, {}))
    assert outcome.tables[0].header[1] == "authors"
    assert {line[0]: line[1] for line in outcome.tables[0].rows}["SyncBN 16"] == "36.80"
    assert [line for line in as_text(outcome).splitlines() if len(line) > 80] == []


def test_runs_without_a_batch_of_test_scenes_are_left_out_of_the_probe() -> None:
    found = records(detection._backbone, {}, {})
    for record in found:
        record["own_ap"] = None
    outcome = TABLE3.outcome(CONTEXT, found)
    assert {line[3] for line in outcome.tables[1].rows} == {"none"}


def test_what_was_asked_for_stays_whatever_the_images_are() -> None:
    asked = {"train_size": 100, "width": 4, "epochs": 1, "lr": 0.2, "weight_decay": 0.1}
    runs = TABLE7.plan(Context((0,), {"data": "directory", "data_dir": "somewhere", **asked}), [])
    assert {(run.data, run.train_size, run.test_size, run.width) for run in runs} == {("embedded", 100, 400, 4)}
    assert {(run.lr, run.weight_decay) for run in runs} == {(0.2, 0.1)}
    usual = {name: DEFAULTS["embedded"][name] for name in ("epochs", "lr", "width")}
    usual["weight_decay"] = RunConfig.weight_decay
    for run in TABLE7.plan(Context((0,), usual), []):
        assert {name: getattr(run, name) for name in usual} == usual
    assert {run.weight_decay for run in TABLE7.plan(Context((0,), {}), [])} == {1e-4}


@pytest.mark.parametrize(
    "study", [TABLE3, TABLE5, TABLE6, TABLE7, TABLE8, TABLE8_DEVICES], ids=lambda study: study.title
)
def test_scenes_have_a_network_of_their_own(study) -> None:
    runs = study.plan(Context((0,), {"network": "resnet8"}), [])
    assert {run.network for run in runs} == {"plain"}


def test_from_runs_to_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason='matplotlib is not installed: pip install "mabn_ref[run]"')
    context = Context((0,), TINY)
    planned, found = run_all(TABLE7, context, tmp_path, run_boxes)
    assert len(planned) == 3
    outcome = TABLE7.outcome(context, found)
    figures = TABLE7.draw(outcome.data)
    assert figures["scenes"].get_figwidth() < 5.3, "inches, whose letters are read on a phone"
    panels = [axes for axes in figures["scenes"].axes if axes.images]
    assert len(panels) == 4 * 2, "four test scenes; two rows and a control, which is not drawn"
    assert all(len(axes.patches) >= 1 for axes in panels)
    paths = write("table7", TABLE7, outcome, context, tmp_path, "mabn-ref paper table7", planned, found)
    assert [path.name for path in paths if path.suffix == ".png"] == ["table7.png", "table7-scenes.png"]


def test_a_study_of_fewer_images_than_other_studies_take_at_once(tmp_path: Path, capsys) -> None:
    """Scenes come in gradient batches of 16, and what is said of a study takes no more."""
    pytest.importorskip("matplotlib", reason='matplotlib is not installed: pip install "mabn_ref[run]"')
    small = [word for name in ("train-size", "test-size") for word in (f"--{name}", "16")]
    words = ["paper", "table7", "--seeds", "1", "--epochs", "1", "--width", "2", *small, "--jobs", "1"]
    assert main([*words, "--out", str(tmp_path)]) == 0
    assert "1 epoch, 1 seed" in capsys.readouterr().out

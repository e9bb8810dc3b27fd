"""Training to the end: its plan, what is made of records, and a small one from end to end."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mabn_ref.cli import options
from mabn_ref.data import cifar, embedded
from mabn_ref.paper import long
from mabn_ref.paper.hits import packed, unpacked
from mabn_ref.paper.long import LONG, run_to_the_end
from mabn_ref.paper.output import as_text
from mabn_ref.paper.study import Context, complete
from mabn_ref.train import results, sweeps
from mabn_ref.train.config import RunConfig, label
from tests.paper.made_up import CONTEXT, records

DIRECTORY = Context((0, 1, 2), {"data": "directory", "data_dir": "images"})


def found(
    context: Context, curve: Any = lambda config: [50.0, 40.0, 30.0], hits: bool = False
) -> list[dict[str, Any]]:
    """Records of the whole study; the middle rate is the best of each row but of BN 2, whose best is the highest."""
    trials = LONG.plan(context, [])
    middle = sorted({run.lr for run in trials})[1]

    def error(config: RunConfig) -> float:
        return 40 + abs(config.lr - middle) * (-1 if label(config).startswith("BN 2,") else 1)

    tried = records(trials, error)
    runs = LONG.plan(context, tried)[len(trials) :]
    ended = records(runs, lambda config: 0.0)
    for config, record in zip(runs, ended, strict=True):
        errors = curve(config)
        record["epochs"] = [{"test_error": value, "train_error": value / 10} for value in errors]
        record["fitted_error"] = 1.0
        if hits:
            record["hits"] = packed(np.arange(200) >= 2 * errors[-1])
    return [*tried, *ended]


def test_every_row_has_the_same_rates_on_held_out_images_and_the_best_is_run() -> None:
    trials = LONG.plan(DIRECTORY, [])
    assert len(trials) == len(set(trials)) == 10 * 3
    assert all(run.held_out and run.seed == 1000 for run in trials)
    of_row: dict[str, set[float]] = {}
    for run in trials:
        of_row.setdefault(label(run), set()).add(run.lr)
    assert len(of_row) == 10
    assert set(map(frozenset, of_row.values())) == {frozenset({0.05, 0.1, 0.2})}

    planned = LONG.plan(DIRECTORY, found(DIRECTORY))
    assert planned[: len(trials)] == trials
    runs = planned[len(trials) :]
    assert len(runs) == len(set(runs)) == 10 * 3
    assert not any(run.held_out for run in runs)
    assert {label(run) for run in runs if run.lr == 0.2} == {"BN 2"}
    assert {run.lr for run in runs} == {0.1, 0.2}
    assert [run.seed for run in runs] == [0] * 10 + [1] * 10 + [2] * 10
    plain, centred, control = runs[:4], runs[4:8], runs[8:10]
    assert [label(run) for run in plain] == ["BN 32", "BN 2", "BRN 2", "MABN 2"]
    assert [label(run) for run in centred] == [f"{label(run)} + WC" for run in plain]
    assert [label(run) for run in control] == ["BN 32 + GC", "MABN 2 + GC"]


def test_a_row_is_run_as_soon_as_its_own_trials_are_there() -> None:
    trials = LONG.plan(CONTEXT, [])
    one = [run for run in trials if label(run).startswith("BRN 2,")]
    assert len(one) == 3
    runs = LONG.plan(CONTEXT, records(one, lambda config: 40 + config.lr))[len(trials) :]
    assert {(label(run), run.lr) for run in runs} == {("BRN 2", min(run.lr for run in one))}
    some = [
        {**record, "status": "diverged", "message": "step 3: a loss"} for record in records(one, lambda config: 1.0)
    ]
    assert LONG.plan(CONTEXT, some) == trials


def test_the_lines_of_runs_that_differ_in_the_rate_alone_say_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sweeps, "executor", lambda *_: ThreadPoolExecutor(1))

    def run(config: RunConfig, device: str) -> dict[str, Any]:
        return records([config], lambda config: 50.0)[0] | {"seconds": 0.0}

    trials = LONG.plan(CONTEXT, [])
    chosen = [*trials[:3], dataclasses.replace(trials[0], seed=0)]
    arguments = argparse.Namespace(jobs=1, device="cpu")
    options.sweep(chosen, arguments, tmp_path / LONG.file, digest=None, run=run, name="long, ")
    said = [line.partition(": test error")[0] for line in capsys.readouterr().err.splitlines() if ": test" in line]
    alike = [f"long, BN 32, held-out images, lr {rate}, seed 1000" for rate in (0.03, 0.06, 0.12)]
    assert sorted(said) == sorted([*alike, "long, BN 32, held-out images, seed 0"])


def test_sizes_are_the_studys_own_unless_something_else_is_said() -> None:
    def sizes(**settings: Any) -> tuple[Any, ...]:
        run = LONG.plan(DIRECTORY._replace(settings={**DIRECTORY.settings, **settings}), [])[0]
        return run.width, run.epochs, run.augment, run.train_size, run.test_size, run.weight_decay

    usual = long._USUAL
    assert sizes() == (usual["width"], usual["epochs"], False, None, None, 5e-4)
    assert sizes(width=8, epochs=3, train_size=640, weight_decay=0.0) == (8, 3, False, 640, None, 0.0)


def test_a_difference_of_speed_is_told_from_one_of_the_end_point() -> None:
    """BN 2 is ten points behind early on, and not at the end; weights that are not centralised stay behind."""

    def curve(config: RunConfig) -> list[float]:
        behind = 0.0 if config.centralized else 6.0
        late = 10.0 if config.norm == "bn" and config.norm_batch == 2 else 0.0
        return [50 + behind + late + config.seed, 30 + behind + late / 2, 20.0 + behind]

    context = Context((0, 1, 2), {"epochs": 3})
    outcome = LONG.outcome(context, found(context, curve))
    errors, changes, tuning = outcome.tables
    lines = {row[0]: row[1:] for row in changes.rows}
    assert changes.header[1:] == ("after epoch 1", "after epoch 3", "change")
    assert lines["BN 2 + WC minus BN 32 + WC"] == ("+10.00 ± 0.00", "+0.00 ± 0.00", "-10.00 ± 0.00")
    assert lines["BN 32 + WC minus BN 32"] == ("-6.00 ± 0.00", "-6.00 ± 0.00", "+0.00 ± 0.00")
    row = next(row for row in errors.rows if row[0] == "BN 32")
    assert row == ("BN 32", "0.06", "3", "2.60 ± 0.00", "1.00 ± 0.00", "26.00 ± 0.00", "-", "+6.00 ± 0.00")
    assert len(tuning.rows) == 10
    assert outcome.data["curves"]["BN 2"]["test"]["1"] == [67.0, 41.0, 26.0]
    assert outcome.data["curves"]["BN 2"]["train"]["1"] == pytest.approx([6.7, 4.1, 2.6])
    assert [line for line in as_text(outcome).splitlines() if len(line) > 80] == []


def test_the_intervals_at_the_end_count_the_test_images() -> None:
    def curve(config: RunConfig) -> list[float]:
        return [50.0, 40.0, 30.0 + 2 * config.centralized]

    context = Context((0, 1, 2), {"epochs": 3})
    with_hits, without = (LONG.outcome(context, found(context, curve, hits=hits)) for hits in (True, False))
    claim = "MABN 2 + WC below MABN 2: "
    said, seeds_alone = (next(v for v in o.verdicts if v.startswith(claim)) for o in (with_hits, without))
    assert "not decided" not in seeds_alone
    assert "the difference is +2.00 ± 1.96" in said  # four of two hundred images, in each seed the same
    assert "+2.00 ± 1.96" in with_hits.tables[1].rows[-2][2]


def test_the_picture_has_the_differences_of_each_panel() -> None:
    context = Context((0, 1, 2), {"epochs": 3})
    data = LONG.outcome(
        context, found(context, lambda config: [50.0 - config.norm_batch, 40.0, 30.0 + config.seed])
    ).data
    figure = LONG.draw(json.loads(json.dumps(data)))[""]
    small, centred = figure.axes
    means = {line.get_label(): list(line.get_ydata()) for line in small.lines if not line.get_label().startswith("_")}
    assert means == {f"{name} + WC − BN 32 + WC": [30.0, 0.0, 0.0] for name in ("BN 2", "BRN 2", "MABN 2")}
    assert len([line for line in centred.lines if not line.get_label().startswith("_")]) == 3
    assert len({line.get_marker() for line in small.lines if line.get_label() in means}) == 3
    assert LONG.draw({"curves": {}})[""].axes


def test_a_record_says_which_images_were_right_and_what_was_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the test images are the training images, both errors are the same."""
    train, test = embedded.generate(96, 50, seed=7)
    sizes: dict[str, Any] = {"train_size": None, "test_size": None, "width": 4, "epochs": 2, "augment": False}
    config = RunConfig(norm="bn", centralized=False, data="directory", data_dir="x", warmup=2, lr=0.1, **sizes)
    monkeypatch.setattr(cifar, "read_directory", lambda *_: (train, test))
    other = run_to_the_end(config)
    hits = unpacked(other["hits"])
    assert hits.shape == (50,)
    assert other["epochs"][-1]["test_error"] == pytest.approx(100 - 100 * hits.mean())
    monkeypatch.setattr(cifar, "read_directory", lambda *_: (train, train))
    record = run_to_the_end(dataclasses.replace(config, data_dir="y"))  # the images of "x" are kept
    assert record["fitted_error"] == record["epochs"][-1]["test_error"] == other["fitted_error"]
    assert 0 < record["fitted_error"] < 100


def test_a_small_one_goes_on_where_it_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long, "_ROWS", [row for row in long._ROWS if row.label in ("MABN 2", "MABN 2 + GC")])
    context = Context((0,), {"width": 2, "epochs": 1, "train_size": 64, "test_size": 10})
    file, ran = tmp_path / LONG.file, list[Any]()

    def run(configs: list[RunConfig]) -> Iterator[dict[str, Any]]:
        for config in configs:
            if len(ran) == 4:
                ran.append(None)
                raise KeyboardInterrupt
            ran.append(config)
            results.append(file, record := run_to_the_end(config))
            yield record

    with pytest.raises(KeyboardInterrupt):
        complete(LONG, context, results.read(file), run)
    planned, recorded = complete(LONG, context, results.read(file), run)
    assert [config for config in ran if config] == planned
    assert len(planned) == len(set(planned)) == 2 * 3 + 2
    assert {record["status"] for record in recorded} == {"done"}
    outcome = LONG.outcome(context, recorded)
    assert [row[0] for row in outcome.tables[0].rows] == ["MABN 2", "MABN 2 + GC"]

"""Sweeps of studies: killed and started again, workers that die, a cluster; and what is written."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mabn_ref.cli import main, paper
from mabn_ref.cli.paper import _without_places
from mabn_ref.paper import output
from mabn_ref.paper.output import write
from mabn_ref.paper.study import OPTIONS as READ
from mabn_ref.paper.study import STUDIES, Context, Outcome, complete
from mabn_ref.train import results, sweeps
from mabn_ref.train.config import RunConfig
from mabn_ref.train.results import made_with
from mabn_ref.train.runs import run_one
from mabn_ref.train.sweeps import executor
from mabn_ref.train.workers import WorkerDied, Workers
from tests.signals import HUNG, program
from tests.test_cli import contents, posix

TINY: dict[str, Any] = {"width": 4, "epochs": 1, "train_size": 64, "test_size": 20}
OPTIONS = ["--epochs", "1", "--width", "4", "--train-size", "64", "--test-size", "20"]


def test_a_study_of_which_every_run_diverged_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["paper", "figure1b", *OPTIONS, "--seeds", "1", "--jobs", "1", "--out", str(tmp_path)]
    assert main([*words, "--lr", "1e9"]) == 1
    captured = capsys.readouterr()
    assert captured.err.endswith("mabn-ref paper: error: every run of figure1b diverged\n")
    assert (tmp_path / "figure1b.json").exists()
    assert main([*words, "--lr", "0.01"]) == 0, "the runs that diverged are others"
    path = tmp_path / STUDIES["figure1b"].file
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[0].replace("1000000000.0", "0.01")]) + "\n")
    assert main([*words, "--lr", "0.01"]) == 0, "one of them diverged"


def dies_with_seed_1(config: Any, **keywords: Any) -> dict[str, Any]:
    """Run, in a process that ends on some."""
    if config.norm == "mabn" and config.seed == 1:
        os._exit(9)
    keywords.pop("report", None)
    return run_one(config, **keywords)


def pretend(config: Any, **keywords: Any) -> dict[str, Any]:
    """A record without a run."""
    if config.norm == "bn" and config.decay == 0.9 and config.seed == 1001:
        raise OSError("the disk is full")
    return {
        "status": "done",
        "config": config.as_dict(),
        "epochs": [{"test_error": 50.0}],
        "seconds": 0.0,
    } | made_with()


def test_a_study_that_plans_by_outcome_is_asked_again_and_failures_are_not_retried(tmp_path: Path) -> None:
    study, context, asked = STUDIES["search"]._replace(run=pretend), Context((0, 1), TINY), []

    def run(configs: list[RunConfig]) -> list[Any]:
        asked.append(configs)
        with ThreadPoolExecutor(1) as pool:
            ended = list(sweeps.sweep(configs, pool, tmp_path / study.file, run=pretend))
        assert len(ended) == len(configs)
        return [record for _, record in ended]

    planned, records = complete(study, context, [], run)
    # the three methods with a failed run have no best setting yet, so the other three have their two seeds
    assert [len(configs) for configs in asked] == [72, 3 * 2]
    assert {config.seed for config in asked[1]} == {0, 1}
    assert {config.norm for config in results.missing(planned, records)} == {"bn"}
    assert results.read(tmp_path / study.file) == records


def test_a_study_reads_its_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And plans once more than it runs; the command adds one look at all runs before the first."""
    reads: list[Path] = []
    plans: list[int] = []
    read, study = results.read, STUDIES["table2"]

    def plan(context: Any, records: Any) -> Any:
        plans.append(len(records))
        return study.plan(context, records)

    monkeypatch.setattr(results, "read", lambda path: reads.append(path) or read(path))
    monkeypatch.setattr(
        "mabn_ref.cli.paper.STUDIES", {"table2": study._replace(plan=plan, run=pretend, draw=lambda data: {})}
    )
    monkeypatch.setattr("mabn_ref.train.sweeps.Workers", lambda jobs, on_report: ThreadPoolExecutor(jobs))
    assert main(["paper", "table2", "--seeds", "1", "--out", str(tmp_path)]) == 0
    assert len(reads) == 1
    assert plans == [0, 0, 13]


def test_a_dying_worker_loses_its_run_alone_and_is_reported(tmp_path: Path) -> None:
    study, context = STUDIES["table2"], Context((0, 1), TINY)
    ended: list[Any] = []

    def run(configs: list[RunConfig]) -> list[Any]:
        with Workers(2) as workers:
            ended.extend(sweeps.sweep(configs, workers, tmp_path / study.file, run=dies_with_seed_1))
        return [record for _, record in ended]

    planned, records = complete(study, context, [], run)
    lost = {(config.norm, config.seed) for config, record in ended if isinstance(record, WorkerDied)}
    assert lost == {("mabn", 1)}
    missing = results.missing(planned, records)
    assert {(config.norm, config.seed) for config in missing} == lost
    assert len(results.read(tmp_path / study.file)) == len(planned) - len(missing)


@posix
def test_a_killed_sweep_ends_with_the_content_of_one_that_was_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """kill -9 in the middle, a truncated last line, and the same command again; against runs one by one in here."""
    arguments = ["paper", "table2", "--seeds", "1", "--jobs", "1", *OPTIONS, "--out", str(tmp_path)]
    dying = program("mabn_ref.train.results:append", 3, "SIGKILL", *arguments)
    died = subprocess.run(dying, start_new_session=True, timeout=HUNG, check=False, capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    path = tmp_path / "results.jsonl"
    assert path.read_bytes().count(b"\n") == 3
    with path.open("ab") as file:
        file.write(b'{"status": "done", "conf')
    assert main(arguments) == 0
    assert "10 runs to do" in capsys.readouterr().err
    found, whole = contents(tmp_path), tmp_path / "whole.jsonl"
    for record in found:
        results.append(whole, run_one(RunConfig(**record["config"])))
    assert len(found) == 13
    assert found == contents(tmp_path, "whole.jsonl")
    assert (tmp_path / "table2.json").read_text() != ""


def test_a_study_from_end_to_end_and_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["paper", "equation6", "--seeds", "1", *OPTIONS, "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["mabn-ref", *arguments])
    assert main(arguments) == 0
    first = capsys.readouterr()
    assert "Equation (6): test error %" in first.out
    assert "6 runs to do" in first.err
    written = {name: (tmp_path / name).read_bytes() for name in ("equation6.json", "equation6.svg", "equation6.png")}
    found = json.loads(written["equation6.json"])
    assert (found["study"], found["runs"], found["seeds"]) == ("equation6", 6, [0])
    assert found["command"] == f"mabn-ref paper equation6 --seeds 1 {' '.join(OPTIONS)}"
    assert str(tmp_path) not in written["equation6.json"].decode()
    assert found["versions"][0]["numpy"]
    assert main(arguments) == 0
    second = capsys.readouterr()
    assert "runs to do" not in second.err
    assert second.out == first.out
    assert {name: (tmp_path / name).read_bytes() for name in written} == written


def test_the_command_that_is_kept_has_nothing_of_where_it_ran() -> None:
    words = [
        "paper",
        "table2",
        "--out",
        "/somewhere",
        "--seeds",
        "5",
        "--jobs=2",
        "--dask",
        "tcp://a:1",
        "--lr",
        "0.1",
    ]
    assert _without_places(words) == ["paper", "table2", "--seeds", "5", "--lr", "0.1"]
    assert _without_places(["paper", "all", "--out=/a", "--seeds", "2"]) == ["paper", "all", "--seeds", "2"]


def test_a_study_without_runs_says_where_it_was_computed(tmp_path: Path) -> None:
    study, context = STUDIES["theorem1"]._replace(draw=lambda data: {}), Context((0,), {})
    outcome = study.outcome(context, [])
    write("theorem1", study, outcome, context, tmp_path, "mabn-ref paper theorem1")
    text = (tmp_path / "theorem1.json").read_text()
    found = json.loads(text)
    assert found["runs"] == 0
    assert "layer" not in found
    assert (found["versions"], found["machines"]) == ([made_with()["versions"]], [made_with()["machine"]])
    assert found["data"] == outcome.data
    assert max(map(len, text.splitlines())) > 400, "a curve is on one line"


@pytest.mark.parametrize(
    ("name", "said", "lr"),
    [
        ("theorem1", None, None),
        ("table2", "embedded", 0.06),
        ("table8", "embedded", 0.03),
    ],
)
def test_images_are_named_only_where_they_were_trained_on(
    name: str,
    said: str | None,
    lr: float | None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nothing = Outcome([], [], [], {})
    study = STUDIES[name]._replace(outcome=lambda context, records: nothing, draw=lambda data: {})
    monkeypatch.setattr("mabn_ref.cli.paper.STUDIES", {name: study})
    monkeypatch.setattr("mabn_ref.cli.paper.complete", lambda study, context, *_: (study.plan(context, []), []))
    written: list[Context] = []
    monkeypatch.setattr(output, "write", lambda name, study, outcome, context, *_: written.append(context) or [])
    assert main(["paper", name, *([] if said is None else ["--seeds", "1"])]) == 0
    out = capsys.readouterr().out
    if said is None:
        assert "data" not in out
    else:
        assert f"\n{said} data, 2,400 training images, 8 epochs, 1 seed\n" in out
        assert (written[0].settings["data"], written[0].settings["lr"]) == (said, lr)


def test_wrong_names_are_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["paper", "tabel2"]) == 2
    assert "unknown study 'tabel2': did you mean 'table2'?" in capsys.readouterr().err
    assert main(["paper", "figures", "--layer", "norm9", "--out", str(tmp_path / "out")]) == 2
    assert "argument --layer: unknown layer 'norm9'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "words", "expected"),
    [
        ("theorem1", "--seeds 5", "--out\n"),
        ("theorem1", "--lr 3", "--out\n"),
        ("table9", "--seeds 2", "--out, --width\n"),
        ("table9", "--jobs 2", "--out, --width\n"),
        ("table2", "--layer norm2", "--augment, --dask, --data, --data-dir, --device"),
        *(
            (
                name,
                words,
                "--dask, --device, --epochs, --jobs, --lr, --out, --seeds, --test-size, --train-size, --weight",
            )
            for name in ("table3", "table6", "table8")
            for words in ("--data cifar10", "--data-dir d", "--network resnet8", "--augment", "--no-augment")
        ),
    ],
)
def test_what_a_study_does_not_read_is_refused(
    name: str, words: str, expected: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["paper", name, *words.split(), "--out", str(tmp_path / "out")]) == 2
    said = f"error: argument {words.split()[0]}: {name} does not read it; it reads {expected}"
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_all_studies_are_told_what_they_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    contexts: dict[str, Context] = {}
    monkeypatch.setattr("mabn_ref.cli.paper._run_studies", lambda _, found, *rest: contexts.update(found) or 0)
    words = "--network resnet8 --augment --seeds 2 --width 5 --layer norm2"
    assert main(["paper", "all", *words.split(), "--out", str(tmp_path)]) == 0
    shared = ("network", "augment", "width", "data")
    told = {name: {field: contexts[name].settings.get(field) for field in shared} for name in contexts}
    assert told["table2"] == {"network": "resnet8", "augment": True, "width": 5, "data": "embedded"}
    assert told["table3"] == told["table8"] == {"network": "plain", "augment": False, "width": 5, "data": "embedded"}
    assert (contexts["theorem1"].settings, contexts["theorem1"].seeds) == ({}, (0,))
    assert (contexts["table9"].settings, contexts["table9"].seeds) == ({"width": 5}, (0,))
    assert {contexts[name].seeds for name in ("table2", "long", "theorem2")} == {(0, 1)}


def test_every_option_of_a_study_can_be_declared() -> None:
    commands = argparse.ArgumentParser().add_subparsers()
    paper.add(commands)
    known = {action.dest for action in commands.choices["paper"]._actions if action.option_strings}
    assert known == READ | {"help", "out"}
    assert set().union(*(study.reads for study in STUDIES.values())) == READ


def test_a_missing_dask_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r'pip install "mabn_ref\[dask\]"'), executor(1, "tcp://127.0.0.1:1"):
        pass


@pytest.mark.dask
def test_a_dask_cluster_gives_the_records_of_worker_processes(tmp_path: Path) -> None:
    """A real scheduler and two workers, processes of their own, started and ended here."""
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
    place = tmp_path / "scheduler.json"
    shared = ["--scheduler-file", str(place), "--no-dashboard"]
    module = [sys.executable, "-m", "distributed.cli"]
    processes = [
        subprocess.Popen(
            [*module[:2], "distributed.cli.dask_scheduler", *shared, "--host", "127.0.0.1", "--port", "0"], **quiet
        )
    ]
    try:
        start = time.monotonic()
        while not place.exists() and time.monotonic() - start < HUNG:
            time.sleep(0.1)
        address = json.loads(place.read_text())["address"]
        for _ in range(2):
            command = [*module[:2], "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard"]
            processes.append(subprocess.Popen([*command, "--local-directory", str(tmp_path)], **quiet))
        arguments = ["paper", "equation6", "--seeds", "1", *OPTIONS]
        assert main([*arguments, "--dask", address, "--out", str(tmp_path / "cluster")]) == 0
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(timeout=HUNG)
    assert main([*arguments, "--out", str(tmp_path / "here")]) == 0
    cluster, here = (contents(tmp_path / place, "precise.jsonl") for place in ("cluster", "here"))
    assert cluster == here


@pytest.mark.dask
@pytest.mark.parametrize("address", ["nowhere", "foo://host:1"])
def test_an_address_that_dask_does_not_know_opens_no_client(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")
    monkeypatch.setattr(distributed, "Client", lambda *_, **__: pytest.fail("a client was opened"))
    with pytest.raises(ValueError, match=r"port|scheme"), executor(1, address):
        pass


@pytest.mark.dask
def test_a_scheduler_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    arguments = [
        "paper",
        "equation6",
        "--seeds",
        "1",
        *OPTIONS,
        "--dask",
        "tcp://127.0.0.1:9",
        "--out",
        str(tmp_path),
    ]
    assert main(arguments) == 1
    assert "127.0.0.1:9" in capsys.readouterr().err


def test_what_is_written_is_of_the_studys_own_runs(tmp_path: Path) -> None:
    """Other runs in the same file, and an earlier one of the same configuration, count for nothing."""
    study, context = STUDIES["table2"]._replace(draw=lambda data: {}), Context((0, 1), TINY)
    made = {"versions": {"python": "3"}, "machine": {"cores": 2}}
    records = [pretend(config) | {"message": None, "seconds": 2.0} | made for config in study.plan(context, [])]
    other = pretend(study.plan(context._replace(seeds=(7,)), [])[0]) | {"seconds": 1000.0}
    for record in (other | {"versions": {"python": "2"}, "machine": {}}, records[0] | {"seconds": 500.0}, *records):
        results.append(tmp_path / study.file, record)
    records = results.read(tmp_path / study.file)
    outcome, planned = study.outcome(context, records), study.plan(context, records)
    (path,) = write("table2", study, outcome, context, tmp_path, "mabn-ref paper table2", planned, records)
    found = json.loads(path.read_text(encoding="utf-8"))
    assert (found["runs"], found["run_seconds"]) == (26, 52.0)
    assert (found["versions"], found["machines"]) == ([{"python": "3"}], [{"cores": 2}])

"""Worker processes: one that dies takes only its own task with it."""

from __future__ import annotations

import os
import signal
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mabn_ref.train import results
from mabn_ref.train.comparison import plan
from mabn_ref.train.config import recipe
from mabn_ref.train.runs import Report, run_one
from mabn_ref.train.sweeps import sweep
from mabn_ref.train.workers import WorkerDied, Workers
from tests.signals import HUNG

TINY: dict[str, Any] = {"width": 4, "epochs": 1, "train_size": 64, "test_size": 20}


def test_a_dead_worker_loses_its_task_and_no_other() -> None:
    with Workers(2) as workers:
        slow = workers.submit(time.sleep, 0.5)
        dead = workers.submit(os._exit, 3)
        after = [workers.submit(pow, 2, n) for n in range(4)]
        assert [future.result() for future in after] == [1, 2, 4, 8]
        assert slow.result() is None
        with pytest.raises(WorkerDied, match="its worker process ended with exit code 3"):
            dead.result()


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_a_killed_worker_is_reported_by_its_signal() -> None:
    with Workers(1) as workers:
        pid = workers.submit(os.getpid).result()
        task = workers.submit(time.sleep, HUNG)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(WorkerDied, match="was killed by SIGKILL"):
            task.result()
        assert workers.submit(os.getpid).result() != pid


def test_a_tasks_exception_is_the_futures_and_the_worker_goes_on() -> None:
    with Workers(1) as workers:
        pid = workers.submit(os.getpid).result()
        with pytest.raises(ZeroDivisionError):
            workers.submit(divmod, 1, 0).result()
        assert workers.submit(os.getpid).result() == pid


def test_workers_have_one_blas_thread_and_the_environment_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    with Workers(1) as workers:
        assert workers.submit(os.getenv, "OMP_NUM_THREADS").result() == "1"
        assert workers.submit(os.getenv, "OPENBLAS_NUM_THREADS").result() == "1"
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "OPENBLAS_NUM_THREADS" not in os.environ


def test_leaving_through_an_exception_kills_what_runs_and_starts_nothing_more() -> None:
    futures: list[Future[None]] = []

    def interrupted() -> None:
        with Workers(1) as workers:
            futures.extend(workers.submit(time.sleep, HUNG) for _ in range(3))
            while not futures[0].running():
                time.sleep(0.01)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert isinstance(futures[0].exception(), WorkerDied)
    assert [future.cancelled() for future in futures] == [False, True, True]


def test_runs_in_processes_report_and_give_the_same_record_as_here() -> None:
    configs = plan(["bn-32", "mabn-2"], seeds=[0], **TINY)
    reports: list[tuple[Any, Report]] = []
    with Workers(2, on_report=lambda config, report: reports.append((config, report))) as workers:
        found = dict(sweep(configs, workers))
    for config in configs:
        assert [report.images for key, report in reports if key == config] == [32, 64, 64]
        here, there = run_one(config), found[config]
        assert isinstance(there, dict)
        for line in here["epochs"] + there["epochs"]:
            del line["seconds"]
        assert here | {"seconds": 0} == there | {"seconds": 0}


def test_a_run_that_fails_has_no_line_and_the_others_go_on(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    good = [recipe("bn", **TINY, seed=seed) for seed in range(2)]
    bad = recipe("bn", **TINY | {"data": "directory", "data_dir": str(tmp_path / "nowhere")})
    with ThreadPoolExecutor(1) as pool:
        found = dict(sweep([good[0], bad, good[1]], pool, path))
    assert isinstance(found[bad], ValueError)
    assert "nowhere" in str(found[bad])
    assert [record["config"] for record in results.read(path)] == [config.as_dict() for config in good]
    assert results.read(path) == [found[config] for config in good]

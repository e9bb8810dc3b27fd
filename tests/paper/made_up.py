"""Records of runs that were not run; and of a few that are, in one go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mabn_ref.paper.study import Context, Study, complete
from mabn_ref.train.config import RunConfig
from mabn_ref.train.results import read
from mabn_ref.train.sweeps import executor, sweep

CONTEXT = Context((0, 1, 2), {"epochs": 1})


def records(configs: list[RunConfig], error: Any) -> list[dict[str, Any]]:
    """Records whose errors are a function of the configuration."""
    return [
        {
            "status": "done",
            "message": None,
            "config": config.as_dict(),
            "versions": {},
            "machine": {},
            "seconds": 1.0,
            "epochs": [{"test_error": float(error(config)), "train_error": 1.0}] * config.epochs,
        }
        for config in configs
    ]


def run_all(study: Study, context: Context, folder: Path, run: Callable[..., Any]) -> tuple[list[RunConfig], Any]:
    """Run what a study plans, in a worker process, and return plan and records; nothing is left to run afterwards."""
    ended: list[Any] = []

    def in_one_go(configs: list[RunConfig]) -> list[Any]:
        with executor(1) as workers:
            ended.extend(record for _, record in sweep(configs, workers, folder / study.file, run=run))
        return ended

    planned, found = complete(study, context, [], in_one_go)
    assert [record["status"] for record in ended if isinstance(record, dict)] == ["done"] * len(planned), ended
    assert complete(study, context, read(folder / study.file), lambda configs: configs[0]) == (planned, found)  # type: ignore[arg-type, return-value]
    return planned, found

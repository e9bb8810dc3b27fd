"""Run a study: what its file of results lacks, then what is made of the records."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from mabn_ref.experiments import atomic, results, sweeps
from mabn_ref.experiments.config import RunConfig
from mabn_ref.extras import require
from mabn_ref.paper.study import Context, Outcome, Study

__all__ = ["data_uri", "missing", "pending", "write"]

Ended = Callable[[RunConfig, "dict[str, Any] | Exception"], object]


def missing(study: Study, context: Context, out: Path) -> list[RunConfig]:
    """Return the runs of a study that its file lacks, as far as can be said before any of them."""
    path = out / study.file
    return sweeps.missing(study.plan(context, results.read(path)), path)


def pending(
    study: Study,
    context: Context,
    out: Path,
    open_executor: Callable[[int], AbstractContextManager[Executor]],
    device: str = "cpu",
) -> Iterator[tuple[RunConfig, dict[str, Any] | Exception]]:
    """Run what is missing; a study that plans by outcome is asked again until it has all, or a run failed.

    Parameters
    ----------
    study, context
        What to run.
    out : Path
        The directory of its file.
    open_executor : callable
        Given the number of runs, opens the executor for them.
    device : str
        One of `mabn_ref.experiments.devices.DEVICES`.

    Yields
    ------
    config, record
        As `mabn_ref.experiments.sweeps.sweep` does.
    """
    failed = False
    while not failed and (configs := missing(study, context, out)):
        with open_executor(len(configs)) as executor:
            for config, record in sweeps.sweep(configs, executor, out / study.file, device, study.task):
                failed = failed or isinstance(record, Exception)
                yield config, record


def write(name: str, study: Study, outcome: Outcome, context: Context, out: Path, command: str) -> list[Path]:
    """Write a study's pictures as PNG and SVG, and its numbers as JSON; return the paths.

    The JSON holds the tables, verdicts and notes as they are printed, the numbers behind them, the settings and
    seeds, the command, and the versions and machines of the runs.
    """
    records = results.read(out / study.file) if study.plan(context, []) else []
    planned = study.plan(context, records)
    used = [record for config in planned if (record := results.find(records, config)) is not None]
    content = {
        "study": name,
        "title": study.title,
        "command": command,
        "seeds": context.seeds,
        "settings": dict(context.settings),
        "runs": len(used),
        "run_seconds": sum(record["seconds"] for record in used),
        "versions": _distinct(record["versions"] for record in used),
        "machines": _distinct(record["machine"] for record in used),
        "tables": [table._asdict() for table in outcome.tables],
        "verdicts": outcome.verdicts,
        "notes": outcome.notes,
        "data": outcome.data,
    }
    paths = [out / f"{name}.json"]
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    atomic.write(paths[0], lambda file: file.write(text.encode()))
    for suffix, figure in outcome.figures.items():
        for kind in ("png", "svg"):
            path = out / f"{name}{'-' + suffix if suffix else ''}.{kind}"
            picture = _picture(figure, kind)
            atomic.write(path, lambda file, picture=picture: file.write(picture))  # type: ignore[misc]
            paths.append(path)
    return paths


def _distinct(values: Any) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def _picture(figure: Any, kind: str) -> bytes:
    buffer = io.BytesIO()
    salted = require("matplotlib", "run").rc_context({"svg.hashsalt": "mabn_ref"})
    with salted:  # a salt and no date, so that the same numbers give the same file
        figure.savefig(buffer, format=kind, metadata={"Date": None} if kind == "svg" else None)
    return buffer.getvalue()


def data_uri(figure: Any) -> str:
    """Return a figure as the address of an image that is in the address itself."""
    return "data:image/svg+xml;base64," + base64.b64encode(_picture(figure, "svg")).decode()

"""Run a study: what its file of results lacks, then what is made of the records."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mabn_ref.extras import require
from mabn_ref.paper.study import Context, Outcome, Study
from mabn_ref.train import atomic, results, sweeps
from mabn_ref.train.config import RunConfig
from mabn_ref.train.machine import made_with

__all__ = ["data_uri", "missing", "phases", "write"]


def missing(study: Study, context: Context, out: Path) -> list[RunConfig]:
    """Return the runs of a study that its file lacks, as far as can be said before any of them."""
    path = out / study.file
    return sweeps.missing(study.plan(context, results.read(path)), path)


def phases(study: Study, context: Context, out: Path) -> Iterator[list[RunConfig]]:
    """Yield the runs that are missing, again and again, while a study decides on further ones by their outcome.

    A run that failed, and so has no record, is not among the next ones: it is for another call.

    Parameters
    ----------
    study, context
        What to run.
    out : Path
        The directory of its file, which the caller adds records to before it asks for more.
    """
    tried: set[RunConfig] = set()
    while configs := [config for config in missing(study, context, out) if config not in tried]:
        tried.update(configs)
        yield configs


def write(name: str, study: Study, outcome: Outcome, context: Context, out: Path, command: str) -> list[Path]:
    """Write a study's pictures as PNG and SVG, and its numbers as JSON; return the paths.

    The JSON holds the tables, verdicts and notes as they are printed, the numbers behind them, which pictures are
    drawn from, the settings and seeds, the command, and the versions and machines of the runs; or those of this
    process, where a study simulates or measures without any run.

    Parameters
    ----------
    name, study, outcome, context
        What was found.
    out : Path
        The directory, with the study's file of records.
    command : str
        What was typed.

    Returns
    -------
    list of Path
    """
    records = results.read(out / study.file) if study.plan(context, []) else []
    planned = study.plan(context, records)
    used = [record for config in planned if (record := results.find(records, config)) is not None]
    sources = used if planned else [made_with()]
    content = {
        "study": name,
        "title": study.title,
        "command": command,
        "seeds": context.seeds,
        "settings": dict(context.settings),
        "layer": context.layer,
        "runs": len(used),
        "run_seconds": sum(record["seconds"] for record in used),
        "versions": _distinct(record["versions"] for record in sources),
        "machines": _distinct(record["machine"] for record in sources),
        "tables": [table._asdict() for table in outcome.tables],
        "verdicts": outcome.verdicts,
        "notes": outcome.notes,
        "data": outcome.data,
    }
    paths = [out / f"{name}.json"]
    text = _on_a_line(json.dumps(content, indent=1, allow_nan=False)) + "\n"
    atomic.write(paths[0], lambda file: file.write(text.encode()))
    for suffix, figure in study.draw(outcome.data).items():
        for kind in ("png", "svg"):
            path = out / f"{name}{'-' + suffix if suffix else ''}.{kind}"
            picture = _picture(figure, kind)
            atomic.write(path, lambda file, picture=picture: file.write(picture))  # type: ignore[misc]
            paths.append(path)
    return paths


def _on_a_line(text: str) -> str:
    """JSON with each list of numbers on one line: a curve has hundreds."""
    return re.sub(r"\[\s+([-+.\deE,\s]+?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text)


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

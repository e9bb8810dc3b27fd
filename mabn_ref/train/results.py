"""Results as JSON lines: one run a line, appended as it ends, so that nothing finished is ever lost."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mabn_ref import __version__, atomic
from mabn_ref.train.config import LATER_FIELDS, RunConfig


def prepare(path: Path) -> None:
    """Make the file and its directory, so that one that cannot be written to is found out before any training."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.open("ab").close()


def append(path: Path, record: dict[str, Any]) -> None:
    """Append a record, of finite numbers, as one line and wait until it is on the disk.

    `read` the file first, for that repairs a truncated last line.
    """
    line = json.dumps(record, allow_nan=False) + "\n"
    with path.open("ab") as file:
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> list[dict[str, Any]]:
    """Return every record of a file; a last line that was cut short, by a kill or a full disk, is removed from it.

    No file is an empty one. A ValueError names file and line of another line than the last that is no record.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "results.jsonl")
    ...     _ = file.write_text('{"seed": 0}\\n{"see')
    ...     read(file), file.read_text()
    ([{'seed': 0}], '{"seed": 0}\\n')
    """
    if not path.exists():
        return []
    raw = path.read_bytes()
    lines = raw.split(b"\n")
    records: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        record = _record(line)
        if record is not None:
            records.append(record)
        elif number < len(lines):
            raise ValueError(f"{path}, line {number}, is no record of a run: {line[:40]!r}")
    if lines[-1]:
        whole = [line for line in lines[:-1] if line] + ([lines[-1]] if _record(lines[-1]) is not None else [])
        atomic.write(path, lambda file: file.write(b"".join(line + b"\n" for line in whole)))
    return records


def find(records: Sequence[dict[str, Any]], config: RunConfig) -> dict[str, Any] | None:
    """Return the last record of exactly this configuration, if there is one.

    A record may be older than one of `LATER_FIELDS`.
    """
    wanted = config.as_dict()
    return next((record for record in reversed(records) if LATER_FIELDS | record.get("config", {}) == wanted), None)


def by_seed(records: Sequence[dict[str, Any]], configs: Sequence[RunConfig]) -> list[dict[int, dict[str, Any]]]:
    """Return the records of a row's runs by seed: those that ended, and those that diverged."""
    found = {config.seed: record for config in configs if (record := find(records, config)) is not None}
    return [
        {seed: record for seed, record in found.items() if (record["status"] == "done") == ended}
        for ended in (True, False)
    ]


def missing(configs: Iterable[RunConfig], records: Sequence[dict[str, Any]]) -> list[RunConfig]:
    """Return the runs that have no record yet."""
    return [config for config in configs if find(records, config) is None]


def made_with(device: str = "cpu") -> dict[str, Any]:
    """Return what a record says of where it comes from: `versions`, and the `machine` with the device."""
    return {
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "mabn_ref": __version__},
        "machine": {
            "system": platform.platform(),
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "device": device,
        },
    }


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None

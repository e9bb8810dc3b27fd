"""Results as JSON lines: one line per run, appended when it ends, so that no finished run is lost."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from mabn_ref import __version__, storage
from mabn_ref.train.config import LARGEST, LATER_FIELDS, READ_BY, TRAINED, RunConfig

_LONGEST = 64 * 2**20  #: the most bytes of a line: a record of the statistics of 20,000 steps of a deep network
_LARGEST = 2**30  #: the most bytes of a file: thousands of runs

_KINDS: dict[str, Any] = {
    "status": str,
    "config": dict,
    "seed": int,
    "versions": dict,
    "machine": dict,
    "seconds": (int, float),
    "epochs": list,
}
"""The entries that readers take from a record, with their types."""
_OF_A_RUN = _KINDS.keys() - {"seed"}  #: those of every record with a `config`, which has the seed too


_UNREAD = {
    norm: {name: getattr(RunConfig, name) for name, norms in READ_BY.items() if norm not in norms} for norm in TRAINED
}


def of_record(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a record or checkpoint, brought up to date.

    Fields that did not exist then are filled in. Fields that the normaliser does not read get their defaults.
    """
    later = {name: getattr(RunConfig, name) for name in LATER_FIELDS}
    return later | dict(config) | _UNREAD.get(str(config.get("norm")), {})


def prepare(path: Path) -> None:
    """Make the file and its directory; if they cannot be written, this fails before any training.

    A last line that was cut short, by a kill or a full disk, is removed. Only the holder of the directory's lock may
    call this: to others, a line that is still being written looks the same.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with storage.named(path), path.open("a+b") as file:
        if file.tell() == 0:
            return
        file.seek(-1, os.SEEK_END)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        *before, last = _lines(path, file)
        if _record(last) is None:
            file.truncate(sum(map(len, before)))
        else:
            file.write(b"\n")


def append(path: Path, record: dict[str, Any]) -> None:
    """Append a record of finite numbers as one line, and wait until it is on the disk.

    Call `prepare` first: it repairs a truncated last line.
    """
    line = json.dumps(record, allow_nan=False) + "\n"
    with storage.named(path), path.open("ab") as file:
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> list[dict[str, Any]]:
    """Return every record of a file; a last line that was cut short, by a kill or a full disk, is left out.

    A missing file has no records. A ValueError names the file and any other line that is not a record, or says that
    the file or a line is larger than any that this package writes. The file is not changed.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "results.jsonl")
    ...     _ = file.write_text('{"seed": 0}\\n{"see')
    ...     read(file)
    [{'seed': 0}]
    """
    if not path.exists():
        return []
    records: list[dict[str, Any]] = []
    with storage.named(path), path.open("rb") as file:
        for number, line in enumerate(_lines(path, file), start=1):
            record = _record(line)
            if record is not None:
                records.append(record)
            elif line.endswith(b"\n") and line.strip():
                raise ValueError(f"{path}, line {number}, is not a record of a run: {line[:40]!r}")
    return records


def _lines(path: Path, file: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of an open file; none is read beyond the size limit."""
    size = os.fstat(file.fileno()).st_size
    if size > _LARGEST:
        raise ValueError(f"{path} has {size} bytes, expected a file of records, at most {_LARGEST}")
    number = 0
    while line := file.readline(_LONGEST + 1):
        number += 1
        if len(line) > _LONGEST:
            raise ValueError(f"{path}, line {number}, is longer than {_LONGEST} bytes, expected a record of a run")
        yield line
        if not line.endswith(b"\n"):  # perhaps still being written: what follows is not a line
            return


def find(records: Sequence[dict[str, Any]], config: RunConfig) -> dict[str, Any] | None:
    """Return the last record of exactly this configuration, read through `of_record`; None if there is none."""
    wanted = config.as_dict()
    return next((record for record in reversed(records) if of_record(record.get("config", {})) == wanted), None)


def of_images(records: Sequence[dict[str, Any]], digest: str | None) -> list[dict[str, Any]]:
    """Return the records except those known to be of other images than `digest` says; see `datasets.Images`.

    A configuration has the name of a directory, which does not determine its content. Records without a digest stay:
    those made before digests existed, and those of generated images.

    Examples
    --------
    >>> of_images([{"seed": 0, "images": "3f"}, {"seed": 1, "images": "a0"}, {"seed": 2}], digest="a0")
    [{'seed': 1, 'images': 'a0'}, {'seed': 2}]
    """
    return [record for record in records if record.get("images") in (None, digest)]


def by_seed(records: Sequence[dict[str, Any]], configs: Sequence[RunConfig]) -> list[dict[int, dict[str, Any]]]:
    """Return the records of a row's runs by seed: those that finished, and those that diverged."""
    found = {config.seed: record for config in configs if (record := find(records, config)) is not None}
    return [
        {seed: record for seed, record in found.items() if (record.get("status") == "done") == ended}
        for ended in (True, False)
    ]


def missing(configs: Iterable[RunConfig], records: Sequence[dict[str, Any]]) -> list[RunConfig]:
    """Return the runs that have no record yet."""
    return [config for config in configs if find(records, config) is None]


def made_with(device: str = "cpu") -> dict[str, Any]:
    """Return the origin that a record states: `versions`, and the `machine` with the device."""
    versions = {"python": platform.python_version(), "numpy": np.__version__, "mabn_ref": __version__}
    computer = {"system": platform.platform(), "processor": platform.machine(), "cores": os.cpu_count()}
    return {"versions": versions, "machine": {**computer, "device": device}}


def _record(line: bytes) -> dict[str, Any] | None:
    """Return the record in a line, or None if an entry that readers take is missing or of the wrong type."""
    try:
        value = storage.as_json(line, LARGEST)
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    if not all(isinstance(value[name], _KINDS[name]) for name in _KINDS & value.keys()):
        return None
    done, epochs = value.get("status") == "done", value.get("epochs", [])
    if "config" in value and not (value.keys() >= _OF_A_RUN and (epochs if done else "message" in value)):
        return None
    if done and value.get("config", {}).get("epochs", len(epochs)) != len(epochs):
        return None  # the curves of all seeds must have the same length
    for epoch in epochs:
        if not isinstance(epoch, dict) or not all(type(figure) in (int, float) for figure in epoch.values()):
            return None
        if done and "test_error" not in epoch:
            return None
        if not all(0 <= epoch.get(name, 0) <= 100 for name in ("train_error", "test_error")):
            return None
    return value

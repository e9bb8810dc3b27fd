"""Results as JSON lines: one run a line, appended as it ends, so that nothing finished is ever lost."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from mabn_ref import __version__, storage
from mabn_ref.train.config import LATER_FIELDS, READ_BY, TRAINED, RunConfig

_LONGEST = 4 * 2**20  #: bytes of a line: a hundred times the longest record of the project's own
_LARGEST = 64 * 2**20  #: bytes of a file: some thousands of runs

_MOST = 1e100  #: numbers of a record: squares of them can be summed

_KINDS: dict[str, Any] = {
    "status": str,
    "config": dict,
    "seed": int,
    "versions": dict,
    "machine": dict,
    "seconds": (int, float),
    "epochs": list,
}
"""What readers take from a record."""
_OF_A_RUN = _KINDS.keys() - {"seed"}  #: what they take from every one that has a `config`: the seed is there, too


_UNREAD = {
    norm: {name: getattr(RunConfig, name) for name, norms in READ_BY.items() if norm not in norms} for norm in TRAINED
}


def of_record(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that a record or a checkpoint has, as a run of today has them.

    Later fields are filled in. Those that the normaliser does not read have their defaults, whatever was said.
    """
    later = {name: getattr(RunConfig, name) for name in LATER_FIELDS}
    return later | dict(config) | _UNREAD.get(str(config.get("norm")), {})


def prepare(path: Path) -> None:
    """Make the file and its directory, so that one that cannot be written to is found out before any training.

    A last line that was cut short, by a kill or a full disk, is removed. Only the holder of the directory's lock may
    do this: to anybody else, a line that is being written looks the same.
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
    """Append a record, of finite numbers, as one line and wait until it is on the disk.

    `prepare` the file first, for that repairs a truncated last line.
    """
    line = json.dumps(record, allow_nan=False) + "\n"
    with storage.named(path), path.open("ab") as file:
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> list[dict[str, Any]]:
    """Return every record of a file; a last line that was cut short, by a kill or a full disk, is left out.

    No file is an empty one. A ValueError names file and line of another line that is not a record, or says that the
    file or a line is larger than any that this package writes. The file is not changed.

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
    """The lines of an open file, none of them read before its size is known."""
    size = os.fstat(file.fileno()).st_size
    if size > _LARGEST:
        raise ValueError(f"{path} has {size} bytes, expected a file of records, at most {_LARGEST}")
    number = 0
    while line := file.readline(_LONGEST + 1):
        number += 1
        if len(line) > _LONGEST:
            raise ValueError(f"{path}, line {number}, is longer than {_LONGEST} bytes, expected a record of a run")
        yield line
        if not line.endswith(b"\n"):  # being written, perhaps: what comes after it is not a line
            return


def find(records: Sequence[dict[str, Any]], config: RunConfig) -> dict[str, Any] | None:
    """Return the last record of exactly this configuration, if any; see `of_record`."""
    wanted = config.as_dict()
    return next((record for record in reversed(records) if of_record(record.get("config", {})) == wanted), None)


def of_images(records: Sequence[dict[str, Any]], digest: str | None) -> list[dict[str, Any]]:
    """Return the records that are not known to be of other images than those of a digest; see `datasets.Images`.

    The name of a directory is part of a configuration, and says nothing of what is in it. Records made before there
    were digests have none and stay, as those of generated images do.

    Examples
    --------
    >>> of_images([{"seed": 0, "images": "3f"}, {"seed": 1, "images": "a0"}, {"seed": 2}], digest="a0")
    [{'seed': 1, 'images': 'a0'}, {'seed': 2}]
    """
    return [record for record in records if record.get("images") in (None, digest)]


def by_seed(records: Sequence[dict[str, Any]], configs: Sequence[RunConfig]) -> list[dict[int, dict[str, Any]]]:
    """Return the records of a row's runs by seed: those that ended, and those that diverged."""
    found = {config.seed: record for config in configs if (record := find(records, config)) is not None}
    return [
        {seed: record for seed, record in found.items() if (record.get("status") == "done") == ended}
        for ended in (True, False)
    ]


def missing(configs: Iterable[RunConfig], records: Sequence[dict[str, Any]]) -> list[RunConfig]:
    """Return the runs that have no record yet."""
    return [config for config in configs if find(records, config) is None]


def made_with(device: str = "cpu") -> dict[str, Any]:
    """Return what a record says of where it comes from: `versions`, and the `machine` with the device."""
    versions = {"python": platform.python_version(), "numpy": np.__version__, "mabn_ref": __version__}
    computer = {"system": platform.platform(), "processor": platform.machine(), "cores": os.cpu_count()}
    return {"versions": versions, "machine": {**computer, "device": device}}


def _record(line: bytes) -> dict[str, Any] | None:
    """The record of a line, or None if what readers take from one is not of its type."""
    try:
        value = storage.as_json(line, _MOST)
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
        return None  # curves of other seeds are as long as that of this one
    for epoch in epochs:
        if not isinstance(epoch, dict) or not all(type(figure) in (int, float) for figure in epoch.values()):
            return None
        if done and "test_error" not in epoch:
            return None
        if not all(0 <= epoch.get(name, 0) <= 100 for name in ("train_error", "test_error")):
            return None
    return value

"""Damaged files of every format that is read: one error with the file's name, soon, and in little memory.

``MABN_DAMAGED=10000 pytest tests/test_damaged.py -s`` damages as many, and says what became of them.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import runpy
import signal
import sys
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mabn_ref.check import vectors
from mabn_ref.data import cifar
from mabn_ref.learn import notebook
from mabn_ref.learn.exercise import find
from mabn_ref.learn.folder import STATE, Folder
from mabn_ref.learn.submissions import Unreadable, source_of
from mabn_ref.train import checkpoints, loop, results
from mabn_ref.train.config import recipe
from tests.signals import HUNG

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of memory")

FILES = int(os.environ.get("MABN_DAMAGED", "210"))
MOST = 500 << 20
"""Bytes of memory that reading one may take besides."""
READER = Path(__file__).parents[1] / "docs" / "howto" / "read_vectors.py"
STRANGE: tuple[Any, ...] = (
    *(None, True, -1, 0, 1.5, 10**30, -(10**400), 1e308, "", "x" * 10**6, "\udcff", [], {}, [[[[]]]], {"": None}),
    *([10**9, 10**9], [-1], ["<f8", 2**62], {"a": {"a": {"a": 1}}}),
)
RAW = (
    b"1e999",
    b"NaN",
    b"9" * 5000,
    b"[" * 10**5,
    b'{"a":' * 10**4,
    b"\x00" * 1000,
    b"\xff\xfe",
    b"PK\x03\x04",
    b"\n" * 99,
)

TINY: dict[str, Any] = {"width": 2, "train_size": 40, "test_size": 40, "epochs": 1, "gradient_batch": 20}

Damage = Callable[[np.random.Generator, bytes], bytes]


def truncated(rng: np.random.Generator, data: bytes) -> bytes:
    return data[: rng.integers(len(data) + 1)]


def flipped(rng: np.random.Generator, data: bytes) -> bytes:
    changed = bytearray(data)
    for at in rng.integers(len(data), size=rng.integers(1, 4)):
        changed[at] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def at_an_end(rng: np.random.Generator, data: bytes) -> bytes:
    """Near its beginning or its end, where headers and directories are."""
    changed = bytearray(data)
    at = int(rng.integers(min(300, len(data))))
    changed[at if rng.integers(2) else -at - 1] = int(rng.integers(256))
    return bytes(changed)


def moved(rng: np.random.Generator, data: bytes) -> bytes:
    a, b, c = sorted(int(n) for n in rng.integers(len(data) + 1, size=3))
    return (data[:a] + data[b:c] + data[a:b] + data[c:], data[:a] + data[b:], data[:b] + data[a:])[rng.integers(3)]


def filled(rng: np.random.Generator, data: bytes) -> bytes:
    a, b = sorted(int(n) for n in rng.integers(len(data) + 1, size=2))
    return data[:a] + RAW[rng.integers(len(RAW))] + data[b if rng.integers(2) else a :]


DAMAGES: tuple[Damage, ...] = (truncated, flipped, at_an_end, moved, filled)


def changed_json(rng: np.random.Generator, text: bytes) -> bytes:
    """Well-formed, with a strange value in one place, or a key that is gone."""
    tree = json.loads(text)
    place = tree
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return text
        key = keys[rng.integers(len(keys))]
        if isinstance(place[key], dict | list) and place[key] and rng.integers(4):
            place = place[key]
            continue
        if isinstance(place, dict) and not rng.integers(4):
            del place[key]
        else:
            place[key] = STRANGE[rng.integers(len(STRANGE))]
        return json.dumps(tree).encode()


def changed_lines(rng: np.random.Generator, text: bytes) -> bytes:
    lines = text.splitlines()
    at = rng.integers(len(lines))
    lines[at] = changed_json(rng, lines[at])
    return b"\n".join(lines) + b"\n"


def changed_member(rng: np.random.Generator, data: bytes) -> bytes:
    """A zip archive whose check sums are right, and one of whose members is damaged, doubled, renamed or gone."""
    out, kind = io.BytesIO(), rng.integers(6)
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        chosen = old.namelist()[rng.integers(len(old.namelist()))]
        for name in old.namelist():
            content = old.read(name)
            if name == chosen and kind == 0:
                continue
            if name == chosen and kind == 1:
                content = bytes(1 << 26)
            elif name == chosen and kind > 1:
                content = DAMAGES[rng.integers(len(DAMAGES))](rng, content)
            new.writestr(name, content)
    return out.getvalue()


def changed_tar(rng: np.random.Generator, data: bytes) -> bytes:
    """A compressed archive that unpacks, and is damaged inside."""
    import gzip

    inside = bytearray(gzip.decompress(data))
    at = 512 * int(rng.integers(len(inside) // 512)) if rng.integers(2) else 0
    piece = bytes(inside[at : at + 512])
    inside[at : at + 512] = DAMAGES[rng.integers(1, 3)](rng, piece)
    return gzip.compress(bytes(inside), 1)


Format = tuple[Path, Callable[[], object], tuple[type[Exception], ...], tuple[Damage, ...]]


def formats(folder: Path) -> dict[str, Format]:
    """For each format a whole file, what reads it, the errors that it may raise, and what damages it besides."""
    config = recipe("mabn", **TINY)
    begin = loop.begin(loop.prepare(config))
    kept = folder / "run.npz"
    checkpoints.save(kept, config, begin)
    records = folder / "results.jsonl"
    shown = Path(__file__).parents[1] / "docs" / "results" / "embedded" / "results.jsonl"
    records.write_bytes(b"".join(shown.read_bytes().splitlines(keepends=True)[:3]))
    course = Folder(folder / "course")
    course.make()
    state = folder / "course" / STATE
    state.write_text(json.dumps({"passed": ["01_moments"], "hints": {"01_moments": 2}, "chosen": "02_bn_forward"}))
    list(vectors.write(folder / "vectors", vectors.small_set(["bn"])))
    read = runpy.run_path(str(READER))["read"]
    index, arrays = folder / "vectors" / vectors.INDEX, sorted((folder / "vectors").glob("*.npz"))[0]
    book = folder / "01_moments.ipynb"
    book.write_text(json.dumps(notebook.as_notebook(find("moments"))))
    places = folder / "cifar"
    places.mkdir()
    rng = np.random.default_rng(0)
    raw = np.concatenate([rng.integers(10, size=(20, 1)), rng.integers(256, size=(20, 3072))], axis=1)
    for name in (*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"):
        (places / name).write_bytes(raw.astype(np.uint8).tobytes())
    archive = folder / "cifar-10-binary.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(places, "cifar-10-batches-bin")
    refused = (ValueError, OSError)
    return {
        "checkpoint": (kept, lambda: checkpoints.load(kept, config, begin), refused, (changed_member,) * 4),
        "results": (records, lambda: results.read(records), refused, (changed_lines,) * 3),
        "state of a course": (state, course.load, (), (changed_json,) * 3),
        "vectors, index": (index, lambda: list(read(folder / "vectors")), refused, (changed_json,) * 4),
        "vectors, arrays": (arrays, lambda: list(read(folder / "vectors")), refused, ()),
        "notebook": (book, lambda: source_of(book, find("moments")), (Unreadable,), (changed_json,) * 4),
        "CIFAR files": (places / "data_batch_2.bin", lambda: cifar.read_directory(places), refused, ()),
        "CIFAR archive": (archive, lambda: cifar.read_archive(archive), refused, (changed_tar,) * 4),
    }


class Hung(BaseException):
    """It takes too long."""


@contextlib.contextmanager
def little_memory() -> Iterator[None]:
    """What takes more is a MemoryError."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_damaged_files(tmp_path: Path) -> None:
    def hung(*args: object) -> None:
        raise Hung

    rng = np.random.default_rng(FILES)
    known = formats(tmp_path)
    found: dict[str, Counter[str]] = {name: Counter() for name in known}
    old = signal.signal(signal.SIGALRM, hung)
    try:
        for number in range(FILES):
            name = list(known)[number % len(known)]
            path, load, refused, own = known[name]
            whole = path.read_bytes()
            damages = (*DAMAGES, *own)
            damaged = damages[rng.integers(len(damages))](rng, whole)
            path.write_bytes(damaged)
            signal.alarm(int(HUNG))
            try:
                with little_memory():
                    load()
                found[name]["read"] += 1
            except refused as error:
                said = str(error)
                assert path.name in said or str(path.parent) in said or name == "notebook", (name, number, said)
                assert "\n" not in said, (name, number, said)
                found[name]["refused"] += 1
            except BaseException as error:
                (tmp_path.parent / f"damaged-{number}").write_bytes(damaged)
                raise AssertionError(f"{name}, {number}: {type(error).__name__}: {error}") from error
            finally:
                signal.alarm(0)
                path.write_bytes(whole)
    finally:
        signal.signal(signal.SIGALRM, old)
    for name, counts in found.items():
        print(f"{name:<20}{counts['read']:>6} read {counts['refused']:>6} refused")
    assert all(counts["refused"] for name, counts in found.items() if name != "state of a course")

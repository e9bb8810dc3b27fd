"""The answers of a target's process: text in JSON, and arrays. Nothing that this process writes is unpickled.

Before every call of the target its process writes which call it is; the last one is where it hung or died.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import IO, Any, BinaryIO

import numpy as np

from mabn_ref.check.observe import About, Trace


class Garbled(Exception):
    """An answer that `write_answer` did not write."""


_LONGEST = 1 << 30
_SAID = 1 << 32
"""Added to the length of a message that comes before the answer."""
_TEXTS = {field.name for field in fields(Trace)} - {"scenario", "space", "values", "states"}


def write_answer(stream: BinaryIO, kind: str, found: Any) -> None:
    """Write an answer: its length, then an archive of its arrays, with everything else as JSON."""
    arrays = {}
    if isinstance(found, Trace):
        kind = "trace"
        arrays = {f"values/{name}": np.stack(values) for name, values in found.values.items()}
        arrays |= {f"states/{name}": np.stack(values) for name, values in found.states.items()}
        found = {name: getattr(found, name) for name in _TEXTS}
    elif isinstance(found, About):
        kind, found = "about", asdict(found)
    with io.BytesIO() as file:
        np.savez(file, text=np.array(json.dumps([kind, found])), **arrays)  # type: ignore[arg-type]
        archive = file.getvalue()
    stream.write(struct.pack("<Q", len(archive)) + archive)
    stream.flush()


def say(stream: BinaryIO, words: str) -> None:
    """Write what is being done, before the answer."""
    text = words.encode()
    stream.write(struct.pack("<Q", _SAID + len(text)) + text)
    stream.flush()


def read_answer(stream: IO[bytes], told: Callable[[str], None]) -> tuple[str, Any]:
    """Read an answer: its kind, with an `About`, a text, a list, or the fields of a `Trace`.

    `told` gets the messages before it. `Garbled` is raised if it is not an answer, EOFError if the stream ends early.
    """
    (length,) = struct.unpack("<Q", _exactly(stream, 8))
    while 0 <= length - _SAID <= _LONGEST:
        told(_exactly(stream, length - _SAID).decode(errors="replace"))
        (length,) = struct.unpack("<Q", _exactly(stream, 8))
    if length > _LONGEST:
        raise Garbled
    archive = io.BytesIO(_exactly(stream, length))
    try:
        with np.load(archive, allow_pickle=False) as kept:
            kind, found = json.loads(str(kept["text"]))
            if kind == "trace":
                found = {"values": {}, "states": {}, **{name: found[name] for name in _TEXTS}}
                for name in kept.files:
                    part, slash, what = name.partition("/")
                    if slash:
                        found[part][what] = list(kept[name])
            elif kind == "about":
                by_rank = {key: {int(rank): why for rank, why in found[key].items()} for key in ("refused", "broken")}
                found = About(**found | by_rank)
    except (ValueError, TypeError, KeyError, OSError, EOFError, RecursionError, zipfile.BadZipFile) as error:
        raise Garbled from error
    return kind, found


def _exactly(stream: IO[bytes], length: int) -> bytes:
    found = stream.read(length)
    if len(found) < length:
        raise EOFError
    return found

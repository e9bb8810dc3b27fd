"""A folder of submissions: which files in it are whose, and their source, whatever is lying there."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from mabn_ref.learn.exercise import Exercise
from mabn_ref.learn.folder import FILE

__all__ = ["Unreadable", "notebook_source", "source_of", "students", "submitted"]

_DEEPEST = 4
_LARGEST = 1_000_000
_MOST = 20_000


class Unreadable(ValueError):
    """A submitted file cannot be used; the message says why."""


def students(folder: Path) -> list[Path]:
    """The students' folders in a folder of submissions, by name; no links, nothing hidden.

    Raises
    ------
    ValueError
        If there are none.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder")
    found = [p for p in folder.iterdir() if p.is_dir() and not p.is_symlink() and not p.name.startswith((".", "_"))]
    if not found:
        raise ValueError(f"{folder} holds no folders, expected one for each student")
    return sorted(found)


def submitted(student: Path, exercises: Sequence[Exercise]) -> dict[str, Path]:
    """The file of each exercise that a student has handed in, the one nearest to the top where there are several.

    It is ``NN_name/exercise.py``, ``NN_name.py`` or ``NN_name.ipynb``, in the student's folder or further down.
    """
    names = {exercise.name for exercise in exercises}
    found: dict[str, Path] = {}
    for path in _files(student):
        name = path.parent.name if path.name == FILE else path.stem if path.suffix in (".py", ".ipynb") else ""
        if name in names:
            found.setdefault(name, path)
    return found


def _files(folder: Path) -> Iterator[Path]:
    """Files up to some depth and number, those nearest to the top first; links are not followed."""
    level, seen = [folder], 0
    for _ in range(_DEEPEST):
        deeper = []
        for place in level:
            try:
                entries = sorted(os.scandir(place), key=lambda entry: entry.name)
            except OSError:
                continue
            for entry in entries:
                seen += 1
                if seen > _MOST:
                    return
                if entry.is_dir(follow_symlinks=False):
                    deeper.append(Path(entry.path))
                else:
                    yield Path(entry.path)
        level = deeper


def source_of(path: Path) -> str:
    """Read a submitted file.

    Raises
    ------
    Unreadable
        If it is a link or no ordinary file, too large, no text, or no notebook.
    """
    try:
        state = path.lstat()
        if not stat.S_ISREG(state.st_mode):  # reading a pipe would wait for ever
            raise Unreadable("is no ordinary file")
        if state.st_size > _LARGEST:
            raise Unreadable(f"has {state.st_size:,} bytes, expected at most {_LARGEST:,}")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise Unreadable(f"cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise Unreadable("is no text in UTF-8") from error
    return notebook_source(text) if path.suffix == ".ipynb" else text


def notebook_source(text: str) -> str:
    """The student's code of a notebook: cells marked as answers or, where there are none, all but checks.

    Examples
    --------
    >>> cells = [{"cell_type": "code", "source": "x = 1", "metadata": {"mabn_ref": "answer"}}]
    >>> notebook_source(json.dumps({"cells": cells}))
    'x = 1'
    """
    try:
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
        marked = [cell for cell in cells if cell.get("metadata", {}).get("mabn_ref") == "answer"]
        others = [cell for cell in cells if cell.get("metadata", {}).get("mabn_ref") != "check"]
        sources = ["".join(cell["source"]) for cell in marked or others]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Unreadable("is no notebook") from error
    lines = [line for source in sources for line in [*source.splitlines(), ""]]
    return "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in lines).rstrip("\n")

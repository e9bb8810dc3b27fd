"""A folder of submissions: whose they are, which files count, and what stands in them, whatever is lying there."""

from __future__ import annotations

import contextlib
import difflib
import itertools
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from mabn_ref import storage
from mabn_ref.learn.exercise import Exercise, course
from mabn_ref.learn.folder import FILE

_DEEPEST = 4
_LARGEST = 1_000_000
_LONGEST = 200_000
_MOST = 20_000


class Unreadable(ValueError):
    """A submitted file cannot be used; the message says why."""


def students(folder: Path) -> list[Path]:
    """The students' folders in a folder of submissions, by name.

    Raises
    ------
    ValueError
        If there are none, or if the folders have the names of exercises: it is one student's, then.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder")
    found = [path for path in folder.iterdir() if path.is_dir() and not _left_out(path)]
    if not found:
        raise ValueError(f"{folder} holds no folders, expected one for each student")
    names = {exercise.name for exercise in course()}
    if all(path.name in names for path in found):
        raise ValueError(f"{folder} holds exercises and no students, expected the folder above it")
    return sorted(found)


def left_out(folder: Path) -> list[tuple[str, str]]:
    """What is in a folder of submissions and is not graded, each with the reason."""
    found = [(path.name, _left_out(path) or ("" if path.is_dir() else "not a folder")) for path in folder.iterdir()]
    for student in students(folder):
        found += [(str(path.relative_to(folder)), reason) for path, reason in _misnamed(student)]
    return sorted((name, reason) for name, reason in found if reason)


def _misnamed(student: Path) -> Iterator[tuple[Path, str]]:
    """Code of a student that is in the place of no exercise and looks as if it were meant for one."""
    names = [exercise.name for exercise in course()]
    for path in _files(student):
        name, hidden = _exercise_name(path), any(part.startswith(".") for part in path.relative_to(student).parts)
        near = difflib.get_close_matches(name, names, n=1)
        if name and name not in names and not hidden and (near or path.name == FILE):
            yield path, f"no exercise is called {name}" + (f"; {near[0]}?" if near else "")


def _exercise_name(path: Path) -> str:
    """Of which exercise a file is the code, by its place; "" if it is no code."""
    return path.parent.name if path.name == FILE else path.stem if path.suffix in (".py", ".ipynb") else ""


def _left_out(path: Path) -> str:
    """Why a folder is not taken for a student's; "" if it is."""
    if path.is_symlink():
        return "a link"
    return f"its name begins with {path.name[0]}" if path.name.startswith((".", "_")) else ""


def submitted(student: Path, exercises: Sequence[Exercise]) -> dict[str, Path]:
    """The file of each exercise that a student has handed in, the one nearest to the top where there are several.

    It is ``NN_name/exercise.py``, ``NN_name.py`` or ``NN_name.ipynb``, in the student's folder or further down.
    """
    names = {exercise.name for exercise in exercises}
    found: dict[str, Path] = {}
    for path in _files(student):
        if _exercise_name(path) in names:
            found.setdefault(_exercise_name(path), path)
    return found


def _files(folder: Path) -> Iterator[Path]:
    """Files up to some depth and number, those nearest to the top first; links are not followed."""
    level, left = [str(folder)], _MOST
    for _ in range(_DEEPEST):
        entries = list(itertools.islice((entry for place in level for entry in _entries(place)), left))
        left -= len(entries)
        yield from (Path(entry.path) for entry in entries if not entry.is_dir(follow_symlinks=False))
        level = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]


def _entries(place: str) -> list[os.DirEntry[str]]:
    """What is in a folder, by name; nothing if it cannot be read."""
    with contextlib.suppress(OSError):
        return sorted(os.scandir(place), key=lambda entry: entry.name)
    return []


def source_of(path: Path) -> str:
    """Read a submitted file.

    Raises
    ------
    Unreadable
        If it is a link or not an ordinary file, too large, not text, or not a notebook.
    """
    try:
        state = path.lstat()
        if not stat.S_ISREG(state.st_mode):  # reading a pipe would wait for ever
            raise Unreadable("is not an ordinary file")
        if state.st_size > _LARGEST:
            raise Unreadable(f"has {state.st_size:,} bytes, expected at most {_LARGEST:,}")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise Unreadable(f"cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise Unreadable("is not valid UTF-8") from error
    source = notebook_source(text) if path.suffix == ".ipynb" else text
    if len(source) > _LONGEST:
        raise Unreadable(f"has {len(source):,} characters of code, expected at most {_LONGEST:,}")
    return source


def notebook_source(text: str) -> str:
    """The student's code of a notebook: cells marked as answers or, where there are none, all but checks.

    Examples
    --------
    >>> import json
    >>> cells = [{"cell_type": "code", "source": "x = 1", "metadata": {"mabn_ref": "answer"}}]
    >>> notebook_source(json.dumps({"cells": cells}))
    'x = 1'
    """
    try:
        cells = [cell for cell in storage.as_json(text)["cells"] if cell["cell_type"] == "code"]
        marked = [cell for cell in cells if cell.get("metadata", {}).get("mabn_ref") == "answer"]
        others = [cell for cell in cells if cell.get("metadata", {}).get("mabn_ref") != "check"]
        sources = ["".join(cell["source"]) for cell in marked or others]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable("is not a notebook") from error
    lines = [line for source in sources for line in [*source.splitlines(), ""]]
    return "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in lines).rstrip("\n")

"""A folder of submissions: whose they are, which files count, and what is in them, whatever else is there."""

from __future__ import annotations

import contextlib
import difflib
import itertools
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from mabn_ref.learn.exercise import Exercise, course
from mabn_ref.learn.folder import FILE
from mabn_ref.learn.notebook_code import notebook_source
from mabn_ref.learn.plain_text import shown

_CODE = (".py", ".ipynb")
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
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
        If there are none, or if the folders have the names of exercises: then it belongs to one student.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder")
    found = [path for path in folder.iterdir() if path.is_dir() and not _left_out(path)]
    if not found:
        raise ValueError(f"{folder} holds no folders, expected one for each student")
    names = {exercise.name for exercise in course()}
    if all(path.name in names for path in found):
        raise ValueError(f"{folder} holds exercises, not students; expected the folder above it")
    return sorted(found)


def left_out(folder: Path, exercises: Sequence[Exercise] | None = None) -> list[tuple[str, str]]:
    """What is in a folder of submissions and is not graded, each with the reason; `exercises` are those graded."""
    found = [(path.name, _left_out(path) or ("" if path.is_dir() else "not a folder")) for path in folder.iterdir()]
    for student in students(folder):
        told = [*_misnamed(student), *_passed_over(student, course() if exercises is None else exercises)]
        found += [(str(path.relative_to(folder)), reason) for path, reason in told]
    return sorted((name, shown(reason)) for name, reason in found if reason)


def _misnamed(student: Path) -> Iterator[tuple[Path, str]]:
    """Files in a student's folder that look as if they were meant for an exercise but are not where one belongs."""
    names = [exercise.name for exercise in course()]
    for path, is_link in _files(student, _MOST):
        inside = path.relative_to(student)
        if not any(part.startswith(".") for part in inside.parts):
            reason = _fault_of_place(path, is_link, len(inside.parts) > _DEEPEST, names)
            if reason:
                yield path, reason


def _fault_of_place(path: Path, is_link: bool, too_deep: bool, names: Sequence[str]) -> str:
    """Why a file is not taken though it may be meant for an exercise; "" if it is taken, or is not meant for one."""
    is_text = path.suffix == ".txt"
    name = (_exercise_name(path.with_suffix("")) or path.stem) if is_text else _exercise_name(path)
    if too_deep:
        return f"more than {_DEEPEST} levels down" if name in names else ""
    if is_link:
        return "a link"
    if path.suffix.lower() in _ARCHIVES:
        return "an archive"
    if name in names:
        return "its name ends in .txt" if is_text else ""
    if path.parent.name in names and (_is_code(path) or (is_text and path.name.lower().startswith("exercise"))):
        return f"it is not called {f'{path.parent.name}.ipynb' if path.suffix.lower() == '.ipynb' else FILE}"
    near = difflib.get_close_matches(name, names, n=1) or _of_number(name, names)
    if not name or not (near or name == path.parent.name):
        return ""
    return f"no exercise is called {name}" + (f"; did you mean {near[0]}?" if near else "")


def _of_number(name: str, names: Sequence[str]) -> list[str]:
    """The exercise with the number in a name: the first for "1", "ex01" and "Exercise 1"."""
    digits = re.sub(r"\D", " ", name).split()
    return [exercise for exercise in names if digits[:1] and int(exercise[:2]) == int(digits[0])]


def _passed_over(student: Path, exercises: Sequence[Exercise]) -> Iterator[tuple[Path, str]]:
    """Files of exercises for which another file counts."""
    for exercise, paths in _handed_in(student, exercises):
        taken = _that_counts(exercise, paths)
        for path in paths:
            if path == taken:
                continue
            if path in paths[: paths.index(taken)]:
                reason = "the skeleton, untouched; another file of this exercise counts"
            elif len(taken.parts) < len(path.parts):
                reason = "another file of this exercise is nearer to the top"
            else:
                reason = "another file of this exercise comes first by name"
            yield path, f"{reason}: {taken.relative_to(student)}"


def _exercise_name(path: Path) -> str:
    """The exercise that a file belongs to, by its place; "" if it is not code."""
    return path.parent.name if path.name == FILE else path.stem if _is_code(path) else ""


def _is_code(path: Path) -> bool:
    """Whether its name ends like code; some systems write names in capitals."""
    return path.suffix.lower() in _CODE


def _left_out(path: Path) -> str:
    """Why a folder is not taken for a student's; "" if it is."""
    if path.is_symlink():
        return "a link"
    if path.name.startswith((".", "_")):
        return f"its name begins with {path.name[0]}"
    return "it cannot be read" if path.is_dir() and not os.access(path, os.R_OK | os.X_OK) else ""


def submitted(student: Path, exercises: Sequence[Exercise]) -> dict[str, Path]:
    """The file of each exercise that a student has handed in.

    It is ``NN_name/exercise.py``, ``NN_name.py`` or ``NN_name.ipynb``, in the student's folder or further down. If
    there are several, the one nearest to the top counts, and among those the first by name; an untouched skeleton
    counts only if all of them are.
    """
    return {exercise.name: _that_counts(exercise, paths) for exercise, paths in _handed_in(student, exercises)}


def _handed_in(student: Path, exercises: Sequence[Exercise]) -> list[tuple[Exercise, list[Path]]]:
    """The files of each exercise that has any, those nearest to the top first."""
    found: dict[str, list[Path]] = {}
    for path, _ in _files(student):
        found.setdefault(_exercise_name(path), []).append(path)
    return [(exercise, found[exercise.name]) for exercise in exercises if exercise.name in found]


def _that_counts(exercise: Exercise, paths: Sequence[Path]) -> Path:
    def touched(path: Path) -> bool:
        try:
            return source_of(path, exercise).split() != exercise.skeleton.split()
        except Unreadable:
            return True

    return next(filter(touched, paths), paths[0]) if paths[1:] else paths[0]


def _files(folder: Path, deepest: int = _DEEPEST) -> Iterator[tuple[Path, bool]]:
    """Files up to some depth and number, those nearest to the top first, and whether each is a link."""
    level, left = [str(folder)], _MOST
    while level and deepest:
        entries = list(itertools.islice((entry for place in level for entry in _entries(place)), left))
        left, deepest = left - len(entries), deepest - 1
        yield from ((Path(e.path), e.is_symlink()) for e in entries if not e.is_dir(follow_symlinks=False))
        level = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]


def _entries(place: str) -> list[os.DirEntry[str]]:
    """What is in a folder, by name; nothing if it cannot be read."""
    with contextlib.suppress(OSError):
        return sorted(os.scandir(place), key=lambda entry: entry.name)
    return []


def source_of(path: Path, exercise: Exercise) -> str:
    """Read a file that was submitted for an exercise.

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
        raise Unreadable("is not valid UTF-8: save it as UTF-8") from error
    try:
        source = notebook_source(text, exercise.asked) if path.suffix.lower() == ".ipynb" else text
    except ValueError as error:
        raise Unreadable(str(error)) from error
    if any("\ud800" <= letter <= "\udfff" for letter in source):  # half of a pair, which JSON can hold
        raise Unreadable("is not valid Unicode")
    if len(source) > _LONGEST:
        raise Unreadable(f"has {len(source):,} characters of code, expected at most {_LONGEST:,}")
    return source

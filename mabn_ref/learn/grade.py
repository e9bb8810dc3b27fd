"""Grade a folder of submissions: every exercise of every student, whatever is lying there, none lost."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, as_completed
from pathlib import Path
from typing import NamedTuple

from mabn_ref import storage
from mabn_ref.learn.exercise import Exercise, find
from mabn_ref.learn.folder import FILE
from mabn_ref.learn.judge import check_source

__all__ = [
    "Grade",
    "Unreadable",
    "as_csv",
    "grade",
    "grade_one",
    "hidden_seeds",
    "notebook_source",
    "source_of",
    "student_report",
    "students",
    "submitted",
    "write_csv",
    "write_reports",
]

_DEEPEST = 4
_LARGEST = 1_000_000
_MOST = 20_000


class Grade(NamedTuple):
    """What one student's file for one exercise is worth."""

    student: str
    exercise: str
    points: int
    of: int
    said: str
    """The first thing to be said, on one line; "" if all is right."""
    parts: tuple[tuple[str, bool, str], ...] = ()
    """Name, verdict and message of each part."""
    sentences: tuple[str, ...] = ()
    """What the recognised mistakes say."""


def hidden_seeds(seed: int, count: int) -> tuple[int, ...]:
    """Seed 0, which students may have tried, and `count` that follow from `seed` and that they cannot know.

    Examples
    --------
    >>> hidden_seeds(7, 1) == hidden_seeds(7, 1) != hidden_seeds(8, 1)
    True
    """
    return 0, *(zlib.crc32(f"{seed}-{k}".encode()) for k in range(count))


def grade(
    folder: Path,
    exercises: Sequence[Exercise],
    seeds: Sequence[int],
    executor: Executor,
    progress: Callable[[Grade], object] = lambda grade: None,
) -> list[Grade]:
    """Grade all students' files in a folder that holds a folder for each student.

    Files are checked by `executor`, all on the cases of the same `seeds`; if a worker dies, that file alone has no
    points. `progress` is called with each grade as it is there. Returns a grade for each student and exercise, by
    student, then in the order of the course.

    Raises
    ------
    ValueError
        If there are no students' folders.
    """
    grades: dict[tuple[str, str], Grade] = {}
    waiting: dict[Future[Grade], tuple[str, Exercise]] = {}
    everyone = [student.name for student in students(folder)]
    handed_in = {name: submitted(folder / name, exercises) for name in everyone}
    for exercise in exercises:  # exercise by exercise, whose cases are drawn once in each process
        for name in everyone:
            path = handed_in[name].get(exercise.name)
            if path is None:
                grades[name, exercise.name] = _no_points(name, exercise, "not handed in")
            else:
                waiting[executor.submit(grade_one, name, exercise.name, path, tuple(seeds))] = name, exercise
    for given in grades.values():
        progress(given)
    for future in as_completed(waiting):
        name, exercise = waiting[future]
        try:
            given = future.result()
        except Exception as error:
            given = _no_points(name, exercise, f"could not be checked: {type(error).__name__}: {error}")
        grades[name, exercise.name] = given
        progress(given)
    return [grades[name, exercise.name] for name in everyone for exercise in exercises]


def grade_one(student: str, name: str, path: Path, seeds: tuple[int, ...]) -> Grade:
    """Check one file. Runs in a worker process, and the file's code in one of its own below that."""
    exercise = find(name)
    try:
        source = source_of(path)
    except Unreadable as error:
        return _no_points(student, exercise, f"{path.name} {error}")
    report = check_source(exercise, source, filename=path.name, seeds=seeds)
    parts = tuple((part.name, part.ok, part.message) for part in report.parts)
    return Grade(student, name, report.points, len(parts), report.summary, parts, (*report.sentences, *report.notes))


def _no_points(student: str, exercise: Exercise, said: str) -> Grade:
    return Grade(student, exercise.name, 0, len(exercise.parts), said)


def as_csv(grades: Iterable[Grade]) -> str:
    """A table with a line for each student: points of each exercise, their sum, and the most there is.

    Examples
    --------
    >>> print(as_csv([Grade("ada", "01_moments", 2, 2, ""), Grade("ada", "02_bn_forward", 1, 2, "")]))
    student,01_moments,02_bn_forward,total,of
    ada,2,1,3,4
    <BLANKLINE>
    """
    by_student: dict[str, dict[str, Grade]] = {}
    for given in grades:
        by_student.setdefault(given.student, {})[given.exercise] = given
    names = list(dict.fromkeys(name for row in by_student.values() for name in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["student", *names, "total", "of"])
    for student, row in by_student.items():
        total, most = sum(g.points for g in row.values()), sum(g.of for g in row.values())
        writer.writerow([_cell(student), *(row[name].points for name in names), total, most])
    return text.getvalue()


def _cell(name: str) -> str:
    """A name that no spreadsheet takes for a formula, on one line."""
    name = " ".join(name.encode("utf-8", errors="replace").decode().split())
    return f"'{name}" if name.startswith(("=", "+", "-", "@")) else name


def write_csv(path: Path, grades: Iterable[Grade]) -> None:
    """Write the table."""
    storage.write(path, lambda file: file.write(as_csv(grades).encode()))


def student_report(grades: Sequence[Grade]) -> str:
    """What one student is told, as Markdown: no numbers of hidden cases in it."""
    total, most = sum(g.points for g in grades), sum(g.of for g in grades)
    lines = [f"# {_cell(grades[0].student)}: {total} of {most} points", ""]
    for given in grades:
        lines += [f"## {given.exercise}: {given.points} of {given.of}", ""]
        lines += [*(f"{sentence}\n" for sentence in given.sentences)]
        if not given.parts:
            lines += [f"{_code(given.said)}\n"]
        told = set()
        for name, ok, message in given.parts:
            again = "" if message in told or ok else f": {_code(message)}"
            told.add(message)
            lines.append(f"- {name}: {'right' if ok else 'wrong'}{again}")
        lines.append("")
    return "\n".join(lines)


def _code(text: str) -> str:
    """Text that may hold anything, as code."""
    return "`" + " ".join(text.replace("`", "'").split()) + "`"


def write_reports(folder: Path, grades: Sequence[Grade]) -> None:
    """Write a file for each student."""
    for student in dict.fromkeys(given.student for given in grades):
        text = student_report([given for given in grades if given.student == student])
        path = folder / f"{student.encode('utf-8', errors='replace').decode().replace(os.sep, '_')}.md"
        storage.write(path, lambda file, text=text: file.write(text.encode()))  # type: ignore[misc]


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

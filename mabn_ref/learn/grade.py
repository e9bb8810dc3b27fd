"""Grade a folder of submissions: every exercise of every student, side by side, none lost."""

from __future__ import annotations

import csv
import io
import os
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, Future, as_completed
from pathlib import Path
from typing import NamedTuple

from mabn_ref.learn.exercise import Exercise, find
from mabn_ref.learn.judge import check_source
from mabn_ref.learn.session import summary
from mabn_ref.learn.submissions import Unreadable, source_of, students, submitted
from mabn_ref.train import atomic

__all__ = ["Grade", "as_csv", "grade", "grade_one", "hidden_seeds", "student_report", "write_csv", "write_reports"]


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
    """Grade all students' files.

    Parameters
    ----------
    folder : Path
        With a folder for each student.
    exercises : sequence of Exercise
    seeds : sequence of int
        Of the cases, the same for all.
    executor : Executor
        Where files are checked; if one of its workers dies, that file alone has no points.
    progress : callable
        Called with each grade as it is there.

    Returns
    -------
    list of Grade
        One for each student and exercise, by student, then in the order of the course.

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
                grades[name, exercise.name] = _none(name, exercise, "not handed in")
            else:
                waiting[executor.submit(grade_one, name, exercise.name, path, tuple(seeds))] = name, exercise
    for given in grades.values():
        progress(given)
    for future in as_completed(waiting):
        name, exercise = waiting[future]
        try:
            given = future.result()
        except Exception as error:
            given = _none(name, exercise, f"could not be checked: {type(error).__name__}: {error}")
        grades[name, exercise.name] = given
        progress(given)
    return [grades[name, exercise.name] for name in everyone for exercise in exercises]


def grade_one(student: str, name: str, path: Path, seeds: tuple[int, ...]) -> Grade:
    """Check one file. Runs in a worker process, and the file's code in one of its own below that."""
    exercise = find(name)
    try:
        source = source_of(path)
    except Unreadable as error:
        return _none(student, exercise, f"{path.name} {error}")
    report = check_source(exercise, source, filename=path.name, seeds=seeds)
    parts = tuple((part.name, part.ok, part.message) for part in report.parts)
    return Grade(student, name, report.points, len(parts), summary(report), parts, (*report.sentences, *report.notes))


def _none(student: str, exercise: Exercise, said: str) -> Grade:
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
    atomic.write(path, lambda file: file.write(as_csv(grades).encode()))


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
        atomic.write(path, lambda file, text=text: file.write(text.encode()))  # type: ignore[misc]

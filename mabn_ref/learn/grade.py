"""Grade a folder of submissions: every exercise of every student, whatever is lying there, none lost."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import stat
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, as_completed
from pathlib import Path
from typing import NamedTuple

from mabn_ref import storage
from mabn_ref.learn.exercise import Exercise, find
from mabn_ref.learn.folder import FILE
from mabn_ref.learn.judge import check_source

_DEEPEST = 4
_LARGEST = 1_000_000
_LONGEST = 200_000
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
    killed: bool = False
    """Whether something else than a limit ended the file's process: it is run again, alone."""


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
    sandbox: Sequence[str] = (),
) -> list[Grade]:
    """Grade all students' files in a folder that holds a folder for each student.

    All files are read before the first one runs. They are checked by `executor`, in `sandbox`, all on the cases of
    the same `seeds`; what is killed, by a machine short of memory or by another file, is run again alone at the end.
    `progress` is called with each grade as it is there. Returns a grade for each student and exercise, by student,
    then in the order of the course.

    Raises
    ------
    ValueError
        If there are no students' folders.
    """
    grades: dict[tuple[str, str], Grade] = {}
    sources: dict[tuple[str, str], tuple[str, str]] = {}
    everyone = [student.name for student in students(folder)]
    for name in everyone:
        handed_in = submitted(folder / name, exercises)
        for exercise in exercises:
            path, key = handed_in.get(exercise.name), (name, exercise.name)
            if path is None:
                grades[key] = _no_points(name, exercise, "not handed in")
                continue
            try:
                sources[key] = path.name, source_of(path)
            except Unreadable as error:
                grades[key] = _no_points(name, exercise, f"{path.name} {error}")
    for given in grades.values():
        progress(given)

    def submit(key: tuple[str, str]) -> Future[Grade]:
        return executor.submit(grade_one, *key, *sources[key], tuple(seeds), tuple(sandbox))

    # exercise by exercise, whose cases are drawn once in each process
    in_turn = [(name, exercise.name) for exercise in exercises for name in everyone]
    waiting = {submit(key): key for key in in_turn if key in sources}
    for future in as_completed(waiting):
        given = _grade_of(future, *waiting[future])
        grades[given.student, given.exercise] = given
        if not given.killed:
            progress(given)
    for key in [key for key, given in grades.items() if given.killed]:
        grades[key] = _grade_of(submit(key), *key)
        progress(grades[key])
    return [grades[name, exercise.name] for name in everyone for exercise in exercises]


def _grade_of(future: Future[Grade], student: str, name: str) -> Grade:
    """What a task came to; one that was lost with its worker was killed."""
    try:
        return future.result()
    except Exception as error:
        said = f"could not be checked: {type(error).__name__}: {error}"
        return _no_points(student, find(name), said)._replace(killed=True)


def grade_one(
    student: str, name: str, filename: str, source: str, seeds: tuple[int, ...], sandbox: tuple[str, ...] = ()
) -> Grade:
    """Check one file. Runs in a worker process, and the file's code in one of its own below that."""
    report = check_source(find(name), source, filename=filename, seeds=seeds, sandbox=sandbox)
    parts = tuple((part.name, part.ok, part.message) for part in report.parts)
    sentences = (*report.sentences, *report.notes)
    killed = any(error.kind == "killed" for error in report.errors)
    return Grade(student, name, report.points, len(parts), report.summary, parts, sentences, killed)


def _no_points(student: str, exercise: Exercise, said: str) -> Grade:
    return Grade(student, exercise.name, 0, len(exercise.parts), said)


def as_csv(grades: Iterable[Grade]) -> str:
    """A table with a line for each student: points of each exercise, their sum, and the most there is.

    Examples
    --------
    >>> print(as_csv([Grade("ada", "01_moments", 2, 2, ""), Grade("ada", "02_bn_forward", 1, 2, "")]))
    "student","01_moments","02_bn_forward","total","of"
    "ada",2,1,3,4
    <BLANKLINE>
    """
    by_student: dict[str, dict[str, Grade]] = {}
    for given in grades:
        by_student.setdefault(given.student, {})[given.exercise] = given
    names = list(dict.fromkeys(name for row in by_student.values() for name in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(["student", *names, "total", "of"])
    for student, row in by_student.items():
        total, most = sum(g.points for g in row.values()), sum(g.of for g in row.values())
        writer.writerow([_cell(student), *(row[name].points if name in row else "" for name in names), total, most])
    return text.getvalue()


def shown(name: str) -> str:
    """A name as one line of what can be printed, no two names alike: all else is written as its escape.

    Examples
    --------
    >>> print(shown("Zoë\\n\\x1b[2J"), shown("a  b"))
    Zoë\\n\\x1b[2J a  b
    """
    return "".join(letter if letter.isprintable() and letter != "\\" else ascii(letter)[1:-1] for letter in name)


def _cell(name: str) -> str:
    """A name that no spreadsheet takes for a formula."""
    name = shown(name)
    first = unicodedata.normalize("NFKC", name.lstrip())[:1]  # full-width signs count as signs
    return f"'{name}" if first in tuple("=+-@'") else name


def write_csv(path: Path, grades: Iterable[Grade]) -> None:
    """Write the table."""
    storage.write(path, lambda file: file.write(as_csv(grades).encode()))


def student_report(grades: Sequence[Grade]) -> str:
    """What one student is told, as Markdown: no numbers of hidden cases in it."""
    total, most = sum(g.points for g in grades), sum(g.of for g in grades)
    lines = [f"# {_code(shown(grades[0].student))}: {total} of {most} points", ""]
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
    return "`" + shown(" ".join(text.replace("`", "'").split())) + "`"


def write_reports(folder: Path, grades: Sequence[Grade], about: str = "") -> list[OSError]:
    """Write a file for each student, `about` at its end; return why some of them could not be written."""
    failed = []
    for student in dict.fromkeys(given.student for given in grades):
        text = student_report([given for given in grades if given.student == student]) + about
        try:
            storage.write(folder / report_name(student), lambda file, text=text: file.write(text.encode()))  # type: ignore[misc]
        except OSError as error:
            failed.append(error)
    return failed


def report_name(student: str) -> str:
    """The name of a student's report: their own where a file can have it, else one with a digest in it.

    Examples
    --------
    >>> report_name("ada"), report_name("a/b")
    ('ada.md', 'a_b-c14cddc033f64b9d.md')
    """
    name = "".join(letter if letter.isalnum() or letter in " -_." else "_" for letter in student)
    if name == student and len(name.encode()) <= 200:
        return f"{name}.md"
    digest = hashlib.sha256(student.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return f"{name[:40]}-{digest}.md"


class Unreadable(ValueError):
    """A submitted file cannot be used; the message says why."""


def students(folder: Path) -> list[Path]:
    """The students' folders in a folder of submissions, by name.

    Raises
    ------
    ValueError
        If there are none.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder")
    found = [path for path in folder.iterdir() if path.is_dir() and not _left_out(path)]
    if not found:
        raise ValueError(f"{folder} holds no folders, expected one for each student")
    return sorted(found)


def left_out(folder: Path) -> list[tuple[str, str]]:
    """What is in a folder of submissions and is not graded, each with the reason."""
    found = [(path.name, _left_out(path) or ("" if path.is_dir() else "not a folder")) for path in folder.iterdir()]
    return sorted((name, reason) for name, reason in found if reason)


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

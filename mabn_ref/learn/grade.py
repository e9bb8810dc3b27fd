"""Grade a folder of submissions: every exercise of every student, whatever the folder holds."""

from __future__ import annotations

import hashlib
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, as_completed
from pathlib import Path

import mabn_ref
from mabn_ref.learn.exercise import Exercise, find
from mabn_ref.learn.gradebook import write_csv
from mabn_ref.learn.judges import Grade, Judges, grade_one
from mabn_ref.learn.submissions import Unreadable, source_of, students, submitted

NOT_HANDED_IN = "not handed in"


def hidden_seeds(seed: int, count: int) -> tuple[int, ...]:
    """Seed 0, which students may have tried, and `count` more, derived from `seed`, that they cannot know.

    Examples
    --------
    >>> hidden_seeds(7, 1) == hidden_seeds(7, 1) != hidden_seeds(8, 1)
    True
    """
    return 0, *(zlib.crc32(f"{seed}-{k}".encode()) for k in range(count))


def grade_class(
    folder: Path,
    exercises: Sequence[Exercise],
    seeds: Sequence[int],
    jobs: int,
    sandbox: Sequence[str],
    table: Path | None = None,
    progress: Callable[[Grade], object] = lambda grade: None,
) -> list[Grade]:
    """Grade a folder in `jobs` processes, as `grade` does it, and write the `table` as it grows.

    Raises
    ------
    OSError
        If the table cannot be written, before anything is graded; or if the files of this package have changed
        meanwhile, which makes the grades void.
    """
    before, there, due = package_digest(), list[Grade](), 0.0
    if table:
        write_csv(table, [])

    def keep(given: Grade) -> None:
        """Write the table often enough to lose little if this process ends, and seldom enough to cost little time."""
        nonlocal due
        progress(given)
        there.append(given)
        started = time.monotonic()
        if table and started >= due:
            write_csv(table, there)
            due = started + 20 * (time.monotonic() - started)

    try:
        with Judges(jobs) as judges:
            grades = grade(folder, exercises, seeds, judges.threads, keep, sandbox, judges.grade_one)
    except BaseException:
        if table:
            write_csv(table, there)
        raise
    if package_digest() != before:
        raise OSError("the files of mabn_ref changed while submissions ran: reinstall it; these grades are void")
    if table:
        write_csv(table, grades)
    return grades


def package_digest() -> str:
    """A digest of the package's files, which judge and hold the solutions."""
    digest = hashlib.sha256()
    for path in sorted(Path(mabn_ref.__file__).parent.rglob("*")):
        if path.suffix in (".py", ".toml", ".md"):
            digest.update(f"{path}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def grade(
    folder: Path,
    exercises: Sequence[Exercise],
    seeds: Sequence[int],
    executor: Executor,
    progress: Callable[[Grade], object] = lambda grade: None,
    sandbox: Sequence[str] = (),
    one: Callable[..., Grade] = grade_one,
) -> list[Grade]:
    """Grade all students' files in a folder that holds a folder for each student.

    All files are read before the first one runs. They are checked by `one` in `executor`, in `sandbox`, all on the
    cases of the same `seeds`. A file that is killed, because memory is short or by another file, or that runs out of
    time beside the others, is run again alone at the end. `progress` is called with each grade once it is known.
    Returns a grade for each student and exercise, by student, then in the order of the course.

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
                grades[key] = _no_points(name, exercise, NOT_HANDED_IN)
                continue
            try:
                sources[key] = path.name, source_of(path, exercise)
            except Unreadable as error:
                grades[key] = _no_points(name, exercise, f"{path.name} {error}")
    for given in grades.values():
        progress(given)

    def submit(key: tuple[str, str], timeouts: int) -> Future[Grade]:
        return executor.submit(one, *key, *sources[key], tuple(seeds), tuple(sandbox), timeouts)

    # exercise by exercise, whose cases are drawn once in each process
    in_turn = [(name, exercise.name) for exercise in exercises for name in everyone]
    # what runs out of time is run again, so one timeout is enough here
    waiting = {submit(key, 1): key for key in in_turn if key in sources}
    for future in as_completed(waiting):
        given = _grade_of(future, *waiting[future])
        grades[given.student, given.exercise] = given
        if not given.again:
            progress(given)
    for key in [key for key, given in grades.items() if given.again]:
        grades[key] = _grade_of(submit(key, 2), *key)
        progress(grades[key])
    return [grades[name, exercise.name] for name in everyone for exercise in exercises]


def _grade_of(future: Future[Grade], student: str, name: str) -> Grade:
    """The grade from a task; a task that was lost with its worker counts as killed."""
    try:
        return future.result()
    except Exception as error:
        said = f"could not be checked: {type(error).__name__}: {error}"
        return _no_points(student, find(name), said)._replace(again=True)


def _no_points(student: str, exercise: Exercise, said: str) -> Grade:
    return Grade(student, exercise.name, 0, len(exercise.parts), said)

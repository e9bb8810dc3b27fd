"""A learner's working folder: a file and a statement for each exercise, and what has passed so far."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

from mabn_ref import storage
from mabn_ref.learn.exercise import Exercise, course

FILE = "exercise.py"
"""The name of the file that a student works on."""
STATE = ".mabn-learn.json"
_LARGEST = 2**16
"""The most bytes of that file: enough for some hundreds of exercises."""
_README = """\
# Exercises

Each folder holds a statement, `statement.md`, and the file to work on, `exercise.py`. In this folder,

    mabn-ref learn watch

checks the current exercise every time you save it. Each file stands alone: copy into it what you need from another.
Let a function return None where a result is still missing, so that the others are judged. Without `watch`,

    mabn-ref learn show [NAME]     the statement, its formulas readable in a terminal
    mabn-ref learn edit [NAME]     open exercise.py in your editor ($VISUAL or $EDITOR)
    mabn-ref learn check [NAME]    check the exercise; --all for all
    mabn-ref learn hint [NAME]     the next of three hints; --all for those taken so far
    mabn-ref learn status          what is done
    mabn-ref learn solution NAME   the model solution, once yours passes
    mabn-ref learn reset NAME      start over; your file is kept as exercise.py.old

Without NAME each means the exercise whose folder you are in; from this folder, the one that you checked last or, once
that has passed, the first open one.
"""


@dataclass(frozen=True)
class Progress:
    """A learner's progress."""

    passed: frozenset[str] = frozenset()  #: names of the exercises that have passed
    hints: dict[str, int] = field(default_factory=dict)  #: how many hints of each have been taken
    current: str = ""  #: the exercise that commands without a name mean


@dataclass(frozen=True)
class Folder:
    """A working folder and its exercises."""

    path: Path
    exercises: tuple[Exercise, ...] = field(default_factory=course)

    @classmethod
    def find(cls, start: Path) -> Folder:
        """Find the working folder that is `start` or contains it.

        Raises
        ------
        FileNotFoundError
            If there is none.
        """
        for path in (start.resolve(), *start.resolve().parents):
            if (path / STATE).is_file():
                return cls(path)
        raise FileNotFoundError(f"{start.resolve()} is in no folder of exercises; mabn-ref learn DIR makes one")

    def make(self) -> list[str]:
        """Write what is missing, touching no file that is there; return the names of the exercises that are new.

        Raises
        ------
        ValueError
            If the path or one of its parents is a file, or if a parent is already a working folder.

        Examples
        --------
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as path:
        ...     folder = Folder(Path(path), course()[:2])
        ...     print(folder.make(), folder.make())
        ['01_moments', '02_bn_forward'] []
        """
        for path in (self.path, *self.path.parents):
            if path.exists() and not path.is_dir():
                raise ValueError(f"{path} is a file, expected a folder or the name of a new one")
        for path in self.path.resolve().parents:
            if (path / STATE).is_file():
                raise ValueError(f"{path} is a folder of exercises; mabn-ref learn start {path} adds what it lacks")
        new = []
        for exercise in self.exercises:
            path = self.path / exercise.name
            if not (path / FILE).exists():
                storage.write(path / FILE, exercise.skeleton.encode())
                new.append(exercise.name)
            if not (path / "statement.md").exists():
                storage.write(path / "statement.md", exercise.statement.encode())
        if not (self.path / "README.md").exists():
            storage.write(self.path / "README.md", _README.encode())
        if not (self.path / STATE).exists():
            self.save(Progress())
        return new

    def file(self, exercise: Exercise) -> Path:
        """The student's file."""
        return self.path / exercise.name / FILE

    def reset(self, exercise: Exercise) -> Path | None:
        """Put the skeleton back; return where the student's file is kept, or None if nothing was in it.

        A file equal to the skeleton is not kept. A folder in its place is.
        """
        path = self.file(exercise)
        old = None
        if path.is_dir() or (path.exists() and path.read_bytes() != exercise.skeleton.encode()):
            old = storage.put_aside(path)
        storage.write(path, exercise.skeleton.encode())
        progress = self.load()
        self.save(replace(progress, passed=progress.passed - {exercise.name}))
        return old

    def load(self) -> Progress:
        """Read the progress; a damaged file counts as no progress."""
        try:
            with (self.path / STATE).open("rb") as file:
                data = storage.as_json(file.read(_LARGEST))
            passed, hints, current = data["passed"], data["hints"], data["current"]
            words = type(passed) is list and all(type(name) is str for name in [*passed, current])
            if words and all(type(count) is int and count >= 0 for count in hints.values()):
                return Progress(frozenset(passed), hints, current)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
        return Progress()

    def save(self, progress: Progress) -> None:
        """Write the progress."""
        data = {"passed": sorted(progress.passed), "hints": progress.hints, "current": progress.current}
        storage.write(self.path / STATE, f"{json.dumps(data, indent=1)}\n".encode())

    def around(self, start: Path) -> Exercise | None:
        """The exercise whose folder is `start` or contains it."""
        inside = start.resolve().relative_to(self.path.resolve()).parts[:1]
        return next((exercise for exercise in self.exercises if inside == (exercise.name,)), None)

    def chosen(self) -> Exercise:
        """The exercise last worked on; at first, exercise 1."""
        progress = self.load()
        return next((e for e in self.exercises if e.name == progress.current), self.exercises[0])

    def current(self) -> Exercise:
        """The exercise to work on: the one last worked on or, if it has passed, the first open one."""
        exercise = self.chosen()
        return (self.following(exercise) or exercise) if exercise.name in self.load().passed else exercise

    def choose(self, exercise: Exercise) -> None:
        """Make an exercise the one that commands without a name mean."""
        progress = self.load()
        if progress.current != exercise.name:
            self.save(replace(progress, current=exercise.name))

    def following(self, exercise: Exercise) -> Exercise | None:
        """The exercise to go to next: the first open one if this one has passed, else the next open one after it.

        None if all others have passed.
        """
        passed, order = self.load().passed, self.exercises
        if exercise.name not in passed:
            place = order.index(exercise)
            order = order[place + 1 :] + order[:place]
        return next((other for other in order if other.name not in passed), None)

"""What an exercise is, and how it is read from its folder in `course/`."""

from __future__ import annotations

import difflib
import functools
import importlib.util
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

__all__ = ["COURSE", "Check", "Exercise", "KnownMistake", "course", "find", "run_source"]

COURSE = Path(__file__).parent / "course"


@dataclass(frozen=True)
class Check:
    """One look at the student's functions.

    Attributes
    ----------
    observe : callable
        ``observe(code, case) -> {part: value}``: calls functions of `code` on a case and names what they return.
    parts : mapping of str to callable
        For each part a judge, ``judge(value, case) -> message``: what is wrong with the value, or None. It is asked
        only once the value has the form (tuples, shapes, dtypes) that the solution's has.
    """

    observe: Callable[[Any, Any], dict[str, Any]]
    parts: Mapping[str, Callable[[Any, Any], str | None]]


@dataclass(frozen=True, kw_only=True)
class KnownMistake:
    """A mistake that an exercise recognises by its numbers.

    Attributes
    ----------
    name : str
        Unique within the exercise.
    edits : mapping of str to str
        Pieces of the solution, each occurring once in it, and what stands there instead. Two mistakes whose edits
        do not overlap are recognised together, too.
    sentence : str
        For the student. Empty: that of the catalogue entry `of`.
    of : str
        The entry of `mabn_ref.mistakes` that this is, if it is one.
    """

    name: str
    edits: Mapping[str, str]
    sentence: str = ""
    of: str = ""

    @property
    def said(self) -> str:
        """The sentence that the student is told."""
        if self.sentence:
            return self.sentence
        from mabn_ref.mistakes import named

        return named(self.of).sentence


@dataclass(frozen=True, eq=False)
class Exercise:
    """An exercise, as its folder holds it."""

    name: str
    """The folder's name, such as "02_bn_forward"."""
    statement: str
    skeleton: str
    solution: str
    hints: tuple[str, ...]
    checks: ModuleType = field(repr=False)
    """``draw(rng, k) -> case``, ``CHECKS``, and where it differs from 6 and 5, ``CASES`` and ``SECONDS``."""
    mistakes: tuple[KnownMistake, ...] = field(repr=False)

    @property
    def number(self) -> int:
        """Its place in the course."""
        return int(self.name.partition("_")[0])

    @property
    def title(self) -> str:
        """The first line of the statement."""
        return self.statement.partition("\n")[0].lstrip("# ").strip()

    @property
    def equations(self) -> tuple[str, ...]:
        """Labels of the equations that it is about, from a line of the statement."""
        return tuple(re.findall(r"`([a-z0-9-]+)`", _line(self.statement, "Equation")))

    @property
    def tutorials(self) -> tuple[int, ...]:
        """Numbers of the tutorials that explain it, from a line of the statement."""
        return tuple(map(int, re.findall(r"\d+", _line(self.statement, "Tutorial"))))

    @property
    def parts(self) -> tuple[str, ...]:
        """What is judged separately, a point each."""
        return tuple(part for check in self.checks.CHECKS for part in check.parts)

    @property
    def cases(self) -> int:
        """How many random cases a check draws."""
        return int(getattr(self.checks, "CASES", 6))

    @property
    def seconds(self) -> float:
        """Time limit of the student's code."""
        return float(getattr(self.checks, "SECONDS", 5))

    def draw(self, seed: int, count: int) -> list[Any]:
        """Random cases, the same for the same seed.

        A case is whatever ``draw(rng, k)`` of the exercise's checks makes for k from 0 to `count` - 1.
        """
        return [self.checks.draw(np.random.default_rng([self.number, seed, k]), k) for k in range(count)]

    def with_mistakes(self, *mistakes: KnownMistake) -> str | None:
        """The solution's source with these mistakes in it; None where their edits are in each other's way.

        Raises
        ------
        ValueError
            If a piece that is to be edited does not occur exactly once in the solution.
        """
        source = self.solution
        for k, mistake in enumerate(mistakes):
            for old, new in mistake.edits.items():
                if source.count(old) != 1:
                    if k == 0:
                        raise ValueError(
                            f"{self.name}: the mistake {mistake.name} edits {old!r}, which occurs "
                            f"{source.count(old)} times in solution.py, expected once"
                        )
                    return None
                source = source.replace(old, new)
        return source


def _line(statement: str, title: str) -> str:
    found = re.search(rf"^{title}s?: (.*)$", statement, re.MULTILINE)
    return found.group(1) if found else ""


def run_source(source: str, name: str) -> SimpleNamespace:
    """Execute source of the course itself, never of a student, and return what it defines."""
    module = ModuleType(name)
    sys.modules[name] = module  # typing looks the module of a NamedTuple up
    exec(compile(source, name, "exec", dont_inherit=True), vars(module))
    return SimpleNamespace(**vars(module))


def course(folder: Path = COURSE) -> tuple[Exercise, ...]:
    """All exercises of a course, in order.

    Parameters
    ----------
    folder : Path
        A folder of exercises; by default the course that comes with the package.

    Examples
    --------
    >>> course()[0].name
    '01_moments'
    """
    return _course(folder)


@functools.cache
def _course(folder: Path) -> tuple[Exercise, ...]:
    return tuple(_read(path) for path in sorted(folder.glob("[0-9][0-9]_*")) if path.is_dir())


def find(name: str, exercises: Sequence[Exercise] | None = None) -> Exercise:
    """Look an exercise up by name, by number, or by the name without its number.

    Parameters
    ----------
    name : str
    exercises : sequence of Exercise, optional
        Those to look among; by default all of the course.

    Raises
    ------
    ValueError
        If there is none; the message names those that it may be.

    Examples
    --------
    >>> find("2").name, find("bn_forward").name, find("02_bn_forward/").name
    ('02_bn_forward', '02_bn_forward', '02_bn_forward')
    """
    exercises = course() if exercises is None else exercises
    plain = name.rstrip("/\\")  # a shell that completes the name of a folder puts a slash after it
    for exercise in exercises:
        if plain in (exercise.name, str(exercise.number), exercise.name[:2], exercise.name[3:]):
            return exercise
    raise ValueError(
        f"there is no exercise {name!r}; {_meant(plain.lower(), [exercise.name for exercise in exercises])}"
    )


def _meant(name: str, known: list[str]) -> str:
    """What to say of a name that is none: those that it may be or, if it is like none, the first and the last."""
    full = {part: whole for whole in known for part in (whole, whole[3:])}
    like = [full[part] for part in difflib.get_close_matches(name, full)] or [w for w in known if name in w]
    if like:
        return f"did you mean {' or '.join(list(dict.fromkeys(like))[:3])}?"
    return f"there are {len(known)}, from {known[0]} to {known[-1]}"


def _read(path: Path) -> Exercise:
    texts = {name: (path / name).read_text(encoding="utf-8") for name in _TEXTS}
    hints = re.split(r"^## .*\n", texts["hints.md"], flags=re.MULTILINE)[1:]
    return Exercise(
        name=path.name,
        statement=texts["statement.md"],
        skeleton=texts["skeleton.py"],
        solution=texts["solution.py"],
        hints=tuple(hint.strip() for hint in hints),
        checks=_module(path / "checks.py"),
        mistakes=tuple(_module(path / "mistakes.py").MISTAKES),
    )


_TEXTS = ("statement.md", "skeleton.py", "solution.py", "hints.md")


def _module(path: Path) -> ModuleType:
    """Import a file of the course, whose folder is named after its place and so is no package."""
    spec = importlib.util.spec_from_file_location(f"mabn_ref.learn.course.{path.parent.name}.{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

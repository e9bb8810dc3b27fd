"""What an exercise is, and how it is read from its folder in `course/`."""

from __future__ import annotations

import difflib
import functools
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

COURSE = Path(__file__).parent / "course"


@dataclass(frozen=True)
class Mistake:
    """A mistake that an exercise recognises by its numbers."""

    #: pieces of the solution, each occurring once in it, and what replaces them. Two mistakes whose edits do not
    #: overlap are also recognised together.
    edits: Mapping[str, str]
    says: str = ""  #: a sentence for the student; "" for the sentence of the catalogue entry `of`
    of: str = ""  #: the entry of `mabn_ref.mistakes` that this is, if it is one

    @property
    def sentence(self) -> str:
        """What the student is told."""
        if self.says:
            return self.says
        from mabn_ref.mistakes import named  # imported only if one of its mistakes was made

        return named(self.of).sentence


@dataclass(frozen=True, eq=False)
class Exercise:
    """An exercise, as read from its folder."""

    name: str  #: the folder's name, such as "02_bn_forward"
    statement: str
    hints: tuple[str, ...]
    skeleton: str  #: the student's file as it is at the beginning
    solution: str
    checks_file: Path = field(repr=False)
    mistakes: Mapping[str, Mistake] = field(repr=False)  #: those that it recognises, by name

    @functools.cached_property
    def checks(self) -> SimpleNamespace:
        """``draw(rng, k) -> case``, ``CHECKS`` and, if not 6 and 5, ``CASES`` and ``SECONDS``.

        The file runs on first use: most exercises of a course are never asked for theirs.
        """
        return run_source(self.checks_file.read_text("utf-8"), str(self.checks_file))

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
        """Labels of its equations, from a line of the statement."""
        return tuple(re.findall(r"`([a-z0-9-]+)`", self._line("Equation")))

    @property
    def tutorials(self) -> tuple[int, ...]:
        """Numbers of the tutorials that explain it, from a line of the statement."""
        return tuple(map(int, re.findall(r"\d+", self._line("Tutorial"))))

    @property
    def example(self) -> str:
        """Its worked example, calls and what they print; "" if it has none."""
        found = re.search(r"^```pycon\n(.*?)^```$", self.statement, re.MULTILINE | re.DOTALL)
        return found.group(1) if found else ""

    def _line(self, title: str) -> str:
        found = re.search(rf"^{title}s?: (.*)$", self.statement, re.MULTILINE)
        return found.group(1) if found else ""

    @property
    def asked(self) -> tuple[str, ...]:
        """The functions and classes of a student's file."""
        return tuple(re.findall(r"^(?:def|class) (\w+)", self.skeleton, re.MULTILINE))

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of what is judged separately, for a point each."""
        return tuple(part for check in self.checks.CHECKS for part in check.parts)

    @property
    def cases(self) -> int:
        """How many random cases a check draws."""
        return int(getattr(self.checks, "CASES", 6))

    @property
    def seconds(self) -> float:
        """Time limit of the student's code, on the cases of one seed."""
        return float(getattr(self.checks, "SECONDS", 5))

    def draw(self, seed: int, count: int) -> list[Any]:
        """Random cases, the same for the same seed: what ``draw(rng, k)`` of its checks makes for k from 0 on."""
        return [self.checks.draw(np.random.default_rng([self.number, seed, k]), k) for k in range(count)]

    def with_mistakes(self, *names: str) -> str | None:
        """The solution's source with these mistakes in it; None if their edits conflict.

        Raises
        ------
        ValueError
            If a piece to edit does not occur exactly once in the solution.
        """
        source = self.solution
        edited = [old for name in names for old in self.mistakes[name].edits]
        if len(set(edited)) < len(edited):  # the second might match part of what the first has written
            return None
        for name in names:
            for old, new in self.mistakes[name].edits.items():
                if source.count(old) != 1:
                    if name == names[0]:
                        raise ValueError(
                            f"{self.name}: the mistake {name} edits {old!r}, which occurs "
                            f"{source.count(old)} times in solution.py, expected once"
                        )
                    return None
                source = source.replace(old, new)
        return source


def run_source(source: str, name: str) -> SimpleNamespace:
    """Execute source of the course itself, never a student's, and return what it defines.

    Raises
    ------
    ValueError
        If it cannot be executed; the message has Python's error and the line.
    """
    module = ModuleType(name)
    sys.modules[name] = module  # typing looks the module of a NamedTuple up
    try:
        exec(compile(source, name, "exec", dont_inherit=True), vars(module))
    except SyntaxError as error:
        raise ValueError(f"{name}: {error.msg}: {(error.text or '').strip()}") from error
    except Exception as error:
        raise ValueError(f"{name}: {type(error).__name__}: {error}") from error
    return SimpleNamespace(**vars(module))


@functools.cache
def course(folder: Path = COURSE) -> tuple[Exercise, ...]:
    """All exercises in a folder, in order; by default those of the course that comes with the package.

    Examples
    --------
    >>> course()[0].name
    '01_moments'
    """
    return tuple(_read(path) for path in sorted(folder.glob("[0-9][0-9]_*")) if path.is_dir())


def _read(path: Path) -> Exercise:
    statement, *hints = re.split(r"^## Hint \d\n", (path / "statement.md").read_text("utf-8"), flags=re.MULTILINE)
    marked = (path / "solution.py").read_text("utf-8")
    return Exercise(
        name=path.name,
        statement=f"{statement.rstrip()}\n",
        hints=tuple(hint.strip() for hint in hints),
        skeleton=_skeleton(marked),
        solution=_solution(marked),
        checks_file=path / "checks.py",
        mistakes=_mistakes(path / "mistakes.toml"),
    )


def _skeleton(marked: str) -> str:
    """The skeleton that students get, from a solution with marks in it.

    From an indented ``# TODO`` to the end of its function everything is left to the student; ``# BUG: code`` replaces
    the next line; a ``# TODO`` at the margin appears only in the skeleton.

    Examples
    --------
    >>> print(_skeleton("def half(x):\\n    # TODO: one line\\n    return x / 2\\n"), end="")
    def half(x):
        # TODO: one line
        raise NotImplementedError
    >>> print(_skeleton("# TODO: fix it\\n\\n# BUG: x = 1\\nx = 2\\n"), end="")
    # TODO: fix it
    <BLANKLINE>
    x = 1
    """
    bugs_put_in = re.sub(r"^( *)# BUG: (.*)\n.*\n", r"\1\2\n", marked, flags=re.MULTILINE)
    return re.sub(
        r"^( +)(# TODO.*\n)(?:\1.*\n|\n(?=\1))+",  # the lines of the function, blank ones among them included
        r"\1\2\1raise NotImplementedError\n",
        bugs_put_in,
        flags=re.MULTILINE,
    )


def _solution(marked: str) -> str:
    """A solution without its marks."""
    return re.sub(r"^# TODO.*\n\n| +# (?:TODO|BUG).*\n", "", marked, flags=re.MULTILINE)


def _mistakes(path: Path) -> dict[str, Mistake]:
    """Read a table of mistakes, which may use the names that ``[pieces]`` gives to pieces of the solution."""
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: {error}") from error
    pieces = tables.pop("pieces", {})
    return {
        name: Mistake(
            edits={pieces.get(old, old): new for old, new in table.items() if old not in ("says", "of")},
            says=table.get("says", ""),
            of=table.get("of", ""),
        )
        for name, table in tables.items()
    }


def find(name: str, exercises: Sequence[Exercise] | None = None) -> Exercise:
    """Find an exercise, by default in the course, by its name with or without the number, its number, or its file.

    Raises
    ------
    ValueError
        If there is none; the message suggests similar names.

    Examples
    --------
    >>> find("2").name, find("bn_forward").name, find("02_bn_forward/").name
    ('02_bn_forward', '02_bn_forward', '02_bn_forward')
    >>> find("./02_bn_forward/exercise.py").name
    '02_bn_forward'
    """
    exercises = course() if exercises is None else exercises
    # A shell completes the name of a folder, with a slash after it, and then that of the file in it.
    plain = name.replace("\\", "/").rstrip("/").removeprefix("./").removesuffix("/exercise.py")
    for exercise in exercises:
        if plain in (exercise.name, str(exercise.number), exercise.name[:2], exercise.name[3:]):
            return exercise
    raise ValueError(f"there is no exercise {name!r}; {_nearest(plain.lower(), [e.name for e in exercises])}")


def _nearest(name: str, known: list[str]) -> str:
    """What to say about an unknown name: similar names or, if there are none, the first and the last."""
    full = {part: whole for whole in known for part in (whole, whole[3:])}
    like = [full[part] for part in difflib.get_close_matches(name, full)] or [w for w in known if name in w]
    if like:
        return f"did you mean {' or '.join(list(dict.fromkeys(like))[:3])}?"
    return f"there are {len(known)}, from {known[0]} to {known[-1]}"

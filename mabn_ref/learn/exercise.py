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

    #: pieces of the solution, each occurring once in it, and what stands there instead. Two mistakes whose edits do
    #: not overlap are recognised together, too.
    edits: Mapping[str, str]
    says: str = ""  #: a sentence for the student. Empty: that of the catalogue entry `of`.
    of: str = ""  #: the entry of `mabn_ref.mistakes` that this is, if it is one

    @property
    def sentence(self) -> str:
        """What the student is told."""
        if self.says:
            return self.says
        from mabn_ref.mistakes import named  # read only where one of its mistakes was made

        return named(self.of).sentence


@dataclass(frozen=True, eq=False)
class Exercise:
    """An exercise, as its folder holds it."""

    name: str  #: the folder's name, such as "02_bn_forward"
    statement: str
    hints: tuple[str, ...]
    skeleton: str  #: the student's file as it is at the beginning
    solution: str
    checks_file: Path = field(repr=False)
    mistakes: Mapping[str, Mistake] = field(repr=False)  #: those that it recognises, by name

    @functools.cached_property
    def checks(self) -> SimpleNamespace:
        """``draw(rng, k) -> case``, ``CHECKS``, and where it differs from 6 and 5, ``CASES`` and ``SECONDS``.

        Run when it is first asked for: of a whole course, most are not.
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
        """Labels of the equations that it is about, from a line of the statement."""
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
        """What is judged separately, a point each."""
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
        """The solution's source with these mistakes in it; None where their edits are in each other's way.

        Raises
        ------
        ValueError
            If a piece that is to be edited does not occur exactly once in the solution.
        """
        source = self.solution
        edited = [old for name in names for old in self.mistakes[name].edits]
        if len(set(edited)) < len(edited):  # of what the first made of a piece, the second might find a part
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
    """Execute source of the course itself, never of a student, and return what it defines.

    Raises
    ------
    ValueError
        If it cannot be executed, with what Python says and the line.
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
    """All exercises of a folder of exercises, in order; by default of the course that comes with the package.

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
    """What is handed out of a solution with marks in it.

    From an indented ``# TODO`` to the end of its function all is left to the student; ``# BUG: code`` stands in place
    of the next line; a ``# TODO`` at the margin is for the student alone.

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
    """Read a table of mistakes, in which pieces of the solution may go by the names that ``[pieces]`` gives them."""
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
    """Look an exercise up by name, with its number or without, by number, or by its file; in the course by default.

    Raises
    ------
    ValueError
        If there is none; the message names those that it may be.

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
    """What to say of a name that is none: those that it may be or, if it is like none, the first and the last."""
    full = {part: whole for whole in known for part in (whole, whole[3:])}
    like = [full[part] for part in difflib.get_close_matches(name, full)] or [w for w in known if name in w]
    if like:
        return f"did you mean {' or '.join(list(dict.fromkeys(like))[:3])}?"
    return f"there are {len(known)}, from {known[0]} to {known[-1]}"

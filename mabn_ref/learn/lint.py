"""Check what every exercise of a course must have: for authors of exercises, and for the tests."""

from __future__ import annotations

import ast
import doctest
import functools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import mabn_ref
from mabn_ref.learn.exercise import COURSE, Exercise, course, run_source
from mabn_ref.learn.judge import check_code, check_source
from mabn_ref.learn.plain_text import as_text
from mabn_ref.learn.report import Report

_DERIVED = {"mabn-one-call", "mabn-adjoint"}
"""Equations that an exercise is about and that no code of the package computes."""
_ALLOWED = {"__future__", "collections", "dataclasses", "functools", "itertools", "math", "numpy", "typing"}


def lint_course(folder: Path = COURSE, seeds: Sequence[int] = (0, 1)) -> Iterator[str]:
    """Yield what is wrong with a folder of exercises, a line each, judged on the cases of these seeds."""
    exercises = course(folder)
    for what, values in (
        ("number", [exercise.name[:2] for exercise in exercises]),
        ("name", [exercise.name[3:] for exercise in exercises]),
        ("title", [exercise.title for exercise in exercises]),
    ):
        yield from (f"two exercises have the {what} {value}" for value in _repeated(values))
    for exercise in exercises:
        yield from (f"{exercise.name}: {fault}" for fault in lint(exercise, exercises, seeds))


def _repeated(values: list[str]) -> list[str]:
    return sorted({v for v in values if values.count(v) > 1})


def lint(exercise: Exercise, exercises: tuple[Exercise, ...] = (), seeds: Sequence[int] = (0, 1)) -> Iterator[str]:
    """Yield what is wrong with one exercise of a course, none of whose answers its skeleton may give away.

    Examples
    --------
    >>> from mabn_ref.learn.exercise import find
    >>> list(lint(find("moments")))
    []
    """
    yield from _faults_of_texts(exercise)
    try:
        run_source(exercise.solution, "solution.py")
        run_source(exercise.skeleton, "the skeleton")
        vars(exercise.checks)
        for name in exercise.mistakes:
            run_source(exercise.with_mistakes(name) or "", f"the mistake {name}")
    except (ValueError, OSError) as error:
        yield str(error).removeprefix(f"{exercise.name}: ")
        return  # nothing can be judged
    yield from _faults_of_skeleton(exercise, exercises)
    if seeds:
        solved = check_source(exercise, exercise.solution, seeds=tuple(seeds))
        if not solved.passed:
            yield f"its own solution fails: {_first_fault(solved)}"
        skeleton = run_source(exercise.skeleton, f"{exercise.name}_skeleton")
        if any(check_code(exercise, skeleton, seeds=(seed,)).passed for seed in seeds):
            yield "the skeleton passes as it is"
    yield from _faults_of_example(exercise)
    yield from _faults_of_mistakes(exercise, seeds)


def _first_fault(report: Report) -> str:
    faults = [part.line for part in report.without_points]
    return [*faults, *report.notes][0]


def _faults_of_texts(exercise: Exercise) -> Iterator[str]:
    if not re.fullmatch(r"\d\d_[a-z0-9_]{3,40}", exercise.name):
        yield "its name is not two digits and a few words in lower case, joined by _"
    if not exercise.statement.startswith("# ") or "$" not in exercise.statement:
        yield "statement.md needs a title and the maths"
    opening = re.split(r"(?<=[.?!])\s", exercise.statement.partition("\n")[2].strip())[0]
    if "$" in opening:
        yield f"statement.md opens with a formula, expected the problem in words: {' '.join(opening.split())[:60]}"
    if any(text.count("$") % 2 for text in (exercise.statement, *exercise.hints)):
        yield "statement.md has a $ without its partner"
    if not exercise.example:
        yield "statement.md has no worked example: a block of ```pycon"
    for text in (exercise.statement, *exercise.hints):
        try:
            as_text(text, 80)
        except ValueError as error:
            yield f"statement.md cannot be shown in a terminal: {error}"
    if len(exercise.hints) != 3 or not all(exercise.hints):
        yield f"statement.md has {len(exercise.hints)} hints, expected three, each under a heading ## Hint 1, 2, 3"
    if not exercise.equations:
        yield "statement.md names no equation: a line 'Equations: `label` (4)'"
    for label in exercise.equations:
        if label not in _labels():
            yield f"statement.md names the equation {label}, which no code is tagged with"
    if not exercise.tutorials:
        yield "statement.md names no tutorial: a line 'Tutorial: 2'"


@functools.cache
def _labels() -> frozenset[str]:
    """Labels of equations that an exercise can be about: code of the package is tagged with them."""
    package = Path(mabn_ref.__file__).parent
    tags = (tag for path in package.rglob("*.py") for tag in re.findall(r"# eq: (.*)", path.read_text("utf-8")))
    return frozenset(_DERIVED | {label for tag in tags for label in re.findall(r"[a-z0-9]+(?:-[a-z0-9]+)*", tag)})


def _faults_of_skeleton(exercise: Exercise, exercises: tuple[Exercise, ...]) -> Iterator[str]:
    if "TODO" not in exercise.skeleton:
        yield "solution.py has no TODO"
    for source, where in ((exercise.skeleton, "the skeleton"), (exercise.solution, "solution.py")):
        for module in _imports(source):
            if module not in _ALLOWED:
                yield f"{where} imports {module}: students have NumPy and the standard library"
    if not _own_lines(exercise):
        yield "solution.py has no line that the skeleton lacks"
    # A hunt holds what was solved before, with a bug in it.
    others = [exercise] if "_hunt_" in exercise.name else [*exercises, exercise]
    for text, where in ((exercise.skeleton, "the skeleton"), (exercise.statement, "statement.md")):
        lines = {_plain(line) for line in text.splitlines()}
        for other in dict.fromkeys(others):
            for line in sorted(answer_lines(other) & lines):
                yield f"{where} gives away a line of the solution of {other.name}: {line}"


def answer_lines(exercise: Exercise) -> set[str]:
    """The lines that a student must find: those of the solution that the skeleton lacks, unless they say little.

    Examples
    --------
    >>> from mabn_ref.learn.exercise import find
    >>> "mu = np.mean(x, axis=axes)" in answer_lines(find("moments"))
    True
    """
    return {
        line
        for line in _own_lines(exercise)
        if len(line) > 12 and not line.startswith(("return ", "def ", "#", '"""', "axes ="))
    }


def _own_lines(exercise: Exercise) -> set[str]:
    """All lines of the solution that the skeleton lacks."""
    given, lines = (
        {" ".join(line.split()) for line in source.splitlines()} for source in (exercise.skeleton, exercise.solution)
    )
    return lines - given


def _plain(line: str) -> str:
    """A line without its indentation, and without the sign of a comment."""
    return " ".join(line.replace("#", " ").split())


def _imports(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


def _faults_of_example(exercise: Exercise) -> Iterator[str]:
    """Run the worked example with the solution's functions."""
    names = vars(run_source(exercise.solution, f"{exercise.name}_example"))
    test = doctest.DocTestParser().get_doctest(exercise.example, names, exercise.name, None, 0)
    said: list[str] = []
    doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    if said:
        yield f"its worked example does not give what it shows: {' '.join(''.join(said).split())}"


def _faults_of_mistakes(exercise: Exercise, seeds: Sequence[int]) -> Iterator[str]:
    known = exercise.mistakes
    if len(known) < 3:
        yield f"mistakes.toml knows {len(known)} mistakes, expected at least three"
    for sentence in _repeated([mistake.sentence for mistake in known.values()]):
        yield f"two mistakes have the sentence {sentence!r}"
    for name, seed, report in confusion(exercise, seeds):
        if report.passed:
            yield f"the mistake {name} passes: no property catches it (seed {seed})"
        elif report.sentences != (known[name].sentence,):
            said = " ".join(report.sentences) or _first_fault(report)
            yield f"the mistake {name} is reported as: {said} (seed {seed})"


def confusion(exercise: Exercise, seeds: Sequence[int]) -> Iterator[tuple[str, int, Report]]:
    """Make each mistake that an exercise knows; yield its name, the seed of the cases, and the report.

    Examples
    --------
    >>> from mabn_ref.learn.exercise import find
    >>> for name, _, report in confusion(find("moments"), [0]):
    ...     assert report.mistakes == (name,)
    """
    for name in exercise.mistakes:
        code = run_source(exercise.with_mistakes(name) or "", f"{exercise.name}_mistaken")
        for seed in seeds:
            yield name, seed, check_code(exercise, code, seeds=(seed,))

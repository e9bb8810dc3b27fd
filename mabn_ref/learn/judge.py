"""The verdict: each part right or wrong, and if wrong, which mistake gives these very numbers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from mabn_ref.learn import wire
from mabn_ref.learn.errors import StudentError
from mabn_ref.learn.exercise import Exercise, KnownMistake
from mabn_ref.learn.forms import form_fault, same, unnamed
from mabn_ref.learn.known import Known, Observations, by_part, known_on, look, observed
from mabn_ref.learn.process import Limits, Student
from mabn_ref.learn.report import Part, Report

__all__ = ["Part", "Report", "check_code", "check_source"]


def check_source(
    exercise: Exercise,
    source: str,
    filename: str = "exercise.py",
    seeds: Sequence[int] = (0,),
    limits: Limits | None = None,
) -> Report:
    """Check a student's file in a process of its own.

    Parameters
    ----------
    exercise : Exercise
        What it is to solve.
    source, filename : str
        The file's content, and its name in messages.
    seeds : sequence of int
        Each gives as many random cases as the exercise says.
    limits : Limits, optional
        By default those of `Limits`, with the exercise's own time.

    Examples
    --------
    >>> from mabn_ref.learn.exercise import find
    >>> exercise = find("moments")
    >>> check_source(exercise, exercise.solution).passed
    True
    """
    limits = Limits(seconds=exercise.seconds) if limits is None else limits
    known = known_on(exercise, tuple(seeds))
    cases = known.cases
    seen: list[list[Observations]] = []
    students: list[Student] = []
    try:
        for check in exercise.checks.CHECKS:
            if not students or students[-1].ended:  # a function that hangs does not take the others with it
                students.append(Student(source, filename, limits))
            seen.append([observed(check, students[-1], case) for case in cases])
    except StudentError as error:  # the file cannot even be read
        seen = [[error] * len(cases) for _ in exercise.checks.CHECKS]
    finally:
        for student in students:
            student.close()
    notes = [note for s in students for note in _changed_notes(s.changed)]
    notes += [f"your code replaces {name}; leave NumPy as it is" for s in students for name in sorted(s.replaced)]
    printed = "".join(student.printed for student in students)
    return _report(known, seen, notes, printed)


def check_code(exercise: Exercise, code: Any, seeds: Sequence[int] = (0,)) -> Report:
    """Check functions of this process, given as attributes of `code`: in a notebook, say.

    Nothing is limited and nothing keeps the code from what is in this process; `check_source` does that.

    Examples
    --------
    >>> from mabn_ref.learn.exercise import find
    >>> from types import SimpleNamespace
    >>> check_code(find("moments"), SimpleNamespace(moments=lambda x: (x.mean(0), x.var(0)))).passed
    False
    """
    known = known_on(exercise, tuple(seeds))
    watched = _Watched(code)
    seen = look(exercise, watched, known.cases)
    return _report(known, seen, _changed_notes(watched.changed), "")


class _Watched:
    """Functions of this process, each call with arrays of its own: the cases are kept and must stay as they are."""

    def __init__(self, code: Any) -> None:
        self._code = code
        self.changed: set[str] = set()
        """Functions that changed an array they were given."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = getattr(self._code, name, None)
        if not callable(function):
            raise StudentError("missing", f"there is no function {name}")

        def call(*args: Any, **kwargs: Any) -> Any:
            own_args, own_kwargs = copy.deepcopy((args, kwargs))
            given = [(a, a.tobytes()) for a in wire.arrays([own_args, own_kwargs], np.ndarray)]
            result = function(*own_args, **own_kwargs)
            if any(a.tobytes() != before for a, before in given):
                self.changed.add(name)
            return result

        return call


def _changed_notes(names: Iterable[str]) -> list[str]:
    return [f"{name} changes an array that it is given; make a new one" for name in sorted(names)]


def _report(known: Known, seen: list[list[Observations]], notes: list[str], printed: str) -> Report:
    parts, wrong = [], set()
    errors: list[StudentError] = []
    for check, observations, right in zip(known.exercise.checks.CHECKS, seen, known.right, strict=True):
        stopped = next((o for o in observations if isinstance(o, StudentError)), None)
        if stopped is not None and str(stopped) not in map(str, errors):
            errors.append(stopped)
        for name, judge in check.parts.items():
            message = _fault(name, judge, known.cases, observations, right)
            parts.append(Part(name, message is None, message or ""))
            if message is not None and stopped is None:
                wrong.add(name)
    found = _recognised(known, seen, wrong) if wrong else ()
    return Report(
        exercise=known.exercise.name,
        parts=tuple(parts),
        mistakes=tuple(mistake.name for mistake in found),
        sentences=tuple(dict.fromkeys(mistake.said for mistake in found)),
        errors=tuple(errors),
        notes=tuple(dict.fromkeys(notes)),
        printed=printed,
    )


def _fault(
    name: str,
    judge: Callable[[Any, Any], str | None],
    cases: list[Any],
    observations: list[Observations],
    right: list[Observations],
) -> str | None:
    """What is wrong with a part on the first case where something is."""
    for case, seen, expected in zip(cases, observations, right, strict=True):
        if not isinstance(seen, dict):
            return str(seen)
        assert isinstance(expected, dict), f"the solution fails: {expected}"
        message = form_fault(name, seen[name], expected[name], getattr(case, "axes", {}))
        if message is None:
            try:
                with np.errstate(all="ignore"):
                    message = judge(seen[name], case)
            except Exception as error:
                message = unnamed(name, seen[name], expected[name])
                message = message or f"{name} cannot be judged ({type(error).__name__})"
        if message:
            return message
    return None


def _recognised(known: Known, seen: list[list[Observations]], wrong: set[str]) -> tuple[KnownMistake, ...]:
    """The mistakes that give the student's numbers: one or two for all wrong parts, or else for some of them.

    A mistake counts only if every part that it changes is wrong in just its way, on every case.
    """
    student = by_part(known.exercise, seen)
    fitting = []
    for group, changed in known.fitting(wrong):
        if all(same(student[name], changed[name]) for name in changed):
            if changed.keys() == wrong:
                return group
            fitting.append((group, changed))
    chosen: list[KnownMistake] = []
    for group, changed in sorted(fitting, key=lambda item: -len(item[1])):
        if changed.keys() <= wrong:
            wrong = wrong - changed.keys()
            chosen += group
    return tuple(chosen)

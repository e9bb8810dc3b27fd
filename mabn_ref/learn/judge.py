"""The verdict: whether each part is right and, if not, which mistake gives exactly these numbers."""

from __future__ import annotations

import contextlib
import functools
import itertools
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.learn.checking import Check, Judge
from mabn_ref.learn.exercise import Exercise, run_source
from mabn_ref.learn.process import Limits, Student
from mabn_ref.learn.report import Part, Report
from mabn_ref.learn.result_form import form_fault, only_zeros, same, unnamed
from mabn_ref.learn.student_error import Malformed, StudentError
from mabn_ref.learn.watched import Watched


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence warnings from code that is not the student's: combined mistakes, a judge on odd numbers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@_quiet()
def check_source(
    exercise: Exercise,
    source: str,
    filename: str = "exercise.py",
    seeds: Sequence[int] = (0,),
    limits: Limits | None = None,
    sandbox: Sequence[str] = (),
    timeouts: int = 2,
) -> Report:
    """Check a student's file in its own process; `filename` is its name in messages.

    `sandbox` is what `sandbox.command` returns; without it the file runs as the user who checks. A function that runs
    out of time does not take time from the others; after this number of `timeouts` the rest is not run.

    For each seed as many random cases are drawn as the exercise says. The default limits are those of `Limits`, with
    the exercise's own time for the cases of each seed.

    Examples
    --------
    >>> from mabn_ref.learn.exercise import find
    >>> exercise = find("moments")
    >>> check_source(exercise, exercise.solution).passed
    True
    """
    limits = Limits(seconds=exercise.seconds * len(seeds)) if limits is None else limits
    known = _known_on(exercise, tuple(seeds))
    values: _Values = {}
    students: list[Student] = []
    try:
        for check in exercise.checks.CHECKS:
            if sum(student.out_of_time for student in students) >= timeouts:
                values |= dict.fromkeys(check.parts, [_not_run(timeouts)] * len(known.cases))
                continue
            if not students or students[-1].ended:  # a function that hangs must not end the others
                students.append(Student(source, filename, limits, sandbox))
            values |= _seen(check, students[-1], known.cases)
    except StudentError as error:  # the file cannot even be read
        values = {name: [error] * len(known.cases) for name in exercise.parts}
    finally:
        for student in students:
            student.close()
    notes = _notes_of_changed({changed for s in students for changed in s.changed})
    notes += [f"your code replaces {name}; leave NumPy as it is" for s in students for name in sorted(s.replaced)]
    return known.report(values, notes, "".join(student.printed for student in students))


def _not_run(timeouts: int) -> StudentError:
    times = {1: "once", 2: "twice"}.get(timeouts, f"{timeouts} times")
    return StudentError("not run", f"the rest was not run: by then the file had run out of time {times}")


def check_code(exercise: Exercise, code: Any, seeds: Sequence[int] = (0,)) -> Report:
    """Check functions of this process, such as those of a notebook, given as attributes of `code`.

    Unlike `check_source`, this sets no limits and does not isolate the code from this process.

    Examples
    --------
    >>> from mabn_ref.learn.exercise import find
    >>> from types import SimpleNamespace
    >>> check_code(find("moments"), SimpleNamespace(moments=lambda x: (x.mean(0), x.var(0)))).passed
    False
    """
    known = _known_on(exercise, tuple(seeds))
    watched = Watched(code)
    return known.report(_values(exercise, watched, known.cases), _notes_of_changed(watched.changed), "")


def _notes_of_changed(changed: Iterable[tuple[str, str]]) -> list[str]:
    by_function: dict[str, list[str]] = {}
    for name, argument in sorted(changed):
        by_function.setdefault(name, []).append(argument)
    return [
        f"{name} changes its argument{'s' if arguments[1:] else ''} {' and '.join(arguments)}; make a new array"
        if all(arguments)
        else f"{name} changes an array that it was given; make a new one"
        for name, arguments in by_function.items()
    ]


_Values = dict[str, list[Any]]
"""For each part its values on all cases, or the `StudentError` or `Malformed` raised instead of one."""


def _values(exercise: Exercise, code: Any, cases: list[Any]) -> _Values:
    """The values of all parts, as the functions of `code` give them."""
    with np.errstate(all="ignore"):
        return {name: v for check in exercise.checks.CHECKS for name, v in _seen(check, code, cases).items()}


def _seen(check: Check, code: Any, cases: list[Any]) -> _Values:
    """The values of the parts of one check."""
    on_cases = [_seen_on(check, code, case) for case in cases]
    return {name: [values[name] for values in on_cases] for name in check.parts}


def _seen_on(check: Check, code: Any, case: Any) -> dict[str, Any]:
    """What one check sees on one case; an error in the functions becomes the value of all its parts.

    Whatever a student's functions raise arrives here as a `StudentError`. Any other error was raised by the check
    itself, on a result that nobody foresaw.
    """
    try:
        return check.observe(code, case)
    except (StudentError, Malformed) as error:
        wrong: Exception = error
    except Exception:
        wrong = StudentError("form", "what your code returned is not in the form that the statement asks for")
    return dict.fromkeys(check.parts, wrong)


class _Tried(NamedTuple):
    """Mistakes made together in the solution, to compare its numbers with the student's."""

    group: tuple[str, ...]
    changed: set[str]  #: parts that they change
    fitting: set[str]  #: those of them that agree with the student's


class _Known:
    """What is known about an exercise on some cases: the right results and, on request, those of its mistakes."""

    @_quiet()
    def __init__(self, exercise: Exercise, seeds: Sequence[int]) -> None:
        self.exercise = exercise
        self.cases = [case for seed in seeds for case in exercise.draw(seed, exercise.cases)]
        self.right = _values(exercise, run_source(exercise.solution, f"{exercise.name}_solution"), self.cases)
        self._changed: dict[tuple[str, ...], _Values] = {}
        self._on_first: dict[tuple[str, ...], _Values] = {}
        self._joining = {name for check in exercise.checks.CHECKS if check.joins for name in check.parts}
        skeleton = _values(exercise, run_source(exercise.skeleton, f"{exercise.name}_skeleton"), self.cases)
        # A part that the skeleton already has right counts only together with one that it has not.
        to_do = tuple(part.name for part in self._parts(skeleton) if not part.ok)
        self._given = set(exercise.parts) - set(to_do)
        self._counts_with = dict.fromkeys(self._given, to_do)
        for check in exercise.checks.CHECKS:
            self._counts_with |= check.counts_with

    def _parts(self, values: _Values) -> list[Part]:
        """The verdict on each part by itself."""
        return [
            Part(name, message is None, message or "")
            for check in self.exercise.checks.CHECKS
            for name, judge in check.parts.items()
            for message in [_fault(name, judge, self.cases, values[name], self.right[name])]
        ]

    @_quiet()
    def report(self, values: _Values, notes: list[str], printed: str) -> Report:
        """The report on what the checks saw of a student's functions."""
        parts = self._parts(values)
        wrong = {part.name for part in parts if not part.ok}
        errors: dict[str, StudentError] = {}
        for name, on_cases in values.items():
            stopped = next((value for value in on_cases if isinstance(value, StudentError)), None)
            if stopped is not None:
                wrong.discard(name)
                errors.setdefault(str(stopped), stopped)
        if wrong - self._joining:  # a part that joins others may be wrong only because of them
            parts = [
                part._replace(message=f"{part.message}; first fix the functions that it calls")
                if part.name in wrong & self._joining
                else part
                for part in parts
            ]
        found, explained = self._recognised(values, wrong) if wrong else ((), frozenset())
        said = [self.exercise.mistakes[name].sentence for name in found]
        said += self._explanations(values, wrong - explained)
        return Report(
            exercise=self.exercise.name,
            parts=tuple(self._counted(parts)),
            mistakes=found,
            sentences=tuple(dict.fromkeys(said)),
            errors=tuple(errors.values()),
            notes=tuple(dict.fromkeys(notes)),
            printed=printed,
        )

    def _counted(self, parts: list[Part]) -> Iterator[Part]:
        """The parts, with no point for those that count only with others until one of these is right."""
        right = {part.name for part in parts if part.ok}
        for part in parts:
            others = self._counts_with.get(part.name)
            if part.ok and others and not right & set(others):
                said = "as in the skeleton; " if part.name in self._given else ""
                part = part._replace(
                    ok=False, message=f"{said}no point until {' or '.join(others)} is right", waits=True
                )
            yield part

    def _explanations(self, student: _Values, unexplained: set[str]) -> Iterator[str]:
        """What the numbers show about parts that no known mistake explains."""
        for check in self.exercise.checks.CHECKS:
            for name, explain in check.explain.items():
                if name in unexplained and all(
                    form_fault(name, a, b, {}) is None for a, b in zip(student[name], self.right[name], strict=True)
                ):
                    with np.errstate(all="ignore"):
                        yield from explain(student[name], self.cases)

    def _recognised(self, student: _Values, wrong: set[str]) -> tuple[tuple[str, ...], frozenset[str]]:
        """The mistakes that give the student's numbers, and the wrong parts that they explain.

        First try one or two that together explain all wrong parts; then more, found one after the other; or else
        take those that explain some parts. A mistake counts only if every part that it changes is wrong in exactly
        its way on every case, except parts that join others, which show all faults at once.
        """
        tried: list[_Tried] = []
        for made in itertools.chain(self._candidates(student, wrong, tried), self._grown(student, wrong, tried)):
            if made.fitting == made.changed == wrong:
                return made.group, frozenset(wrong)
        chosen: list[str] = []
        left = set(wrong)
        for made in sorted(tried, key=lambda made: (made.changed <= self._joining, -len(made.fitting))):
            own = made.changed - self._joining or made.changed
            if own <= self._joining and left - self._joining:
                continue  # an unknown fault in what it joins may give the same numbers
            if own <= made.fitting and own <= left:
                left -= made.fitting
                chosen += made.group
        return tuple(chosen), frozenset(wrong - left)

    def _grown(self, student: _Values, wrong: set[str], tried: list[_Tried]) -> Iterator[_Tried]:
        """Extend the group that explains most by one mistake at a time, as long as it explains more."""
        known = [made.group[0] for made in tried if made.changed <= wrong and len(made.group) == 1]
        found = [made for made in tried if made.changed <= wrong and made.fitting]
        while found:
            best = max(found, key=lambda made: len(made.fitting))
            yield best
            larger = [self._tried((*best.group, name), student) for name in known if name not in best.group]
            found = [made for made in larger if made.changed <= wrong and len(made.fitting) > len(best.fitting)]

    def _tried(self, group: tuple[str, ...], student: _Values) -> _Tried:
        changed = self._values_changed_by(*group)
        return _Tried(group, set(changed), {name for name in changed if _made_by(changed[name], student[name])})

    def _candidates(self, student: _Values, wrong: set[str], tried: list[_Tried]) -> Iterator[_Tried]:
        """Each mistake, then each pair, that changes only parts in `wrong`; they are noted in `tried`.

        They are yielded one by one, since running them all takes long; a pair is run on all cases only if it fits
        on the first.
        """
        possible = wrong | self._joining
        known = [name for name in self.exercise.mistakes if self._values_changed_by(name).keys() <= possible]
        pairs = (pair for pair in itertools.combinations(known, 2) if self._may_fit(pair, student, possible))
        for group in itertools.chain(((name,) for name in known), pairs):
            changed = self._values_changed_by(*group)
            if changed and changed.keys() <= possible:
                tried.append(self._tried(group, student))
                yield tried[-1]

    def _may_fit(self, group: tuple[str, ...], student: _Values, possible: set[str]) -> bool:
        """Whether these mistakes give one of the student's parts on the first case; else they cannot on all cases."""
        if group not in self._on_first:
            self._on_first[group] = self._mistaken(group, self.cases[:1])
        made = self._on_first[group]
        return any(same(student[name][:1], made[name]) for name in possible & made.keys())

    def _values_changed_by(self, *group: str) -> _Values:
        """The parts that the mistakes change together, and their values; none if their edits conflict."""
        if group not in self._changed:
            made = self._mistaken(group, self.cases)
            self._changed[group] = {name: made[name] for name in made if not same(made[name], self.right[name])}
        return self._changed[group]

    def _mistaken(self, group: tuple[str, ...], cases: list[Any]) -> _Values:
        """What the solution gives with these mistakes in it; nothing if their edits conflict."""
        source = self.exercise.with_mistakes(*group)
        if source is None:
            return {}
        return _values(self.exercise, run_source(source, f"{self.exercise.name}_mistaken"), cases)


_known_on = functools.lru_cache(maxsize=64)(_Known)
"""`_Known` for the cases of some seeds, cached because many students are judged on the same cases."""


def _made_by(mistaken: list[Any], values: list[Any]) -> bool:
    """Whether values are those of a mistake; exact zeros do not match a mistake that leaves rounding errors."""
    return same(values, mistaken) and only_zeros(values) <= only_zeros(mistaken)


def _fault(name: str, judge: Judge, cases: list[Any], values: list[Any], right: list[Any]) -> str | None:
    """What is wrong with a part on the first case that shows it; a fault of form opens with the case's `at`."""
    for case, value, expected in zip(cases, values, right, strict=True):
        if isinstance(value, StudentError | Malformed):
            return str(value)
        assert not isinstance(expected, StudentError | Malformed), f"the solution fails: {expected}"
        try:
            message = form_fault(name, value, expected, getattr(case, "axes", {}))
            if message is not None:
                message = f"{getattr(case, 'at', '')}{message}"
            else:
                with np.errstate(all="ignore"):
                    message = next(iter(judge(value, case)), None)
        except Exception as error:  # a number that NumPy cannot hold, or a form that nobody foresaw
            message = f"{name} cannot be judged ({type(error).__name__})"
            with contextlib.suppress(Exception):
                message = unnamed(name, value, expected) or message
        if message:
            return message
    return None

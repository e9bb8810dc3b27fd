"""The course: every exercise is whole, tells the mistakes it knows apart, and sees none where there is none."""

from __future__ import annotations

import copy
import os
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mabn_ref.learn.exercise import Exercise, course, find, run_source
from mabn_ref.learn.judge import check_code
from mabn_ref.learn.lint import lint
from mabn_ref.learn.result_form import same
from tests.learn.mutants import mutants
from tests.strategies import many

EXERCISES = [pytest.param(exercise, id=exercise.name) for exercise in course()]
RANDOM_CODES = int(os.environ.get("MABN_RANDOM_CODES", many(4, 20)))
"""Wrong codes an exercise."""
FRESH = range(1000, 1010)
"""Seeds of cases that no verdict was made on."""


def test_no_mark_of_a_solution_is_handed_out() -> None:
    for exercise in course():
        assert "TODO" not in exercise.solution
        assert "BUG" not in exercise.solution + exercise.skeleton
        hunted = "_hunt_" in exercise.name
        assert ("NotImplementedError" in exercise.skeleton) is not hunted
        assert hunted is (len(exercise.skeleton.splitlines()) == len(exercise.solution.splitlines()) + 2)


@pytest.mark.parametrize("exercise", EXERCISES)
def test_lint(exercise: Exercise) -> None:
    """Among others: the skeleton fails, the solution passes, each mistake gets exactly its sentence."""
    assert list(lint(exercise, course(), seeds=range(many(1, 2)))) == []


RANKS = {
    "01_moments": ("axes = tuple(range(x.ndim - 1))", "axes = ((0,), (0, 1), (0, 1, 2))[x.ndim - 2]"),
    "04_bn_backward": ("axes = tuple(range(dz.ndim - 1))", "axes = tuple(range(min(dz.ndim, 4) - 1))"),
}


@pytest.mark.parametrize("name", RANKS)
def test_a_code_for_images_at_most_does_not_pass(name: str) -> None:
    """Where a statement says any rank, one that none of its formulas spells out is among the cases."""
    exercise, (old, new) = find(name), RANKS[name]
    assert old in exercise.solution
    report = check_code(exercise, run_source(exercise.solution.replace(old, new), "to rank 4"))
    assert not any(part.ok for part in report.parts)


@pytest.mark.parametrize("exercise", EXERCISES)
def test_random_wrong_codes_are_told_no_mistake_that_they_do_not_make(exercise: Exercise) -> None:
    """They fail, and one that is told a mistake makes that very mistake, as cases drawn after the verdict show.

    200 codes an exercise instead of a few, with a line each that says how many were told something::

        MABN_RANDOM_CODES=200 pytest tests/learn/test_course.py -k random -rP
    """
    cases = exercise.draw(0, exercise.cases)
    right = observed(exercise, run_source(exercise.solution, "solution"), cases)
    judged = told = 0
    for source in mutants(exercise.solution, np.random.default_rng(exercise.number)):
        if judged == RANDOM_CODES:
            print(f"{exercise.name}: {judged} wrong codes judged, {told} told a mistake, all of which make it")
            return
        try:
            code = run_source(source, "mutant")
        except Exception:
            continue
        seen = observed(exercise, code, cases)
        if any(value is RAISED for values in seen.values() for value in values) or same(seen, right, rtol=1e-5):
            continue  # a student is shown the error; or nothing that counts was changed
        report = check_code(exercise, code)
        assert not report.passed, source
        assert not report.mistakes or makes(exercise, code, report.mistakes), f"told {report.mistakes}:\n{source}"
        judged, told = judged + 1, told + bool(report.mistakes)
    pytest.fail(f"only {judged} mutants could be judged")


def makes(exercise: Exercise, code: SimpleNamespace, mistakes: tuple[str, ...]) -> bool:
    """Whether all that fresh cases show of the parts that the mistakes change is as if made on purpose."""
    together = exercise.with_mistakes(*mistakes) is not None
    joining = {part for check in exercise.checks.CHECKS if check.joins for part in check.parts}
    cases = [case for seed in FRESH for case in exercise.draw(seed, exercise.cases)]
    right = observed(exercise, run_source(exercise.solution, "solution"), cases)
    seen = observed(exercise, code, cases)
    for group in [mistakes] if together else [(mistake,) for mistake in mistakes]:
        theirs = observed(exercise, run_source(exercise.with_mistakes(*group) or "", "mistaken"), cases)
        changed = {part for part in theirs if not same(theirs[part], right[part])}
        changed = changed - joining or changed  # a part that joins others shows all faults at once
        if not changed or not all(same(seen[part], theirs[part]) for part in changed):
            return False
    return True


RAISED = "raised"


def observed(exercise: Exercise, code: SimpleNamespace, cases: list[Any]) -> dict[str, list[Any]]:
    """What the checks see of each part on each case, `RAISED` where the code raises."""
    seen: dict[str, list[Any]] = {part: [] for part in exercise.parts}
    for check in exercise.checks.CHECKS:
        for case in copy.deepcopy(cases):  # which mutants may change
            try:
                with np.errstate(all="ignore"):
                    values = check.observe(code, case)
            except Exception:
                values = dict.fromkeys(check.parts, RAISED)
            for part in check.parts:
                seen[part].append(values[part])
    return seen

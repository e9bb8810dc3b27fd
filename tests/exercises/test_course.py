"""The course: every exercise is whole, tells the mistakes it knows apart, and sees none where there is none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mabn_ref.exercises.exercise import Exercise, course, run_source
from mabn_ref.exercises.forms import same
from mabn_ref.exercises.judge import check_code
from mabn_ref.exercises.lint import lint
from tests.exercises.mutants import mutant

EXERCISES = [pytest.param(exercise, id=exercise.name) for exercise in course()]
RANDOM_CODES = 200
"""At least so many in all."""


@pytest.mark.parametrize("exercise", EXERCISES)
def test_lint(exercise: Exercise) -> None:
    """Among others: the skeleton fails, the solution passes, each mistake gets exactly its sentence."""
    assert list(lint(exercise, course(), seeds=(0,))) == []


@pytest.mark.parametrize("exercise", EXERCISES)
def test_random_wrong_codes_are_told_no_mistake(exercise: Exercise) -> None:
    """They fail, and none is told that it made a mistake that it did not make."""
    rng = np.random.default_rng(exercise.number)
    cases = exercise.draw(0, exercise.cases)
    right = observations(exercise, run_source(exercise.solution, "solution"), cases)
    judged = 0
    for _ in range(2000):
        source = mutant(exercise.solution, rng)
        code = run_source(source, "mutant")
        seen = observations(exercise, code, cases)
        if seen is None or same(seen, right, rtol=1e-5):  # raises, or nothing that counts was changed
            continue
        report = check_code(exercise, code)
        assert not report.passed, source
        assert report.sentences == (), source
        judged += 1
        if judged * len(course()) >= RANDOM_CODES:
            return
    pytest.fail(f"only {judged} mutants could be judged")


def observations(exercise: Exercise, code: SimpleNamespace, cases: list[Any]) -> list[Any] | None:
    """What the checks see, None where the code raises."""
    try:
        with np.errstate(all="ignore"):
            return [check.observe(code, case) for case in cases for check in exercise.checks.CHECKS]
    except Exception:
        return None

"""What is known of an exercise on some cases: the right results and those of its mistakes, as its checks see them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mabn_ref.learn.errors import StudentError
from mabn_ref.learn.exercise import Check, Exercise, KnownMistake, run_source
from mabn_ref.learn.forms import Malformed, same

__all__ = ["Known", "Observations", "by_part", "known_on", "look", "observed"]

Observations = dict[str, Any] | StudentError | Malformed
"""What one check saw on one case."""


class Known:
    """What is known of an exercise on some cases: the right results and, once asked for, those of its mistakes."""

    def __init__(self, exercise: Exercise, seeds: Sequence[int]) -> None:
        self.exercise = exercise
        self.cases = [case for seed in seeds for case in exercise.draw(seed, exercise.cases)]
        self.right = look(exercise, run_source(exercise.solution, f"{exercise.name}_solution"), self.cases)
        self._right = by_part(exercise, self.right)
        self._changed: dict[tuple[str, ...], dict[str, list[Any]]] = {}

    def fitting(self, wrong: set[str]) -> Iterator[tuple[tuple[KnownMistake, ...], dict[str, list[Any]]]]:
        """Each mistake, then each pair, that changes no part but some of `wrong`, and its values of these parts.

        Looked at one by one, since running them all takes long: of pairs, those of mistakes that fit so far.
        """
        known = [mistake for mistake in self.exercise.mistakes if self.changed(mistake).keys() <= wrong]
        for group in itertools.chain(((mistake,) for mistake in known), itertools.combinations(known, 2)):
            changed = self.changed(*group)
            if changed and changed.keys() <= wrong:
                yield group, changed

    def changed(self, *group: KnownMistake) -> dict[str, list[Any]]:
        """The parts that mistakes change together, and their values; none where edits are in each other's way."""
        names = tuple(mistake.name for mistake in group)
        if names not in self._changed:
            source = self.exercise.with_mistakes(*group)
            made = {}
            if source is not None:
                code = run_source(source, f"{self.exercise.name}_mistaken")
                made = by_part(self.exercise, look(self.exercise, code, self.cases))
            self._changed[names] = {name: made[name] for name in made if not same(made[name], self._right[name])}
        return self._changed[names]


@functools.lru_cache(maxsize=64)
def known_on(exercise: Exercise, seeds: tuple[int, ...]) -> Known:
    """What is known on the cases of these seeds; kept, since many codes are judged on the same."""
    return Known(exercise, seeds)


def look(exercise: Exercise, code: Any, cases: list[Any]) -> list[list[Observations]]:
    """What each check sees of some functions on each case."""
    with np.errstate(all="ignore"):
        return [[observed(check, code, case) for case in cases] for check in exercise.checks.CHECKS]


def observed(check: Check, code: Any, case: Any) -> Observations:
    """What one check sees on one case; what goes wrong in the functions is returned, too."""
    try:
        return check.observe(code, case)
    except (StudentError, Malformed) as error:
        return error
    except NotImplementedError:
        return StudentError("todo", "this is still to be written")
    except Exception as error:
        return StudentError("raised", f"your code raised {type(error).__name__}: {error}")


def by_part(exercise: Exercise, seen: list[list[Observations]]) -> dict[str, list[Any]]:
    """For each part its values on all cases; where there is none, what was raised."""
    return {
        name: [o[name] if isinstance(o, dict) else f"{type(o).__name__}: {o}" for o in observations]
        for check, observations in zip(exercise.checks.CHECKS, seen, strict=True)
        for name in check.parts
    }

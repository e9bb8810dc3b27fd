"""What of several explanations is the best, and what of several scenarios a bound was."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from mabn_ref.check.choices import CHOICES
from mabn_ref.check.conventions import presets_of
from mabn_ref.check.explain import Explanation, _bounds


def test_two_conventions_explain_better_than_one_mistake() -> None:
    preset = presets_of("bn")[0]
    fine, wrong = (
        next(c for c in CHOICES if "bn" in c.norms and c.accepted is accepted) for accepted in (True, False)
    )
    twice = Explanation(preset, (("z", fine), ("dx", fine)))
    once = Explanation(preset, (("z", wrong),))
    assert twice.cost < once.cost < Explanation(preset, (("z", wrong), ("dx", fine))).cost


def test_the_bounds_of_an_age_are_the_largest_of_all_its_scenarios() -> None:
    def case(age: int, iteration: int, *bounds: tuple[float, float]) -> Any:
        model = SimpleNamespace(iteration=iteration, bounds=list(bounds))
        scenario = SimpleNamespace(age=age, age_after=5)
        return SimpleNamespace(trace=SimpleNamespace(scenario=scenario), replay=lambda _: iter([(0, model, None)]))

    cases = [case(0, 9, (1.5, 0.1), (2.0, 0.2)), case(0, 7, (1.2, 0.3)), case(5000, 5010, (3.0, 4.0))]
    best: Any = SimpleNamespace(convention=lambda _: None)
    assert _bounds(best, cases) == [(9, 2.0, 0.3), (5010, 3.0, 4.0)]

"""What of the scenarios a target can be put through, found by asking it first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mabn_ref.check.observe import SPACES, spaces
from mabn_ref.check.scenarios import MODULES, Scenario
from mabn_ref.check.target import Target

__all__ = ["About", "Step", "inquire", "plan"]


@dataclass(frozen=True)
class About:
    """What is known of a target before it runs.

    Attributes
    ----------
    given : list of str or None
        The fields of the Config that it takes; None: all.
    groups : bool or None
        Whether a call may hold several normalisation batches; None: not known.
    numbers : list of float
        Numbers it has that may be hyper-parameters.
    defaults : dict of str to float
        The values that its constructor would have taken.
    ages : bool
        Whether its count of iterations can be set.
    refused : dict of str to str
        Why an input of a rank is refused, by the rank; "" where it is not.
    single : bool
        Whether it takes float32 alone.
    """

    given: list[str] | None
    groups: bool | None
    numbers: list[float]
    defaults: dict[str, float]
    ages: bool
    refused: dict[str, str]
    single: bool = False

    def fields(self, norm: str) -> frozenset[str]:
        """The fields of the Config that the target takes, and those of a `Convention` that one of them decides."""
        taken = frozenset(MODULES[norm].Config.__dataclass_fields__ if self.given is None else self.given)
        return taken | ({"guard"} if "layer_scaling" in taken else set())


@dataclass(frozen=True)
class Step:
    """A scenario with the axes it is run with, or why it is not run."""

    scenario: Scenario
    space: tuple[int, ...]
    skipped: str = ""


def inquire(target: Target, norm: str, scenario: Scenario) -> About:
    """Try a target on one step of every rank, in float64, and in float32 if it takes none."""
    reasons = spaces(target, norm, scenario)
    in_single = spaces(target, norm, replace(scenario, dtype="float32")) if all(reasons.values()) else reasons
    single = in_single is not reasons and not all(in_single.values())
    refused = {str(rank): why for rank, why in (in_single if single else reasons).items()}
    given: Any = getattr(target, "given", None)
    return About(
        given=None if given is None else sorted(given),
        groups=getattr(target, "groups", None),
        numbers=sorted(set(getattr(target, "numbers", ()))),
        defaults=dict(getattr(target, "defaults", {})),
        ages=hasattr(target, "age"),
        refused=refused,
        single=single,
    )


def plan(about: About, scenarios: Sequence[Scenario]) -> list[Step]:
    """Choose axes for every scenario, and leave out what the target cannot do.

    Examples
    --------
    >>> about = About([], False, [], {}, False, {"4": "expected 2D input", "3": "expected 2D input", "2": ""})
    >>> flat, square = Scenario(name="flat", norm_batch=2), Scenario(name="", norm_batch=2, space=(2, 3))
    >>> [(step.space, step.skipped) for step in plan(about, [flat, square])]
    [((), ''), ((2, 3), 'expected 2D input')]
    """
    preferred = next((space for space in SPACES if not about.refused[str(len(space) + 2)]), SPACES[0])
    found = []
    for scenario in scenarios:
        space = preferred if scenario.space is None else scenario.space
        skipped = about.refused[str(len(space) + 2)]
        if scenario.age and not about.ages:
            skipped = "its count of iterations cannot be set"
        if any(hasattr(value, "at") for value in scenario.settings.values()) and about.given is not None:
            skipped = "it takes no ramps"
        if scenario.name == "several in a call" and about.groups is False:
            skipped = "each call is one normalisation batch"
        found.append(Step(replace(scenario, dtype="float32") if about.single else scenario, space, skipped))
    return found

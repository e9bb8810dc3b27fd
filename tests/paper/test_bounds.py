"""Verdicts where it is close: an interval that ends a tenth on this side of the bound, or a tenth on the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mabn_ref.paper import theorem1, theorem2, theorems
from mabn_ref.paper.claims import Claim, Measured, effect, verdict
from mabn_ref.paper.study import Context, Study
from mabn_ref.paper.table1_table2 import FIGURE1B, ROWS_1B, ROWS_2, TABLE1, TABLE2
from mabn_ref.train.config import RunConfig
from mabn_ref.train.table_layout import Interval, mean_interval
from tests.paper.made_up import CONTEXT, records

# Half of the 95 % interval of three differences that are one apart: t(2) / sqrt(3). Of ten that are one above and one
# below their mean in turn: t(9) * sqrt(10 / 9) / sqrt(10).
HALF = {3: 4.3027 / 3**0.5, 10: 2.2622 / 3}
PARTS = {3: [-1.0, 0.0, 1.0], 10: [-1.0, 1.0] * 5}


def differences(runs: int, mean: float) -> list[float]:
    return [mean + part for part in PARTS[runs]]


def rows(runs: int, mean: float) -> dict[str, Measured]:
    b = {seed: 50.0 + 3 * seed for seed in range(runs)}
    a = {seed: b[seed] + part for seed, part in enumerate(differences(runs, mean))}
    return {"A": Measured(a, {}, 0), "B": Measured(b, {}, 0)}


@pytest.mark.parametrize("runs", [3, 10])
@pytest.mark.parametrize(
    ("side", "beyond", "below", "like", "asked"),
    [
        (-1, 0.1, "holds", "does not hold", "lowers the error"),
        (-1, -0.1, "not decided", "no difference found", "no effect found"),
        (+1, -0.1, "not decided", "no difference found", "no effect found"),
        (+1, 0.1, "the opposite holds", "does not hold", "raises the error"),
    ],
)
def test_an_interval_that_holds_zero_decides_nothing(
    runs: int, side: int, beyond: float, below: str, like: str, asked: str
) -> None:
    """The mean is on the same side of zero in the first two cases, and in the last two: it is the end that counts."""
    mean = side * (HALF[runs] + beyond)
    interval = mean_interval(differences(runs, mean))
    assert interval.half == pytest.approx(HALF[runs], rel=1e-6)
    found = rows(runs, mean)
    shown = f"{mean:+.2f} ± {HALF[runs]:.2f}"
    over = f"over {runs} pairs (T)"
    assert verdict(Claim("A", "B", True, "T"), found) == f"A below B: {below}; the difference is {shown} {over}"
    assert verdict(Claim("A", "B", False, "T"), found) == f"A like B: {like}; the difference is {shown} {over}"
    assert verdict(Claim("A", "B", None, "T"), found) == f"A minus B: {asked}, {shown} {over}"
    assert effect(interval, "seeds") == f"{asked}, {shown} over {runs} seeds"


def test_an_interval_that_ends_at_zero_decides_nothing() -> None:
    for mean in (-1.0, 1.0):
        assert effect(Interval(mean, 1.0, 3)).startswith("no effect found")
    same = {name: Measured({seed: 40.0 + seed for seed in range(3)}, {}, 0) for name in "AB"}
    assert ": not decided; " in verdict(Claim("A", "B", True, "T"), same)
    assert ": no difference found; " in verdict(Claim("A", "B", False, "T"), same)


def test_a_verdict_needs_three_pairs_and_pairs_are_seeds_that_both_rows_have() -> None:
    b = Measured({0: 50.0, 1: 51.0, 2: 52.0, 3: 53.0}, {}, 0)
    two = {"A": Measured({0: 40.0, 3: 43.1, 7: 1.0}, {}, 0), "B": b}
    three = {"A": Measured({0: 40.0, 3: 43.1, 2: 42.0, 7: 1.0}, {}, 0), "B": b}
    for lower in (True, False, None):
        assert "no verdict, fewer than 3 pairs" in verdict(Claim("A", "B", lower, "T"), two)
        assert "-9.97 ± 0.14 over 3 pairs" in verdict(Claim("A", "B", lower, "T"), three)
    lost = {"A": Measured({0: 40.0, 2: 42.0, 3: 43.1}, {1: "x"}, 0), "B": b._replace(diverged={5: "x", 6: "x"})}
    for lower in (True, False, None):
        assert "over 3 pairs, 3 runs that diverged left out (T)" in verdict(Claim("A", "B", lower, "T"), lost)


def numbers(row: Any) -> float | None:
    """What the paper reports, if it is a number."""
    try:
        return float(row.paper)
    except ValueError:
        return None


def test_what_the_paper_claims_holds_of_the_papers_own_numbers() -> None:
    """Runs that end with the errors of its tables, a little apart: every claim between two of these rows holds."""
    judged = 0
    of_study: list[tuple[Study, Any]] = [(TABLE1, ROWS_1B), (FIGURE1B, ROWS_1B), (TABLE2, ROWS_2)]
    for study, rows_ in of_study:
        reported = {row.label: number for row in rows_ if (number := numbers(row)) is not None}
        of_settings = {
            row.label: (row.settings["norm"], row.settings["norm_batch"], row.settings.get("backward_average"))
            for row in rows_
            if row.label in reported and "control" not in row.label
        }

        def error(config: RunConfig, known: dict[str, Any] = of_settings, told: dict[str, float] = reported) -> float:
            of_run = (config.norm, config.norm_batch, config.backward_average)
            paired = config.centralized == (config.norm in ("mabn", "modified-bn", "moving"))
            label = next((label for label, key in known.items() if key == of_run and paired), None)
            number = 80.0 if label is None else told[label]
            return number + (0.3, 0.0, -0.2)[(config.seed + len(config.norm)) % 3]

        outcome = study.outcome(CONTEXT, records(study.plan(CONTEXT, []), error))
        for line in outcome.verdicts:
            names, _, said = line.partition(": ")
            below = " below " in names
            pair = names.split(" below " if below else " like ")
            if all(name in reported for name in pair):
                assert said.startswith("holds; " if below else "no difference found; "), line
                assert said.partition(" (")[2].startswith(("Table ", "Figure "))
                judged += 1
    assert judged == 5 + 1 + 4  # of Table 1, Figure 1(b) and Table 2


@pytest.mark.parametrize("what", ["bias", "variance"])
@pytest.mark.parametrize(
    ("low", "high", "said"), [(-0.1, 0.1, "inside"), (0.1, 0.2, "outside"), (-0.2, -0.1, "outside")]
)
def test_theorem_1_is_inside_an_interval_that_holds_it(
    what: str, low: float, high: float, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Intervals from `low` to `high` around what is exact: the bias of the weights, the variance of (9) and (11)."""

    def simulated(expectation: Any, *, window: int, decay: float, **_: Any) -> Any:
        exact = theorems.exact_moments(expectation, window=window, decay=decay)
        stated = ((1 / 16), (1 - 0.98**600) * 0.02 / 1.98)
        found = []
        for (bias, variance), value in zip(exact, stated, strict=True):
            centres = {"bias": bias, "variance": np.full_like(variance, value)}
            moments = {
                name: theorems.Estimate(c, c + (low if name == what else -9), c + (high if name == what else 9))
                for name, c in centres.items()
            }
            found.append(theorems.Moments(**moments))
        return found

    monkeypatch.setattr(theorems, "average_moments", simulated)
    lines = theorem1.THEOREM1.outcome(Context((0,), {}), []).verdicts
    assert len(lines) == 20
    for line in lines:
        assert (f", {said} [" if line.startswith(what) else ", inside [") in line


@pytest.mark.parametrize(
    ("low", "mean", "high", "said"),
    [
        (0.7, 0.8, 0.9, "does not hold"),
        (0.7, 0.9, 1.1, "not decided"),
        (0.9, 1.1, 1.3, "not decided"),
        (1.1, 1.2, 1.3, "holds"),
    ],
)
def test_theorem_2_holds_where_the_whole_interval_is_above_one(
    low: float, mean: float, high: float, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gaps(*_: Any) -> dict[str, Any]:
        many = len(theorem2.BATCHES)
        return {name: [[mean] * many, [low] * many, [high] * many] for name in ("total", "noise")}

    monkeypatch.setattr(theorem2, "_gaps", gaps)
    lines = theorem2.THEOREM2.outcome(Context((0,), {}), []).verdicts
    printed = [line for line in lines if "printed" in line]
    assert printed
    assert all(f": {said}; " in line for line in printed)


@pytest.mark.parametrize(
    ("low", "high", "said"), [(-0.1, 0.1, "inside"), (0.1, 0.2, "outside"), (-0.2, -0.1, "outside")]
)
def test_theorem_2_is_inside_an_interval_that_holds_what_is_proven(
    low: float, high: float, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gaps(x: Any, u: Any, kind: str, *_: Any) -> dict[str, Any]:
        known = kind if kind in ("centred", "frozen") else "frozen"  # the others have no exact value to stand beside
        var_g, total, noise = theorems.exact_gaps(x, u, theorem2.BATCHES, statistics=known)
        return {
            name: [list(exact), list(exact + low), list(exact + high)]
            for name, exact in (("total", total / var_g), ("noise", noise / var_g))
        }

    monkeypatch.setattr(theorem2, "_gaps", gaps)
    lines = theorem2.THEOREM2.outcome(Context((0,), {}), []).verdicts
    assert len(lines) == 4
    assert all(f", {said} [" in line for line in lines)

"""Theorem 1 as a study."""

from __future__ import annotations

import json
import math
import re
from functools import partial
from pathlib import Path

import pytest

from mabn_ref.paper import theorem1, theorems
from mabn_ref.paper.study import Context
from mabn_ref.paper.theorem1 import THEOREM1


def test_theorem_1_finds_both_averages_late_under_a_drift() -> None:
    """eq: averages"""
    outcome = THEOREM1.outcome(Context((0,), {}), [])
    drift = {row[0].partition(": ")[2]: row[2] for row in outcome.tables[0].rows if row[0].startswith("drifts")}
    assert drift == {"simple": "-0.0750", "exponential": "-0.4889"}
    assert max(len(line) for table in outcome.tables for line in str(table).splitlines()) <= 80
    assert len(outcome.verdicts) == 20
    assert sum(", inside [" in line for line in outcome.verdicts) >= 16
    late = [line for line in outcome.verdicts if re.match(r"bias of the \w+ average, drifts", line)]
    assert [float(re.findall(r"[-+][\d.]+(?=])", line)[0]) < 0 for line in late] == [True, True]


def test_the_claimed_variances_are_sums_of_squared_weights() -> None:
    """eq: sma-moments (11), ema-moments (9)"""
    claimed = theorem1._claimed(range(1, 121))
    weights = [(1 - theorem1.DECAY) * theorem1.DECAY**age for age in range(120)]
    sums = [sum(weight**2 for weight in weights[:t]) for t in range(1, 121)]
    assert claimed[theorem1.EXPONENTIAL] == pytest.approx(sums, rel=1e-12)
    assert claimed[theorem1.SIMPLE][theorem1.WINDOW - 1 :] == [1 / theorem1.WINDOW] * (121 - theorem1.WINDOW)
    assert all(math.isnan(value) for value in claimed[theorem1.SIMPLE][: theorem1.WINDOW - 1])


def test_one_interval_in_twenty_misses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Far fewer would be intervals too wide to see a wrong formula, far more a wrong formula or interval."""
    monkeypatch.setattr(theorems, "average_moments", partial(theorems.average_moments, runs=1000))
    lines = [line for seed in range(12) for line in THEOREM1.outcome(Context((seed,), {}), []).verdicts]
    assert len(lines) == 240
    assert 4 <= sum(", outside [" in line for line in lines) <= 24


def test_the_committed_simulation_is_what_the_code_gives() -> None:
    file = Path(__file__).parents[2] / "docs" / "results" / "paper" / "theorem1.json"
    kept = json.loads(file.read_text(encoding="utf-8"))
    outcome = THEOREM1.outcome(Context(tuple(kept["seeds"]), {}), [])
    assert kept["verdicts"] == outcome.verdicts
    assert kept["notes"] == outcome.notes
    assert [table["rows"] for table in kept["tables"]] == [
        [list(row) for row in table.rows] for table in outcome.tables
    ]
    assert kept["data"] == outcome.data

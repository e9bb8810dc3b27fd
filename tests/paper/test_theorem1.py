"""Theorem 1 as a study."""

from __future__ import annotations

from mabn_ref.paper.study import Context
from mabn_ref.paper.theorem1 import THEOREM_1


def test_theorem_1_finds_emas_biased_and_smas_not() -> None:
    """eq: averages"""
    outcome = THEOREM_1.outcome(Context((0,), {}), [])
    drift = next(row for row in outcome.tables[0].rows if row[0].startswith("drifts"))
    assert (float(drift[3]), float(drift[4])) == (-0.075, -0.4889)
    assert sum("inside" in line for line in outcome.verdicts) >= 8
    assert len(outcome.verdicts) == 10

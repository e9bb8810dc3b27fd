"""Who gets the credit: errors that are made up of known effects."""

from __future__ import annotations

import pytest

from mabn_ref.paper.study import Outcome
from mabn_ref.paper.table4 import CREDIT, EFFECTS, ROWS_OF_CREDIT
from mabn_ref.train.config import RunConfig
from mabn_ref.train.table_layout import mean_interval, text
from tests.paper.made_up import CONTEXT, records


def cells(outcome: Outcome) -> dict[str, tuple[str, ...]]:
    (table,) = outcome.tables
    return {row[0]: row[1:] for row in table.rows}


def test_an_effect_is_a_difference_of_rows_that_are_run() -> None:
    labels = {row.label for row in ROWS_OF_CREDIT}
    for name, errors, gap in EFFECTS:
        assert set(errors) <= labels, name
        assert sum(errors.values()) == 0, name
        assert gap is None or set(gap) <= labels
        weights = {"WC" in label for label in errors}
        if gap is not None and len(weights) == 1:
            assert {"WC" in label for label in gap} == weights, f"{name}: of the gap at the same weights"


def test_what_helps_every_row_alike_closes_nothing_of_the_gap() -> None:
    """Two samples cost 8, centralised weights take 4 off every row, the averages 2 and, over m = 64, 6."""

    def error(config: RunConfig) -> float:
        averages = 0 if config.norm != "mabn" else 6 if config.window == 64 else 2
        return 50 + config.seed + 8 * (config.norm_batch == 2) - 4 * config.centralized - averages

    outcome = CREDIT.outcome(CONTEXT, records(CREDIT.plan(CONTEXT, []), error))
    assert cells(outcome) == {
        "the gap: BN 2 minus BN 32": ("3", "+8.00 ± 0.00", "-"),
        "the gap with WC: BN 2 minus BN 32": ("3", "+8.00 ± 0.00", "-"),
        "WC on BN 2, beyond what it does to BN 32": ("3", "+0.00 ± 0.00", "+0.00 ± 0.00"),
        "form, with WC": ("3", "+0.00 ± 0.00", "+0.00 ± 0.00"),
        "averages (m = 16), with WC": ("3", "-2.00 ± 0.00", "+25.00 ± 0.00"),
        "form and averages (m = 16), with WC": ("3", "-2.00 ± 0.00", "+25.00 ± 0.00"),
        "form and averages (m = 64), with WC": ("3", "-6.00 ± 0.00", "+75.00 ± 0.00"),
        "form and averages (m = 16), without WC": ("3", "-2.00 ± 0.00", "+25.00 ± 0.00"),
        "WC on MABN 2, beyond what it does to BN 2": ("3", "+0.00 ± 0.00", "-"),
    }
    assert (
        outcome.verdicts[2] == "WC on BN 2, beyond what it does to BN 32: no effect found, +0.00 ± 0.00 over 3 seeds"
    )
    assert [difference and difference.mean for difference in outcome.differences] == [8, 8, 0, 0, -2, -2, -6, -2, 0]


def test_what_needs_centralised_weights_is_an_interaction_and_no_effect_of_theirs_on_the_gap() -> None:
    """MABN gains 4 of a gap of 10 on centralised weights and loses 1 without; these do nothing to batch norm.

    The form alone, on centralised weights, loses 2 that the averages win back.
    """

    def error(config: RunConfig) -> float:
        mabn = 0 if config.norm != "mabn" else -4 if config.centralized else 1
        return 50 + 10 * (config.norm_batch == 2) + mabn + 2 * (config.norm == "modified-bn")

    found = cells(CREDIT.outcome(CONTEXT, records(CREDIT.plan(CONTEXT, []), error)))
    assert found["WC on BN 2, beyond what it does to BN 32"][1:] == ("+0.00 ± 0.00", "+0.00 ± 0.00")
    assert found["form, with WC"][1:] == ("+2.00 ± 0.00", "-20.00 ± 0.00")
    assert found["averages (m = 16), with WC"][1:] == ("-6.00 ± 0.00", "+60.00 ± 0.00")
    assert found["form and averages (m = 16), with WC"][1:] == ("-4.00 ± 0.00", "+40.00 ± 0.00")
    assert found["form and averages (m = 16), without WC"][1:] == ("+1.00 ± 0.00", "-10.00 ± 0.00")
    assert found["WC on MABN 2, beyond what it does to BN 2"][1:] == ("-5.00 ± 0.00", "-")


def test_differences_and_shares_are_formed_seed_by_seed() -> None:
    gap, closed = (4.0, 8.0, 10.0), (1.0, 4.0, 2.5)  # shares of 25, 50 and 25 %

    def error(config: RunConfig) -> float:
        small = gap[config.seed] * (1 if config.centralized else 2) if config.norm_batch == 2 else 0.0
        return 50 + 7 * config.seed + small - closed[config.seed] * (config.norm == "mabn")

    found = cells(CREDIT.outcome(CONTEXT, records(CREDIT.plan(CONTEXT, []), error)))
    assert found["the gap with WC: BN 2 minus BN 32"][1] == text(mean_interval(gap), "+")
    row = found["form and averages (m = 16), with WC"]
    assert row[1:] == (text(mean_interval([-1.0, -4.0, -2.5]), "+"), text(mean_interval([25.0, 50.0, 25.0]), "+"))
    row = found["form and averages (m = 16), without WC"]  # of the gap without, which is twice as wide
    assert row[2] == text(mean_interval([12.5, 25.0, 12.5]), "+")
    assert found["WC on BN 2, beyond what it does to BN 32"][2] == "+50.00 ± 0.00"


def test_without_a_gap_in_every_seed_there_is_no_share_of_it() -> None:
    for gaps in ((4.0, 0.0, 5.0), (4.0, -1.0, 5.0)):
        runs = CREDIT.plan(CONTEXT, [])
        found = cells(
            CREDIT.outcome(CONTEXT, records(runs, lambda c, gaps=gaps: 50 + gaps[c.seed] * (c.norm_batch == 2)))
        )
        assert {row[2] for row in found.values()} == {"-"}


@pytest.mark.parametrize("status", ["diverged", "missing"])
def test_a_seed_that_a_row_lacks_is_left_out_and_named_if_it_diverged(status: str) -> None:
    found = records(CREDIT.plan(CONTEXT, []), lambda config: 50 + config.norm_batch)
    (lost,) = (r for r in found if r["config"]["seed"] == 1 and r["config"]["window"] == 64)
    if status == "missing":
        found.remove(lost)
    else:
        lost |= {"status": "diverged", "message": "x", "epochs": []}
    outcome = CREDIT.outcome(CONTEXT, found)
    assert {row[0] for row in cells(outcome).values()} == {"2"}
    assert all("no verdict" in line for line in outcome.verdicts)
    named = outcome.notes[-1] == "Seeds are left out where one of these diverged: MABN 2 + WC, m = 64."
    assert named == (status == "diverged")

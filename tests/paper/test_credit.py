"""Who gets the credit: shares of made-up errors."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from mabn_ref.experiments.config import RunConfig
from mabn_ref.paper.credit import CREDIT, shares
from tests.paper.made_up import CONTEXT, records


def test_shares_add_up_and_give_a_factor_without_effect_nothing() -> None:
    rng = np.random.default_rng(0)
    errors = {on: float(rng.standard_normal()) for on in product((False, True), repeat=4)}
    assert sum(shares(errors)) == pytest.approx(errors[(True,) * 4] - errors[(False,) * 4])
    additive = {on: 50.0 - 3 * on[0] + 2 * on[2] for on in errors}
    np.testing.assert_allclose(shares(additive), [-3, 0, 2, 0], atol=1e-12)


def test_the_credit_study_finds_what_was_put_in() -> None:
    """An error that falls by 5 with centralised weights, by 3 with averages in backward, and no other way."""

    def error(config: RunConfig) -> float:
        return 50 + config.seed - 5 * config.centralized - 3 * (config.backward_average == "sma")

    runs = CREDIT.plan(CONTEXT, [])
    outcome = CREDIT.outcome(CONTEXT, records(runs, error))
    effects = [[row[1:] for row in table.rows] for table in outcome.tables]
    nothing, both = ("3", "+0.00 ± 0.00"), ("3", "-3.00 ± 0.00")
    assert effects[0] == [("3", "-5.00 ± 0.00"), nothing, both, ("3", "-8.00 ± 0.00")]
    assert effects[1] == [("3", "-5.00 ± 0.00"), nothing, nothing, both]
    assert effects[2] == [("3", "-5.00 ± 0.00"), nothing, nothing, both, both]
    assert outcome.verdicts[0] == "weight centralisation: lowers the error, -5.00 ± 0.00 over 3 seeds"
    assert "no effect found" in outcome.verdicts[1]
    assert outcome.verdicts[3] == "averages in forward, taken apart: no effect found, +0.00 ± 0.00 over 3 seeds"


def test_what_averages_do_only_together_is_theirs_and_forward_and_backward_alone_are_told_apart() -> None:
    """Averages in one direction cost 20, in both they gain 4: the pair has the gain, and the halves have two each."""

    def error(config: RunConfig) -> float:
        averages = (config.forward_average == "sma") + (config.backward_average == "sma")
        return 50 + config.seed + (0, 20, -4)[averages]

    tables = CREDIT.outcome(CONTEXT, records(CREDIT.plan(CONTEXT, []), error)).tables
    assert [row[2] for row in tables[0].rows] == ["+0.00 ± 0.00", "+0.00 ± 0.00", "-4.00 ± 0.00", "-4.00 ± 0.00"]
    assert [row[2] for row in tables[1].rows[2:]] == ["-2.00 ± 0.00", "-2.00 ± 0.00"]
    assert [row[2] for row in tables[2].rows[2:]] == ["+20.00 ± 0.00", "-24.00 ± 0.00", "-4.00 ± 0.00"]


def test_seeds_with_a_diverged_cell_are_left_out_of_the_credit_and_named() -> None:
    runs = CREDIT.plan(CONTEXT, [])
    found = records(runs, lambda config: 50 - config.centralized)
    for record in found:
        config = record["config"]
        cell = config["form"], config["forward_average"], config["backward_average"], config["centralized"]
        if cell == ("vanilla", "sma", "sma", False) and config["seed"] == 1:
            record |= {"status": "diverged", "message": "x", "epochs": []}
    outcome = CREDIT.outcome(CONTEXT, found)
    assert {row[1] for row in outcome.tables[0].rows} == {"2"}
    assert all("no verdict" in line for line in outcome.verdicts)
    assert outcome.notes[-1] == "Seeds are left out where one of these diverged: vanilla SMAS/SMAS."

"""The rows of the tables, the factorial's shares, and the search."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from mabn_ref.experiments.config import RunConfig
from mabn_ref.experiments.rows import is_control, recipe
from mabn_ref.experiments.runs import run_one
from mabn_ref.paper import ablations, search
from mabn_ref.paper.ablations import shares
from mabn_ref.paper.studies import STUDIES
from mabn_ref.paper.study import Context

CONTEXT = Context((0, 1, 2), {"epochs": 1})


def records(configs: list[RunConfig], error: Any) -> list[dict[str, Any]]:
    """Records whose errors are a function of the configuration."""
    return [
        {
            "status": "done",
            "message": None,
            "config": config.as_dict(),
            "epochs": [{"test_error": float(error(config))}],
        }
        for config in configs
    ]


@pytest.mark.parametrize("name", [name for name, study in STUDIES.items() if study.plan(CONTEXT, [])])
def test_a_study_without_any_run_says_so_and_claims_nothing(name: str) -> None:
    outcome = STUDIES[name].outcome(CONTEXT, [])
    if name != "theorem2":  # half of which is a simulation
        assert all("no verdict" in line for line in outcome.verdicts)
    assert all(str(table) for table in outcome.tables)


def test_the_sizes_of_the_studies() -> None:
    runs = {name: len(study.plan(CONTEXT, [])) for name, study in STUDIES.items()}
    assert runs == {
        "table1": 3 * 12,
        "figure1b": 3 * 36,
        "table2": 3 * 13,
        "table4": 3 * 36,
        "credit": 3 * 36,
        "window": 3 * (7 + 2 * 8 + 3),
        "search": 2 * 5 * search.BUDGET,
        "figures": 9,
        "theorem1": 0,
        "theorem2": 3,
        "equation6": 18,
        "table8": 3 * 10,
        "table9": 0,
    }
    assert set(STUDIES["table1"].plan(CONTEXT, [])) <= set(STUDIES["figure1b"].plan(CONTEXT, []))


def test_table_2_has_the_papers_eight_rows_and_says_which_are_controls() -> None:
    outcome = ablations.TABLE_2.outcome(CONTEXT, [])
    labels = [row[0] for row in outcome.tables[0].rows]
    assert [label[:3] for label in labels[:8]] == [f"({n})" for n in range(1, 9)]
    for row in ablations._ROWS_2:
        config = RunConfig(**{"centralized": row.settings["norm"] in ("mabn", "modified-bn"), **row.settings})
        assert is_control(config) == row.label.endswith("(control)"), row.label
        assert ("+ WC" in row.label) == config.centralized, row.label


def test_every_row_that_diverged_is_shown() -> None:
    runs = ablations.TABLE_2.plan(CONTEXT, [])
    found = records(runs, lambda config: 40 + config.seed)
    for record in found:
        if record["config"]["norm"] == "moving" and record["config"]["backward_average"] == "sma":
            record |= {"status": "diverged", "message": "step 9: the loss is nan", "epochs": []}
    outcome = ablations.TABLE_2.outcome(CONTEXT, found)
    fifth = next(row for row in outcome.tables[0].rows if row[0].startswith("(5)"))
    assert fifth[1:5] == ("diverged", "0, 3 diverged", "diverged", "none")
    assert "diverged in 3 of 3 runs here" in outcome.notes[0]


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

    runs = ablations.CREDIT.plan(CONTEXT, [])
    outcome = ablations.CREDIT.outcome(CONTEXT, records(runs, error))
    assert [row[1:] for row in outcome.tables[0].rows] == [
        ("3", "-5.00 ± 0.00"),
        ("3", "+0.00 ± 0.00"),
        ("3", "+0.00 ± 0.00"),
        ("3", "-3.00 ± 0.00"),
        ("3", "-8.00 ± 0.00"),
    ]
    assert [row[2] for row in outcome.tables[1].rows] == [
        "-5.00 ± 0.00",
        "+0.00 ± 0.00",
        "+0.00 ± 0.00",
        "-3.00 ± 0.00",
    ]
    assert outcome.verdicts[0] == "weight centralisation: lowers the error, -5.00 ± 0.00 over 3 seeds"
    assert "no effect found" in outcome.verdicts[1]


def test_seeds_with_a_diverged_cell_are_left_out_of_the_credit_and_named() -> None:
    runs = ablations.CREDIT.plan(CONTEXT, [])
    found = records(runs, lambda config: 50 - config.centralized)
    for record in found:
        config = record["config"]
        cell = config["form"], config["forward_average"], config["backward_average"], config["centralized"]
        if cell == ("vanilla", "sma", "sma", False) and config["seed"] == 1:
            record |= {"status": "diverged", "message": "x", "epochs": []}
    outcome = ablations.CREDIT.outcome(CONTEXT, found)
    assert {row[1] for row in outcome.tables[0].rows} == {"2"}
    assert all("no verdict" in line for line in outcome.verdicts)
    assert outcome.notes[-1] == "Seeds are left out where one of these diverged: vanilla SMAS/SMAS."


def test_the_search_gives_every_method_the_same_budget_and_reports_on_other_seeds() -> None:
    of_all = search.candidates(CONTEXT)
    assert {len(rows) for rows in of_all.values()} == {search.BUDGET}
    assert not set(search.SEARCH_SEEDS) & set(CONTEXT.seeds)

    def error(config: RunConfig) -> float:
        return 50 - 4 * (config.norm == "brn" and config.ramp == 0.25 and config.decay == 0.9) + 0.1 * config.seed % 1

    first = search.SEARCH.plan(CONTEXT, [])
    assert {run.seed for run in first} == set(search.SEARCH_SEEDS)
    found = records(first, error)
    row = search.best("BRN 2", CONTEXT, found)
    assert row is not None
    assert (row.settings["ramp"], row.settings["decay"]) == (0.25, 0.9)
    second = search.SEARCH.plan(CONTEXT, found)
    assert second[: len(first)] == first
    assert {run.seed for run in second[len(first) :]} == set(CONTEXT.seeds)
    assert len(second) == len(first) + 5 * 3
    outcome = search.SEARCH.outcome(CONTEXT, records(second, error))
    assert "BRN 2 below BN 2: holds" in outcome.verdicts[0]
    assert search.SEARCH.plan(CONTEXT, records(second, error)) == second


def test_the_tables_have_the_tuned_row_once_there_was_a_search() -> None:
    searched = records(search.SEARCH.plan(CONTEXT, []), lambda config: 40 + 5 * (config.ramp or 0))
    for study in (ablations.TABLE_1, ablations.TABLE_2):
        plain, tuned = study.plan(CONTEXT, []), study.plan(CONTEXT, searched)
        assert {(run.norm, run.ramp) for run in set(tuned) - set(plain)} == {("brn", 0.25)}
        assert len(tuned) == len(plain) + 3
        outcome = study.outcome(CONTEXT, [*searched, *records(tuned, lambda config: 50 + config.seed)])
        assert outcome.tables[0].rows[-1][:4] == (ablations.TUNED, "-", "3", "51.00 ± 2.48")
        assert any("best of 6 settings" in note for note in outcome.notes)
        assert any("After `mabn-ref paper search`" in note for note in study.outcome(CONTEXT, []).notes)


def test_a_setting_that_diverged_is_not_chosen() -> None:
    found = records(search.SEARCH.plan(CONTEXT, []), lambda config: 30 if config.decay == 0.9 else 60)
    for record in found:
        if record["config"]["decay"] == 0.9 and record["config"]["seed"] == 1000:
            record |= {"status": "diverged", "message": "x", "epochs": []}
    row = search.best("BN 2", CONTEXT, found)
    assert row is not None
    assert row.settings["decay"] == 0.98


@pytest.mark.parametrize(
    ("norm", "form", "forward", "backward"),
    [
        ("bn", "vanilla", "batch", "batch"),
        ("modified-bn", "modified", "batch", "batch"),
        ("mabn", "modified", "sma", "sma"),
    ],
)
def test_the_cells_that_are_normalisers_train_as_they_do(norm: str, form: str, forward: str, backward: str) -> None:
    """The same run but for rounding, r and its start, clip, window and decay included."""
    tiny: dict[str, Any] = {"width": 4, "epochs": 3, "train_size": 96, "test_size": 20, "norm_batch": 2}
    tiny |= {"renorm_after": 4, "clip": 1.1}
    theirs = run_one(recipe(norm, **tiny))
    averages = {"form": form, "forward_average": forward, "backward_average": backward}
    ours = run_one(recipe("moving", **averages, **tiny))
    for a, b in zip(ours["epochs"], theirs["epochs"], strict=True):
        assert a["train_loss"] == pytest.approx(b["train_loss"], rel=2e-4)
        assert a["test_error"] == b["test_error"]
    other = run_one(recipe("moving", **averages | {"forward_average": "ema"}, **tiny))
    assert other["epochs"][-1]["train_loss"] != pytest.approx(theirs["epochs"][-1]["train_loss"], rel=2e-4)

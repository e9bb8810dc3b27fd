"""The search: the same budget for every method, on seeds of its own; and the row that it gives the tables."""

from __future__ import annotations

from mabn_ref.paper import search
from mabn_ref.paper.search import TUNED
from mabn_ref.paper.table1_table2 import TABLE1, TABLE2
from mabn_ref.train.config import RunConfig
from tests.paper.made_up import CONTEXT, records


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
    assert len(second) == len(first) + 6 * 3
    outcome = search.SEARCH.outcome(CONTEXT, records(second, error))
    assert "BRN 2 below BN 2: holds" in outcome.verdicts[0]
    assert search.SEARCH.plan(CONTEXT, records(second, error)) == second


def test_the_tables_have_the_tuned_row_once_there_was_a_search() -> None:
    searched = records(search.SEARCH.plan(CONTEXT, []), lambda config: 40 + 5 * (config.ramp or 0))
    for study in (TABLE1, TABLE2):
        plain, tuned = study.plan(CONTEXT, []), study.plan(CONTEXT, searched)
        assert {(run.norm, run.ramp) for run in set(tuned) - set(plain)} == {("brn", 0.25)}
        assert len(tuned) == len(plain) + 3
        outcome = study.outcome(CONTEXT, [*searched, *records(tuned, lambda config: 50 + config.seed)])
        assert outcome.tables[0].rows[-1][:4] == (TUNED, "-", "3", "51.00 ± 2.48")
        assert any("best of 6 settings" in note for note in outcome.notes)
        assert any("After `mabn-ref paper search`" in note for note in study.outcome(CONTEXT, []).notes)


def test_a_table_says_when_the_best_is_what_it_has() -> None:
    """A factor of one leaves the schedule as it is; the default decay of Batch Renormalization is 0.99."""
    for chosen, said in (((0.99, 1.0), True), ((0.9, 1.0), False), ((0.99, 2.0), False)):
        searched = records(
            search.SEARCH.plan(CONTEXT, []),
            lambda config, chosen=chosen: 40 - ((config.decay, config.ramp) == chosen),
        )
        notes = TABLE1.outcome(CONTEXT, searched).notes
        assert any("which turn out to be those it has" in note for note in notes) is said


def test_the_best_setting_has_the_lowest_mean_and_not_the_luckiest_seed() -> None:
    def error(config: RunConfig) -> float:
        lucky = config.decay == 0.9 and config.lr < 0.02
        return (10.0, 60.0)[config.seed % 2] if lucky else 30.0 if config.lr > 0.05 and config.decay == 0.98 else 40.0

    row = search.best("BN 2", CONTEXT, records(search.SEARCH.plan(CONTEXT, []), error))
    assert row is not None
    assert (row.settings["decay"], row.settings["lr"]) == (0.98, 0.06)


def test_rates_are_halved_and_doubled_from_that_of_the_run() -> None:
    for rate, context in ((0.03, CONTEXT), (0.1, CONTEXT._replace(settings={"epochs": 1, "lr": 0.1}))):
        of_all = search.candidates(context)
        for method in ("BN 2", "BN 2 + WC", "modified BN 2 + WC", "BN 32"):
            rates = [row.settings["lr"] for row in of_all[method]]
            assert rates == [rate / 2, rate, 2 * rate] * 2
            assert [row.label.rpartition(" ")[2] for row in of_all[method]] == ["0.5", "1.0", "2.0"] * 2
        assert not any("lr" in row.settings for method in ("BRN 2", "MABN 2 + WC") for row in of_all[method])


def test_the_defaults_are_shown_beside_the_best_if_they_were_run() -> None:
    def error(config: RunConfig) -> float:
        return 40.0 + 5 * (config.lr == 0.03) + 10 * (config.ramp is None) + 2 * (config.window is None)

    planned = search.SEARCH.plan(CONTEXT, [])
    found = records(planned, error)
    found = records(search.SEARCH.plan(CONTEXT, found), error)
    assert len(search.SEARCH.outcome(CONTEXT, found).tables) == 7
    found += records(TABLE1.plan(CONTEXT, []), error)
    *_, best, defaults = search.SEARCH.outcome(CONTEXT, found).tables
    shown = {row[0]: row[3] for row in best.rows}, {row[0]: row[3] for row in defaults.rows}
    assert shown[0]["BRN 2"] == "47.00 ± 0.00"
    assert shown[1]["BRN 2, default"] == "57.00 ± 0.00"
    assert set(shown[1]) == {f"{name}, default" for name in ("BN 2", "BN 2 + WC", "BRN 2", "MABN 2 + WC", "BN 32")}


def test_no_setting_is_best_if_all_diverged() -> None:
    found = records(search.SEARCH.plan(CONTEXT, []), lambda config: 40)
    for record in found:
        record |= {"status": "diverged", "message": "x", "epochs": []}
    assert search.best("BRN 2", CONTEXT, found) is None
    assert len(search.SEARCH.plan(CONTEXT, found)) == len(found)


def test_there_is_no_best_setting_while_one_run_of_the_method_is_missing() -> None:
    found = records(search.SEARCH.plan(CONTEXT, []), lambda config: 40 + config.decay)
    of_method = [record for record in found if record["config"]["norm"] == "brn"]
    assert len(of_method) == search.BUDGET * len(search.SEARCH_SEEDS)
    for record in of_method:
        rest = [other for other in found if other is not record]
        assert search.best("BRN 2", CONTEXT, rest) is None
        assert search.best("MABN 2 + WC", CONTEXT, rest) is not None


def test_a_setting_that_diverged_is_not_chosen() -> None:
    found = records(search.SEARCH.plan(CONTEXT, []), lambda config: 30 if config.decay == 0.9 else 60)
    for record in found:
        if record["config"]["decay"] == 0.9 and record["config"]["seed"] == 1000:
            record |= {"status": "diverged", "message": "x", "epochs": []}
    row = search.best("BN 2", CONTEXT, found)
    assert row is not None
    assert row.settings["decay"] == 0.98
    table = search.SEARCH.outcome(CONTEXT, found).tables[0]
    assert next(line[1:] for line in table.rows if "decay 0.9," in f"{line[0]},") == ("1, 1 diverged", "diverged")
    assert {line[1:] for line in search.SEARCH.outcome(CONTEXT, []).tables[0].rows} == {("0, 2 missing", "none")}

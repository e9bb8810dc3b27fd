"""The rows of Table 2."""

from __future__ import annotations

from mabn_ref.paper.table1_table2 import ROWS_2, TABLE2
from mabn_ref.train.config import RunConfig, is_control
from tests.paper.made_up import CONTEXT, records


def test_table_2_has_the_papers_eight_rows_and_says_which_are_controls() -> None:
    outcome = TABLE2.outcome(CONTEXT, [])
    labels = [row[0] for row in outcome.tables[0].rows]
    assert [label[:3] for label in labels[:8]] == [f"({n})" for n in range(1, 9)]
    for row in ROWS_2:
        config = RunConfig(**{"centralized": row.settings["norm"] in ("mabn", "modified-bn"), **row.settings})
        assert is_control(config) == row.label.endswith("(control)"), row.label
        assert ("+ WC" in row.label) == config.centralized, row.label


def test_every_row_that_diverged_is_shown() -> None:
    runs = TABLE2.plan(CONTEXT, [])
    found = records(runs, lambda config: 40 + config.seed)
    for record in found:
        if record["config"]["norm"] == "moving" and record["config"]["backward_average"] == "sma":
            record |= {"status": "diverged", "message": "step 9: the loss is nan", "epochs": []}
    outcome = TABLE2.outcome(CONTEXT, found)
    fifth = next(row for row in outcome.tables[0].rows if row[0].startswith("(5)"))
    assert fifth[1:5] == ("diverged", "0, 3 diverged", "diverged", "none")
    assert "diverged in 3 of 3 runs here" in outcome.notes[0]

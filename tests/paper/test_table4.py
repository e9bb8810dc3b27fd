"""Table 4: every cell of the factorial in its place."""

from __future__ import annotations

from typing import Any

from mabn_ref.paper.table4 import TABLE4
from mabn_ref.train.config import RunConfig
from tests.paper.made_up import CONTEXT, records

AVERAGES = ("batch", "sma", "ema")


def test_cells_are_in_the_row_of_forward_and_the_column_of_backward() -> None:
    def error(config: RunConfig) -> float:
        ahead, back = (AVERAGES.index(a or "") for a in (config.forward_average, config.backward_average))
        return 40 + 20 * (config.form == "modified") + 10 * config.centralized + 3 * ahead + back

    outcome = TABLE4.outcome(CONTEXT, records(TABLE4.plan(CONTEXT, []), error))
    starts = {"vanilla form:": 40, "vanilla form + WC:": 50, "modified form:": 60, "modified form + WC:": 70}
    for (title, start), table in zip(starts.items(), outcome.tables, strict=True):
        assert table.title == f"{title} test error %, 3 runs a cell"
        assert table.header[1:] == ("backward BS", "backward SMAS", "backward EMAS")
        cells = [[float(cell.partition(" ")[0]) for cell in row[1:]] for row in table.rows]
        assert cells == [[start + 3 * ahead + back for back in range(3)] for ahead in range(3)]


def test_a_title_says_how_many_runs_cells_have() -> None:
    """From the fewest to the most; one of the last row has lost two runs here, one of the third table one."""

    def lost(config: dict[str, Any]) -> bool:
        averages = config["forward_average"], config["backward_average"], config["centralized"]
        if config["form"] == "vanilla" and averages == ("ema", "sma", False):
            return config["seed"] > 0
        return config["form"] == "modified" and averages == ("sma", "batch", False) and config["seed"] == 1

    found = [r for r in records(TABLE4.plan(CONTEXT, []), lambda config: 40.0) if not lost(r["config"])]
    titles = [table.title.rpartition(", ")[2] for table in TABLE4.outcome(CONTEXT, found).tables]
    assert titles == ["1-3 runs a cell", "3 runs a cell", "2-3 runs a cell", "3 runs a cell"]

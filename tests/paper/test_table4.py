"""Table 4: every cell of the factorial in its place."""

from __future__ import annotations

from mabn_ref.experiments.config import RunConfig
from mabn_ref.paper.table4 import TABLE_4
from tests.paper.made_up import CONTEXT, records

AVERAGES = ("batch", "sma", "ema")


def test_cells_are_in_the_row_of_forward_and_the_column_of_backward() -> None:
    def error(config: RunConfig) -> float:
        ahead, back = (AVERAGES.index(a or "") for a in (config.forward_average, config.backward_average))
        return 40 + 20 * (config.form == "modified") + 10 * config.centralized + 3 * ahead + back

    outcome = TABLE_4.outcome(CONTEXT, records(TABLE_4.plan(CONTEXT, []), error))
    starts = {"vanilla form:": 40, "vanilla form + WC:": 50, "modified form:": 60, "modified form + WC:": 70}
    for (title, start), table in zip(starts.items(), outcome.tables, strict=True):
        assert table.title == f"{title} test error %, 3 runs a cell"
        assert table.header[1:] == ("backward BS", "backward SMAS", "backward EMAS")
        cells = [[float(cell.partition(" ")[0]) for cell in row[1:]] for row in table.rows]
        assert cells == [[start + 3 * ahead + back for back in range(3)] for ahead in range(3)]

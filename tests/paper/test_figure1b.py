"""Figure 1(b): every method at every |B|, with centralised weights and without."""

from __future__ import annotations

from mabn_ref.paper.table1_table2 import FIGURE1B, ROWS_1B, SIZES, TABLE1
from mabn_ref.train.config import RunConfig, is_control
from tests.paper.made_up import CONTEXT, records


def error(config: RunConfig) -> float:
    """A number that says which run it was."""
    return 10 * ("bn", "brn", "mabn").index(config.norm) + 5 * config.centralized + config.norm_batch / 10


def test_the_lines_are_methods_and_the_columns_sizes() -> None:
    outcome = FIGURE1B.outcome(CONTEXT, records(FIGURE1B.plan(CONTEXT, []), error))
    (table,) = outcome.tables
    assert table.header == ("|B|", *map(str, SIZES))
    assert "over 3 runs" in table.title
    names = ["BN", "BN + WC (control)", "BRN", "BRN + WC (control)", "MABN (control)", "MABN + WC"]
    for first, name, row in zip((0, 5, 10, 15, 20, 25), names, table.rows, strict=True):
        assert row == (name, *(f"{first + size / 10:.2f} ± 0.00" for size in SIZES))
    for row_ in ROWS_1B:
        assert is_control(RunConfig(**row_.settings)) == row_.label.endswith("(control)")


def test_table_1_is_its_two_ends() -> None:
    outcome = TABLE1.outcome(CONTEXT, records(TABLE1.plan(CONTEXT, []), error))
    shown = {row[0]: row[1:5] for row in outcome.tables[0].rows}
    assert len(shown) == 12
    assert shown["MABN 2 + WC"] == ("23.58", "3", "25.20 ± 0.00", "+22.00 ± 0.00")
    assert shown["BN 32"] == ("23.41", "3", "3.20 ± 0.00", "-")

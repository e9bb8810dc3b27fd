"""The window: what its rows set, and what its verdicts compare."""

from __future__ import annotations

import re

from mabn_ref.paper.table1_table2 import ROWS_OF_WINDOW, WINDOW
from mabn_ref.train.config import RunConfig
from tests.paper.made_up import CONTEXT, records


def test_labels_say_what_rows_set() -> None:
    for row in ROWS_OF_WINDOW:
        if not row.label.startswith("m ="):
            continue
        config = RunConfig(**row.settings)
        m, _, around = row.label.partition(", ")
        assert config.window == (None if m == "m = 16" else int(m.removeprefix("m = ")))
        name, _, value = around.rpartition(" ")
        default = RunConfig(norm="mabn", norm_batch=2)
        set_here = {"decay": config.decay, "clip": config.clip, "r from gradient batch": config.renorm_after}
        usual = {"decay": default.decay, "clip": default.clip, "r from gradient batch": default.renorm_after}
        expected = usual if not around else usual | {name: 10**6 if value == "never" else float(value)}
        assert set_here == expected, row.label


def test_verdicts_find_what_was_put_in() -> None:
    """An error that falls with the window up to 64 and no further, and rises without r."""

    def error(config: RunConfig) -> float:
        if config.norm == "bn":
            return 40.0
        return 60 - min(config.window or 16, 64) / 4 + 3 * (config.renorm_after == 10**6) + 0.1 * config.seed

    outcome = WINDOW.outcome(CONTEXT, records(WINDOW.plan(CONTEXT, []), error))
    judged = [re.split("[;,]", line.partition(": ")[2])[0] for line in outcome.verdicts]
    assert judged == ["holds", "does not hold", "holds", "no effect found", "holds"]
    assert "-3.00 ± 0.00" in outcome.verdicts[2]

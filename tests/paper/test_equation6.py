"""Equation (6): the study of statistics of all training images."""

from __future__ import annotations

from typing import Any

from mabn_ref.paper.equation6 import EQUATION6
from mabn_ref.paper.study import Context


def test_each_error_in_its_own_column_and_what_diverged_counts_as_such() -> None:
    context = Context((0, 1, 2), {})
    records: list[dict[str, Any]] = []
    for config in EQUATION6.plan(context, []):
        record: dict[str, Any] = {"config": config.as_dict(), "status": "done", "message": None, "epochs": []}
        record["epochs"].append({"test_error": 40.0 + config.seed})
        record |= {"population_error": 42.0 + config.seed, "augmented_error": 39.0 + config.seed}
        if config.norm == "mabn":
            record = {"config": config.as_dict(), "status": "diverged", "message": "loss is nan", "epochs": []}
        records.append(record)
    outcome = EQUATION6.outcome(context, records)
    (first, *_, last) = outcome.tables[0].rows
    assert first[1:] == ("3", "41.00 ± 2.48", "43.00 ± 2.48", "+2.00 ± 0.00", "40.00 ± 2.48", "-1.00 ± 0.00")
    assert last == ("MABN 2 + WC", "0", "diverged", "diverged", "none", "diverged", "none")
    assert outcome.verdicts[0].startswith("BN 32, training images: raises the error, +2.00")
    assert outcome.verdicts[1].startswith("BN 32, augmented: lowers the error, -1.00")
    assert outcome.data["augmented_error"][-1]["missing"] == 0
    assert "as the network saw them" in outcome.notes[1]
    assert "not how the network" in EQUATION6.outcome(context._replace(settings={"augment": False}), []).notes[1]

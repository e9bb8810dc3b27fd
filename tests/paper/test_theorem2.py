"""Theorem 2 as a study."""

from __future__ import annotations

import re

import pytest

from mabn_ref.paper import theorem2
from mabn_ref.paper.study import Context
from mabn_ref.train.config import recipe


def test_theorem_2_on_made_up_and_on_recorded_activations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(theorem2, "_RUNS", 200)
    monkeypatch.setattr(theorem2, "_CHANNELS", 2)
    config = recipe("bn", norm_batch=32, width=4, epochs=1, train_size=96, test_size=10)
    record = theorem2.run_gaps(config)
    context = Context((0,), {"width": 4, "epochs": 1, "train_size": 96, "test_size": 10})
    outcome = theorem2.THEOREM2.outcome(context, [record])
    printed, repaired = outcome.verdicts[:2]
    assert re.search(
        r"printed: \+1 or more; .*: does not hold; proven -1\.000, inside \[.*\] around .* -(0\.9|1\.0)\d+$", printed
    )
    assert re.search(r"repaired: about \+1; .*: proven \+1\.000, inside \[.*\] around .* \+1\.00\d$", repaired)
    frozen = re.findall(r"proven (.*), inside \[(.*), (.*)\]", "\n".join(outcome.verdicts[2:]))
    assert [float(low) <= float(proven) <= float(high) for proven, low, high in frozen] == [True, True]
    sources = {row[0].partition(":")[0] for row in outcome.tables[0].rows}
    assert sources == {"made up", "norm2, seed 0", "norm4, seed 0", "norm6, seed 0"}
    for found in outcome.data.values():  # brought to one scale the vanilla form never has the larger total variance
        assert all(mean < 0 for channel in found["scaled"] for mean in channel["total"][0])
    for layer in record["gaps"].values():
        for channel in layer["centred"]:
            assert -1.2 < channel["total"][0][0] < -0.8
            assert 0.9 < channel["noise"][0][0] < 1.1

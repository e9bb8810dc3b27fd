"""Table 6: what its runs begin from, what is made of their records, and the pretrained networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mabn_ref.paper import pretraining, table6
from mabn_ref.paper.claims import config
from mabn_ref.paper.output import as_text
from mabn_ref.paper.pretraining import CENTRALIZED, PLAIN, run_tuned
from mabn_ref.paper.study import Context
from mabn_ref.paper.table6 import TABLE6
from mabn_ref.train.config import RunConfig, recipe

CONTEXT = Context((0, 1, 2), {})
TINY: dict[str, Any] = {
    "gradient_batch": 4,
    "width": 2,
    "epochs": 1,
    "train_size": 8,
    "test_size": 4,
    "augment": False,
    "textured": True,
}


def test_rows_differ_in_what_they_are_said_to_differ_in() -> None:
    context = TABLE6.suited(CONTEXT)
    runs = {row.label: config(row, 0, context) for row in table6._rows(context)}
    assert len(set(runs.values())) == len(runs) == 13
    shared = {
        (run.gradient_batch, run.lr, run.epochs, run.train_size, run.augment, run.textured) for run in runs.values()
    }
    assert shared == {(16, 0.1, 10, 400, False, True)}
    assert all((run.start is None) == ("scratch" in label) for label, run in runs.items())
    for label, run in runs.items():
        if run.start is not None and "centred" not in label:
            assert (run.start == CENTRALIZED) == run.centralized
    centred, mabn = runs["MABN 2 + WC, centred (control)"], runs["MABN 2 + WC"]
    assert (centred.start, mabn.start) == (PLAIN, CENTRALIZED)
    assert {(run.norm_batch, run.devices) for run in runs.values()} == {(16, 1), (2, 8), (1, 1)}


def test_what_conversion_loses_is_a_table_by_pretraining() -> None:
    context = TABLE6.suited(CONTEXT)
    ways = {"none": {"test_error": 4.0, "moved": 0.0}, "optimal": {"test_error": 9.0, "moved": 30.0}}
    found = []
    for row in table6._rows(context):
        start = row.settings.get("start")
        about = {"start": {"conversions": ways if start == PLAIN else {"none": ways["none"]}}} if start else {}
        for seed in context.seeds:
            ap = (8.0 if start else 5.0) + seed
            measures = dict.fromkeys(("ap", "ap50", "ap75", "own_ap"), ap)
            run = {"status": "done", "config": config(row, seed, context).as_dict(), "epochs": []}
            found.append({**run, **measures, "predictions": [[]] * 4, **about})
    outcome = TABLE6.outcome(CONTEXT, found)
    assert outcome.verdicts[0].startswith(
        "SyncBN 16, scratch (control) below SyncBN 16: holds; the difference is -3.00"
    )
    lost = outcome.tables[-1]
    assert [line[0].strip() for line in lost.rows] == [
        PLAIN,
        "as it was trained",
        "centred optimally, measured again",
        CENTRALIZED,
        "as it was trained",
    ]
    assert lost.rows[2][1:] == ("9.00 ± 0.00", "30.00 ± 0.00")
    assert outcome.data["scenes"]["textured"]
    assert [line for line in as_text(outcome).splitlines() if len(line) > 80] == []


@pytest.mark.parametrize(
    ("norm", "start", "further"),
    [
        ("mabn", CENTRALIZED, {"devices": 2}),
        ("mabn", PLAIN, {}),
        ("frozen-bn", PLAIN, {"norm_batch": 1}),
        ("bn", None, {"devices": 2}),
    ],
)
def test_a_run_begins_from_its_pretraining(norm: str, start: str | None, further: dict[str, Any]) -> None:
    record = run_tuned(recipe(norm, **{"norm_batch": 2, **TINY, "start": start, **further}))
    assert record["status"] == "done"
    assert (record["own_ap"] is None) == (norm == "frozen-bn")
    if start is None:
        assert "start" not in record
        return
    about = record["start"]
    assert about["layers"]["fresh"] == ["head", "output", "output bias"]
    assert ("centred" in about["layers"]) == (norm == "mabn" and start == PLAIN)
    assert about["config"]["train_size"] == 48
    ways = about["conversions"]
    assert ways["exact"]["moved"] < 0.1
    assert ways["exact"]["test_error"] == ways["none"]["test_error"]
    assert ways.keys() == {"none", "exact"} | ({"naive", "plain", "optimal"} if start == PLAIN else set())


def test_a_seed_has_a_pretraining_of_its_own() -> None:
    sizes = {"gradient_batch": 16, "train_size": 16, "test_size": 10, "width": 2, "epochs": 1, "augment": False}
    one, other = (
        pretraining._pretrained(PLAIN, recipe("bn", norm_batch=16, **sizes, seed=seed)).net for seed in (0, 1)
    )
    assert one.layers == other.layers
    assert not np.array_equal(one.params[0]["w"], other.params[0]["w"])


def test_an_unknown_pretraining_is_named() -> None:
    with pytest.raises(ValueError, match=r"^start is 'ImageNet', expected 'BN 32', 'BN 32 \+ WC' or None$"):
        run_tuned(RunConfig(start="ImageNet"))

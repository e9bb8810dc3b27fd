"""Equation (6): the statistics of all training images, layer by layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mabn_ref.data import to_float
from mabn_ref.nn import network
from mabn_ref.paper import equation6
from mabn_ref.paper.equation6 import EQUATION6, population_states, run_reestimated
from mabn_ref.paper.study import Context
from mabn_ref.train import loop
from mabn_ref.train.config import recipe
from mabn_ref.train.runs import run_one

TINY: dict[str, Any] = {"width": 4, "epochs": 1, "train_size": 96, "test_size": 20}


@pytest.mark.parametrize(("norm", "centred"), [("bn", True), ("brn", True), ("modified-bn", False), ("mabn", False)])
def test_every_layer_sees_the_population_behind_layers_that_use_it(
    norm: str, centred: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All images at once, in one piece, against pieces of 40. eq: bn-statistics, modified-statistics"""
    monkeypatch.setattr(equation6, "_CHUNK", 40)
    config = recipe(norm, norm_batch=2, **TINY)
    setup = loop.prepare(config)
    *_, progress = loop.run(setup, loop.begin(setup))
    states = population_states(setup, progress, setup.images.train.images)
    x = to_float(setup.images.train.images, setup.images.mean, setup.images.std)
    for layer, p, state in zip(setup.layers, progress.params, states, strict=True):
        if layer.name.startswith("norm"):
            flat = x.reshape(-1, x.shape[-1]).astype(np.float64)
            if centred:
                np.testing.assert_allclose(state.mean, flat.mean(0), rtol=2e-4, atol=1e-5)
                np.testing.assert_allclose(state.var, flat.var(0), rtol=2e-4)
            else:
                np.testing.assert_allclose(state.chi2, (flat**2).mean(0), rtol=2e-4)
        x = network.infer([layer], [p], [state], x)


def test_the_record_is_that_of_the_run_and_the_error_with_it() -> None:
    config = recipe("bn", norm_batch=2, **TINY)
    plain, both = run_one(config), run_reestimated(config)
    assert 0 <= both.pop("population_error") <= 100
    assert 0 <= both.pop("augmented_error") <= 100
    assert [line["test_error"] for line in both["epochs"]] == [line["test_error"] for line in plain["epochs"]]


def test_statistics_are_of_the_images_as_they_are_and_then_of_augmented_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    config = recipe("bn", norm_batch=2, **TINY)
    seen: list[Any] = []

    def states(setup: Any, progress: Any, images: Any) -> list[Any]:
        seen.append(images)
        return population_states(setup, progress, images)

    monkeypatch.setattr(equation6, "population_states", states)
    monkeypatch.setattr(equation6, "test_error_of", lambda setup, progress: 10.0 * len(seen))
    record = run_reestimated(config)
    assert (record["population_error"], record["augmented_error"]) == (10.0, 20.0)
    images = loop.prepare(config).images.train.images
    np.testing.assert_array_equal(seen[0], images)
    assert seen[1].shape == images.shape
    assert (seen[1] != images).mean() > 0.5


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


def test_the_sample_normalisers_have_nothing_to_replace() -> None:
    record = run_reestimated(recipe("gn", norm_batch=1, groups=2, **TINY))
    assert record["population_error"] == record["augmented_error"] == record["epochs"][-1]["test_error"]

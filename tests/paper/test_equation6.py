"""Equation (6): the statistics of all training images, layer by layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mabn_ref.data import to_float
from mabn_ref.experiments import training
from mabn_ref.experiments.rows import recipe
from mabn_ref.experiments.runs import run_one
from mabn_ref.nn import network
from mabn_ref.paper import equation6
from mabn_ref.paper.equation6 import population_states, run_reestimated

TINY: dict[str, Any] = {"width": 4, "epochs": 1, "train_size": 96, "test_size": 20}


@pytest.mark.parametrize(("norm", "centred"), [("bn", True), ("brn", True), ("modified-bn", False), ("mabn", False)])
def test_every_layer_sees_the_population_behind_layers_that_use_it(
    norm: str, centred: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All images at once, in one piece, against pieces of 40. eq: bn-statistics, modified-statistics"""
    monkeypatch.setattr(equation6, "_CHUNK", 40)
    config = recipe(norm, norm_batch=2, **TINY)
    setup = training.prepare(config)
    *_, progress = training.run(setup, training.begin(setup))
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


def test_the_sample_normalisers_have_nothing_to_replace() -> None:
    record = run_reestimated(recipe("gn", norm_batch=1, groups=2, **TINY))
    assert record["population_error"] == record["augmented_error"] == record["epochs"][-1]["test_error"]

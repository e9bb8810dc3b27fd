"""Statistics of all training images after training, layer by layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mabn_ref.data import to_float
from mabn_ref.nn import network
from mabn_ref.train import loop, population
from mabn_ref.train.config import recipe
from mabn_ref.train.population import population_states, run_reestimated
from mabn_ref.train.runs import run_one

TINY: dict[str, Any] = {"width": 4, "epochs": 1, "train_size": 96, "test_size": 20}


@pytest.mark.parametrize(("norm", "centred"), [("bn", True), ("brn", True), ("modified-bn", False), ("mabn", False)])
def test_every_layer_sees_the_population_behind_layers_that_use_it(
    norm: str, centred: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All images at once, in one piece, against pieces of 40. eq: bn-statistics, modified-statistics"""
    monkeypatch.setattr(population, "_CHUNK", 40)
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

    monkeypatch.setattr(population, "population_states", states)
    monkeypatch.setattr(population, "test_error_of", lambda setup, progress: 10.0 * len(seen))
    record = run_reestimated(config)
    assert (record["population_error"], record["augmented_error"]) == (10.0, 20.0)
    images = loop.prepare(config).images.train.images
    np.testing.assert_array_equal(seen[0], images)
    assert seen[1].shape == images.shape
    assert (seen[1] != images).mean() > 0.5


def test_of_several_devices_what_inference_reads_is_replaced() -> None:
    config = recipe("mabn", norm_batch=2, devices=2, **TINY)
    setup = loop.prepare(config)
    *_, progress = loop.run(setup, loop.begin(setup))
    states = population_states(setup, progress, setup.images.train.images)
    x = to_float(setup.images.train.images, setup.images.mean, setup.images.std)
    first = next(i for i, layer in enumerate(setup.layers) if layer.name.startswith("norm"))
    seen = network.infer(setup.layers[:first], progress.params[:first], progress.states[:first], x)
    np.testing.assert_allclose(states[first].each[0].chi2, (seen**2).mean(axis=(0, 1, 2)), rtol=2e-4)
    assert states[first].each[1] is progress.states[first].each[1]


def test_the_sample_normalisers_have_nothing_to_replace() -> None:
    record = run_reestimated(recipe("gn", norm_batch=1, groups=2, **TINY))
    assert record["population_error"] == record["augmented_error"] == record["epochs"][-1]["test_error"]

"""One run: reproducible, decided by its configuration alone, stopped where a number is not finite."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import numpy as np
import pytest

from mabn_ref.nn import network
from mabn_ref.train import loop
from mabn_ref.train.config import RunConfig, recipe
from mabn_ref.train.loop import Progress
from mabn_ref.train.runs import Report, run_one
from mabn_ref.train.tasks import CLASSES, PIXELS, Task

TINY: dict[str, Any] = {"width": 4, "epochs": 2, "train_size": 110, "test_size": 30, "warmup": 2}
MABN = TINY | {"renorm_after": 2}


def finish(config: RunConfig) -> Progress:
    setup = loop.prepare(config)
    *_, last = loop.run(setup, loop.begin(setup))
    return last


def fingerprint(progress: Progress) -> bytes:
    """Everything but times, as bytes."""
    history = [line._replace(seconds=0.0) for line in progress.history]
    return pickle.dumps(progress._replace(seconds=0.0, history=tuple(history)))


def test_the_same_configuration_gives_the_same_bits() -> None:
    assert fingerprint(finish(recipe("mabn", **MABN))) == fingerprint(finish(recipe("mabn", **MABN)))


@pytest.mark.parametrize(
    ("norm", "field", "value"),
    [
        ("mabn", "norm_batch", 4),
        ("mabn", "centralized", False),
        ("mabn", "decay", 0.5),
        ("mabn", "window", 32),
        ("mabn", "clip", 1.0),
        ("mabn", "renorm_after", 4),
        ("brn", "r_max", 1.0),
        ("brn", "d_max", 0.0),
        ("brn", "decay", 0.5),
        ("bn", "decay", 0.5),
        ("modified-bn", "decay", 0.5),
        ("bn", "norm_batch", 16),
        ("bn", "gradient_batch", 16),
        ("bn", "train_size", 96),
        ("bn", "augment", False),
        ("bn", "width", 5),
        ("bn", "epochs", 3),
        ("bn", "lr", 0.2),
        ("bn", "momentum", 0.8),
        ("bn", "weight_decay", 0.0),
        ("bn", "warmup", 1),
        ("bn", "seed", 1),
    ],
)
def test_every_field_matters(norm: str, field: str, value: Any) -> None:
    config = recipe(norm, **(MABN if norm == "mabn" else TINY))
    assert fingerprint(finish(config)) != fingerprint(finish(dataclasses.replace(config, **{field: value})))


def test_all_rows_of_a_seed_start_alike_and_see_the_same_images_in_the_same_order() -> None:
    bn = loop.begin(loop.prepare(recipe("bn", norm_batch=32, **TINY)))
    mabn = loop.begin(loop.prepare(recipe("mabn", norm_batch=2, **MABN)))
    assert pickle.dumps(bn.params) == pickle.dumps(mabn.params)
    assert bn.rng == mabn.rng
    np.testing.assert_array_equal(bn.order, mabn.order)
    ends = [finish(recipe(norm, **(MABN if norm == "mabn" else TINY))) for norm in ("bn", "mabn")]
    assert ends[0].rng == ends[1].rng
    np.testing.assert_array_equal(ends[0].order, ends[1].order)


def test_seeds_differ_in_weights_and_order() -> None:
    a, b = (loop.begin(loop.prepare(recipe("bn", **TINY, seed=seed))) for seed in (0, 1))
    assert np.any(a.params[0]["w"] != b.params[0]["w"])
    assert np.any(a.order != b.order)


def test_the_images_left_over_are_dropped_and_every_other_is_seen_once_an_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    setup = loop.prepare(recipe("bn", **TINY, augment=False))
    assert setup.steps == 3  # 110 images
    start = loop.begin(setup)
    seen = []
    forward = network.forward

    def spy(layers: Any, params: Any, states: Any, x: Any) -> Any:
        seen.append(x)
        return forward(layers, params, states, x)

    monkeypatch.setattr(network, "forward", spy)
    states = [progress.step for progress in loop.run(setup, start)]
    assert states == [1, 2, 3, 0, 1, 2, 3, 0]
    expected = setup.images.train.images[start.order[:96]]
    np.testing.assert_allclose(
        np.concatenate(seen[:3]) * setup.images.std + setup.images.mean, expected, rtol=0, atol=1e-3
    )
    assert {x.dtype for x in seen} == {np.dtype(np.float32)}
    assert {x.shape for x in seen} == {(32, 32, 32, 3)}


def test_every_step_draws_its_own_flips_and_crops() -> None:
    setup = loop.prepare(recipe("bn", **TINY))
    positions = [loop.begin(setup), *loop.run(setup, loop.begin(setup))]
    assert len({repr(position.rng) for position in positions}) == len(positions) == 9
    assert len({position.order.tobytes() for position in positions}) == 3


def test_parameters_and_states_stay_float32() -> None:
    end = finish(recipe("mabn", **MABN))
    arrays = [value for layer in (*end.params, *end.velocity) for value in layer.values()]
    arrays += [value for state in end.states if state is not None for value in state if not isinstance(value, int)]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}


def test_training_learns() -> None:
    record = run_one(recipe("bn", norm_batch=32, width=4, epochs=6, train_size=480, test_size=10))
    losses = [line["train_loss"] for line in record["epochs"]]
    assert losses[-1] < losses[0] - 0.2


def test_reports_count_images_and_give_each_epochs_line() -> None:
    reports: list[Report] = []
    record = run_one(recipe("bn", **TINY), report=reports.append)
    assert [report.images for report in reports] == [32, 64, 96, 96, 128, 160, 192, 192]
    assert {report.total for report in reports} == {192}
    assert [report.line.figures() for report in reports if report.line] == record["epochs"]
    assert record["epochs"][0]["train_loss"] == pytest.approx(reports[2].loss)
    assert record["epochs"][0]["train_error"] == pytest.approx(reports[2].error)


def test_a_loss_that_is_not_finite_stops_the_run_by_step_and_layer() -> None:
    record = run_one(recipe("bn", **TINY | {"lr": 1e42, "warmup": 0}))
    assert record["status"] == "diverged"
    assert record["message"] == (
        "step 2: the loss is nan; layer conv1 is the first with an output that is not finite"
    )
    assert record["epochs"] == []


def test_squares_that_overflow_stop_the_run_by_step_and_layer() -> None:
    record = run_one(recipe("bn", **TINY | {"lr": 1e30, "warmup": 0}))
    assert record["status"] == "diverged"
    assert record["message"].startswith("step 2: layer norm1: x reaches ")
    assert record["epochs"] == []


@pytest.mark.parametrize(
    ("weights", "said"),
    [(np.nan, "step 5: the loss is nan; layer conv1"), (1e30, "step 5: layer norm1: x reaches")],
    ids=["loss", "squares"],
)
def test_the_step_of_a_divergence_counts_from_the_start_of_the_run(weights: float, said: str) -> None:
    setup = loop.prepare(recipe("bn", **TINY))
    start = loop.begin(setup)
    params = [{"w": np.full_like(start.params[0]["w"], weights)}, *start.params[1:]]
    with pytest.raises(loop.Diverged, match=f"^{said}"):
        next(loop.run(setup, start._replace(params=params, epoch=1, step=1)))


@pytest.mark.parametrize(
    ("task", "images"), [(CLASSES, "test images"), (PIXELS, "test scenes")], ids=["classes", "pixels"]
)
def test_squares_that_overflow_on_test_images_stop_the_run(task: Task, images: str) -> None:
    config = recipe("ln", norm_batch=1, **TINY | {"augment": False})
    setup = loop.prepare(config, task=task)
    start = loop.begin(setup)
    huge = [{"w": np.full_like(start.params[0]["w"], 1e30)}, *start.params[1:]]
    with np.errstate(over="ignore"), pytest.raises(loop.Diverged, match=f"on {images}: x reaches"):
        loop.test_error_of(setup, start._replace(params=huge))


def test_an_output_on_test_images_that_is_not_finite_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "infer", lambda layers, params, states, x: np.full((len(x), 10), np.nan))
    record = run_one(recipe("bn", **TINY))
    assert record["status"] == "diverged"
    assert record["message"].startswith("step 3: the output on test images is not finite")


def test_the_test_error_counts_the_last_partial_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    setup = loop.prepare(recipe("bn", **TINY | {"test_size": 260, "epochs": 1}))

    def guess_zero(layers: Any, params: Any, states: Any, x: Any) -> Any:
        return np.eye(10, dtype=np.float32)[np.zeros(len(x), int)]

    monkeypatch.setattr(network, "infer", guess_zero)
    *_, end = loop.run(setup, loop.begin(setup))
    assert end.history[0].test_error == 100 * np.mean(setup.images.test.labels != 0)


@pytest.mark.parametrize(("every", "error"), [("a", TypeError), (1.5, TypeError), (True, TypeError), (0, ValueError)])
def test_what_is_no_number_of_gradient_batches_is_named(every: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"checkpoint_every is {every!r}, expected an integer of at least 1"):
        run_one(recipe("bn", **TINY), checkpoint_every=every)


def test_a_dictionary_is_no_configuration() -> None:
    with pytest.raises(TypeError, match="config is a dict, expected a RunConfig"):
        run_one(TINY)  # type: ignore[arg-type]

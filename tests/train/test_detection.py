"""The detector: gradients of its whole loss, targets and boxes that agree with each other, and tiny runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mabn_ref.data import boxes as scenes
from mabn_ref.nn import network
from mabn_ref.norms import NORMS, batch_norm, mabn, modified_batch_norm
from mabn_ref.norms.devices import on_devices
from mabn_ref.train import boxes, loop, own_statistics
from mabn_ref.train.average_precision import average_precision
from mabn_ref.train.config import SAMPLE_NORMS, RunConfig, build, head_config, recipe
from mabn_ref.train.runs import run_boxes, run_one
from mabn_ref.train.tasks import BOXES

TINY: dict[str, Any] = {
    "width": 2, "epochs": 2, "train_size": 16, "test_size": 8, "augment": False, "lr": 0.02, "gradient_batch": 8,
}  # fmt: skip


def perfect(truth: Any) -> Any:
    """The output of a network that says exactly what the cells should."""
    found = boxes.targets(truth)
    logits = np.where(found.classes[..., None] == np.arange(boxes.CLASSES), 20.0, -20.0)
    distances = np.log(np.where(found.positive[..., None], found.distances, 1.0))
    return np.concatenate([logits, distances], axis=-1).reshape(len(truth), 6, 6, -1)


def test_the_detector() -> None:
    """Its layers; and before training a yes has probability 0.05 everywhere, and a box the size of two cells."""
    layers = boxes.detector(batch_norm, batch_norm.Config(), width=2)
    convs = [layer for layer in layers if isinstance(layer, network.Conv)]
    assert [(c.name, c.channels_in, c.channels_out, c.kernel, c.stride) for c in convs] == [
        ("conv1", 3, 2, 3, 2),
        ("conv2", 2, 4, 3, 2),
        ("conv3", 4, 4, 3, 1),
        ("conv4", 4, 8, 3, 2),
        ("conv5", 8, 8, 3, 1),
        ("head", 8, 8, 3, 1),
        ("output", 8, 8, 1, 1),
    ]
    kinds = [type(layer).__name__ for layer in layers]
    assert kinds == ["Conv", "Norm", "ReLU"] * 5 + ["Conv", "ReLU", "Conv", "Bias"]
    params, states = network.init(layers, np.random.default_rng(0))
    params[-2]["w"][...] = 0
    output = network.infer(layers, params, states, np.ones((1, 48, 48, 3), dtype=np.float32))
    assert output.shape == (1, 6, 6, 8)
    np.testing.assert_allclose(1 / (1 + np.exp(-output[..., :4])), 0.05, rtol=1e-5)
    assert not output[..., 4:].any()


def test_what_is_unlikely_or_far_away_is_left_out_or_cut() -> None:
    """Of 36 cells with four answers each a hundred are looked at; boxes end where the scene does."""
    output = np.zeros((1, 6, 6, 8))
    output[..., :4] = -30
    output[0, 0, 0, 1], output[0, 5, 5, 2] = np.log(0.06 / 0.94), np.log(0.04 / 0.96)
    output[0, 0, 0, 4:] = [800, 800, 0, np.log(2)]
    (found,) = boxes.detections(output)
    assert found.shape == (100, 6)
    assert found[0].tolist() == pytest.approx([1, 0.06, 0, 0, 12, 20])
    assert np.all(found[1:, 0] == -1)
    assert found[1, 1] == pytest.approx(0.04)


def test_perfect_outputs_cost_nothing_and_have_an_average_precision_of_one() -> None:
    train, _ = scenes.generate(40, 1, 0)
    output = perfect(train.boxes)
    value, _, wrong = boxes.loss(output, train.boxes, np)
    assert value < 1e-12
    assert wrong == 0
    found = boxes.detections(output)
    assert average_precision(found, train.boxes, boxes.CLASSES) == dict.fromkeys(("ap", "ap50", "ap75"), 100)


def test_an_object_has_cells_around_its_centre_and_the_smaller_one_wins() -> None:
    truth = np.array([[[0, 4, 4, 36, 36], [3, 14, 14, 26, 26], [-1, 0, 0, 48, 48]]])
    found = boxes.targets(truth)
    middles = boxes.MIDDLES[found.positive[0]]
    assert middles.tolist() == [[20, 20]]  # both centres are there, and the next middles are a whole cell away
    assert found.classes[found.positive].tolist() == [3]
    assert found.distances[found.positive].tolist() == [[0.75] * 4]
    assert set(found.classes[~found.positive]) == {-1}


def test_of_boxes_that_overlap_the_best_of_each_class_stays() -> None:
    output = np.full((1, 6, 6, 8), -20.0)
    output[0, 2, 2], output[0, 2, 3], output[0, 3, 3] = (
        [2, -9, -9, -9, 0, 0, 0, 0], [1, 0.5, -9, -9, 0.4, 0, -0.69, 0], [-9, -9, -9, -3, 0, 0, 0, 0],
    )  # fmt: skip
    found = boxes.detections(output)[0]
    kept = found[found[:, 0] >= 0]
    assert kept[:, 0].tolist() == [0, 1]  # a disc, the same disc again, a square; the cross is not likely enough
    assert kept[0, 2:].tolist() == [12, 12, 28, 28]
    assert kept[:, 1] == pytest.approx(1 / (1 + np.exp([-2, -0.5])))


@pytest.mark.parametrize("module", [batch_norm, on_devices(mabn, 2)], ids=["bn", "mabn on 2 devices"])
def test_gradients_of_the_whole_detector_by_differences(module: Any) -> None:
    """eq: bias-backward, focal-loss-backward, iou-loss-backward, conv2d-backward"""
    rng = np.random.default_rng(0)
    config = module.Config(norm_batch=2, eps=0.1, **({} if module is batch_norm else {"window": 1, "clip": 1.0}))
    layers = boxes.detector(module, config, centralized=True, width=2, heads=True, head=config)
    params, states = network.init(layers, rng, dtype=np.float64)
    params = [{k: p + 0.1 * rng.standard_normal(p.shape) for k, p in layer.items()} for layer in params]
    truth = scenes.generate(4, 1, 0)[0].boxes
    x = rng.standard_normal((4, 48, 48, 3))

    def loss(params: Any) -> Any:
        output, caches, after = network.forward(layers, params, states, x)
        return *boxes.loss(output, truth, np)[:2], caches, after

    _, gradient, caches, after = loss(params)
    grads, _ = network.backward(layers, gradient, caches, after)
    for i, layer in enumerate(params):
        for name, p in layer.items():
            direction = rng.standard_normal(p.shape)
            ahead, behind = (
                loss([*params[:i], {**layer, name: p + h * direction}, *params[i + 1 :]])[0] for h in (1e-6, -1e-6)
            )
            expected = (ahead - behind) / 2e-6
            assert np.sum(grads[i][name] * direction) == pytest.approx(expected, rel=1e-5, abs=1e-7), layers[i].name


def test_the_loss_is_normalised_by_the_positives_of_the_whole_batch() -> None:
    """Not by those of each device: a batch of two parts is not the mean of both."""
    rng = np.random.default_rng(1)
    truth = np.array([[[0, 8, 8, 24, 24], [-1] * 5, [-1] * 5], [[1, 9, 9, 23, 23], [2, 30, 30, 42, 42], [-1] * 5]])
    output = rng.standard_normal((2, 6, 6, 8))
    whole, gradient, _ = boxes.loss(output, truth, np)
    counts = boxes.targets(truth).positive.sum(axis=1)
    assert counts[0] != counts[1]
    parts = [boxes.loss(output[i : i + 1], truth[i : i + 1], np) for i in range(2)]
    assert whole == pytest.approx(np.dot(counts, [value for value, _, _ in parts]) / counts.sum())
    np.testing.assert_allclose(gradient[1:], parts[1][1] * counts[1] / counts.sum())


def test_scenes_without_an_object_have_a_loss() -> None:
    value, gradient, wrong = boxes.loss(np.zeros((1, 6, 6, 8)), np.full((1, 3, 5), -1), np)
    assert value > 0
    assert np.all(gradient[..., 4:] == 0)
    assert wrong == 0


@pytest.mark.parametrize(
    "row",
    [
        {"norm": "sync-bn", "norm_batch": 8},
        {"norm": "mabn", "norm_batch": 2, "devices": 4, "window": 4, "heads": True, "head_warmup": 1},
        {"norm": "brn", "norm_batch": 2, "devices": 4, "exposure": 1.0},
        {"norm": "gn", "norm_batch": 1, "groups": 2},
    ],
    ids=str,
)
def test_a_tiny_run_is_recorded_and_is_the_same_again(row: dict[str, Any]) -> None:
    config = recipe(**row, **TINY)
    record = run_boxes(config)
    assert record["status"] == "done"
    assert RunConfig(**record["config"]) == config
    assert all(line["test_error"] == pytest.approx(100 - line["ap"]) for line in record["epochs"])
    assert (record["ap"], len(record["predictions"])) == (record["epochs"][-1]["ap"], 4)
    assert 0 <= record["own_ap"] <= 100
    again = run_boxes(config)
    assert [line["train_loss"] for line in again["epochs"]] == [line["train_loss"] for line in record["epochs"]]
    assert again["predictions"] == record["predictions"]
    if row["norm"] == "gn":
        assert [record[f"own_{name}"] for name in ("ap", "ap50")] == [record["ap"], record["ap50"]]


def test_own_statistics_are_those_of_each_pair_of_test_scenes() -> None:
    setup = loop.prepare(recipe("mabn", norm_batch=2, devices=4, window=4, **TINY), np, BOXES)
    progress = loop.begin(setup)
    module, norm = own_statistics.normaliser(setup.config)
    layers = [la._replace(module=module, config=norm) if isinstance(la, network.Norm) else la for la in setup.layers]
    states = network.init(layers, np.random.default_rng(0))[1]
    said = [
        network.forward(layers, progress.params, states, loop.to_input(setup, setup.images.test.images[k : k + 2]))[0]
        for k in (0, 2, 4, 6)
    ]
    figures = BOXES.figures(boxes.detections(np.concatenate(said)), setup.images.test.labels)
    assert own_statistics.figures(setup, progress)["own_ap"] == pytest.approx(figures["ap"], abs=1e-9)


@pytest.mark.parametrize("norm", [norm for norm in NORMS if norm not in SAMPLE_NORMS])
def test_own_statistics_have_a_mean_where_a_batchs_have(norm: str) -> None:
    form = {"form": "vanilla", "forward_average": "ema", "backward_average": "batch"} if norm == "moving" else {}
    module, config = own_statistics.normaliser(recipe(norm, norm_batch=2, **form))
    measured = NORMS[norm].module.statistics(np.ones((2, 3)), NORMS[norm].module.Config(norm_batch=2))
    assert (module, config.norm_batch) == (batch_norm if isinstance(measured, tuple) else modified_batch_norm, 2)


def test_own_statistics_that_overflow_are_none() -> None:
    setup = loop.prepare(recipe("bn", norm_batch=2, devices=4, **TINY), np, BOXES)
    progress = loop.begin(setup)
    first = {"w": np.full_like(progress.params[0]["w"], 1e30)}
    with np.errstate(over="ignore"):
        figures = own_statistics.figures(setup, progress._replace(params=[first, *progress.params[1:]]))
    assert figures == {"own_ap": None, "own_ap50": None, "own_ap75": None}


def test_it_learns() -> None:
    config = recipe("bn", norm_batch=8, decay=0.9, warmup=5, **TINY | {"width": 4, "train_size": 32, "epochs": 4})
    losses = [line["train_loss"] for line in run_boxes(replace(config, lr=0.1))["epochs"]]
    assert losses[-1] < 0.8 * losses[0]


def test_it_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    config, file = recipe("mabn", norm_batch=2, devices=4, window=4, **TINY), tmp_path / "run.npz"
    whole = run_boxes(config, checkpoint=file)
    again = run_boxes(config, checkpoint=file)
    timed = ("seconds", "epochs")
    assert {k: v for k, v in again.items() if k not in timed} == {k: v for k, v in whole.items() if k not in timed}
    assert again["epochs"] == whole["epochs"]


def test_the_head_warms_up_by_itself_and_is_left_alone_without_a_normaliser() -> None:
    config = recipe("mabn", norm_batch=2, devices=4, heads=True, head_warmup=3, **TINY | {"gradient_batch": 16})
    module, norm = build(config, 10)
    assert (norm.warmup, head_config(config, norm).warmup) == (0, 3 * 2 + 1)
    named = {layer.name: layer for layer in boxes.detector(module, norm, centralized=True, heads=True, head=norm)}
    assert named["head"].centralized
    assert "head norm" in named
    plain = {layer.name: layer for layer in boxes.detector(module, norm, centralized=True)}
    assert not plain["head"].centralized
    assert "head norm" not in plain
    with pytest.raises(ValueError, match="head_warmup is 3 with heads=False"):
        replace(config, heads=False)
    with pytest.raises(ValueError, match="head_warmup is 3 with norm='bn', expected 0: only 'mabn' can use it"):
        recipe("bn", norm_batch=2, heads=True, head_warmup=3)


def test_a_curve_stands_in_the_head_as_a_normaliser_does() -> None:
    config = recipe("dyt", norm_batch=1, heads=True, **TINY)
    layers = loop.layers_of(config, 1, BOXES)
    assert [layer.name for layer in layers if isinstance(layer, network.Curve)][-1] == "head norm"
    assert run_boxes(config)["status"] == "done"


@pytest.mark.parametrize("field", [{"heads": True}, {"exposure": 1.0}])
def test_what_is_of_boxes_alone_is_refused_elsewhere(field: dict[str, Any]) -> None:
    with pytest.raises(
        ValueError, match=r"(heads is True, expected False|exposure is 1.0, expected 0.15): this task has no boxes"
    ):
        run_one(recipe("bn", norm_batch=2, **TINY | field))


def test_one_that_diverges_says_where() -> None:
    record = run_boxes(recipe("bn", norm_batch=2, **TINY | {"lr": 1e30, "warmup": 0}))
    assert record["status"] == "diverged"
    assert (record["ap"], record["predictions"]) == (None, [])

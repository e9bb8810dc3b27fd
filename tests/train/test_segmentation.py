"""Dense prediction: the network's gradients, the measure, and tiny runs of every row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mabn_ref.data import scenes
from mabn_ref.nn import network, softmax_cross_entropy
from mabn_ref.norms import batch_norm, mabn
from mabn_ref.train.config import recipe
from mabn_ref.train.runs import Report, run_pixels
from mabn_ref.train.tasks import EXAMPLES, encoder_decoder, mean_iou

TINY: dict[str, Any] = {"width": 2, "epochs": 2, "train_size": 16, "test_size": 6, "augment": False, "lr": 0.02}


def test_gradients_of_the_whole_network_by_differences() -> None:
    """eq: upsample-backward, conv2d-backward, bn-backward, softmax-cross-entropy-backward"""
    rng = np.random.default_rng(0)
    layers = encoder_decoder(batch_norm, batch_norm.Config(eps=0.1), centralized=True, width=2)
    params, states = network.init(layers, rng, dtype=np.float64)
    params = [{k: p + 0.2 * rng.standard_normal(p.shape) for k, p in layer.items()} for layer in params]
    x, truth = rng.standard_normal((2, 8, 8, 3)), rng.integers(0, 6, 128)

    def loss(params: Any) -> tuple[float, Any]:
        logits, caches, after = network.forward(layers, params, states, x)
        assert logits.shape == (2, 8, 8, 6)
        value, cache = softmax_cross_entropy.forward(logits.reshape(-1, 6), truth)
        return float(value), (logits, caches, after, cache)

    _, (logits, caches, after, cache) = loss(params)
    grads, _ = network.backward(
        layers, softmax_cross_entropy.backward(1.0, cache).reshape(logits.shape), caches, after
    )
    for i, layer in enumerate(params):
        for name, p in layer.items():
            direction = rng.standard_normal(p.shape)
            ahead, behind = (
                loss([*params[:i], {**layer, name: p + h * direction}, *params[i + 1 :]])[0] for h in (1e-6, -1e-6)
            )
            expected = (ahead - behind) / 2e-6
            assert np.sum(grads[i][name] * direction) == pytest.approx(expected, rel=1e-5, abs=1e-8), layers[i].name


def test_the_head_is_left_as_it_is_and_maps_have_the_sizes_promised() -> None:
    layers = encoder_decoder(mabn, mabn.Config(norm_batch=2), centralized=True, width=4)
    convolutions = [layer for layer in layers if isinstance(layer, network.Conv)]
    assert [layer.centralized for layer in convolutions] == [True] * 5 + [False]
    params, states = network.init(layers, np.random.default_rng(0))
    logits, caches, _ = network.forward(layers, params, states, np.zeros((2, 32, 32, 3), dtype=np.float32))
    maps = [cache.convolution.out_shape[1] for cache in caches if isinstance(cache, network.ConvCache)]
    assert maps == [16, 8, 8, 16, 32, 32]
    assert logits.shape == (2, 32, 32, len(scenes.CLASS_NAMES))


@pytest.mark.parametrize(
    ("confusion", "expected"),
    [
        ([[5, 0], [0, 5]], 100),
        ([[0, 5], [5, 0]], 0),
        ([[3, 1], [2, 4]], 100 * (3 / 6 + 4 / 7) / 2),
        ([[4, 0, 0], [1, 3, 0], [0, 0, 0]], 100 * (4 / 5 + 3 / 4) / 2),  # a class that is nowhere does not count
    ],
)
def test_mean_iou(confusion: list[list[int]], expected: float) -> None:
    assert mean_iou(np.array(confusion)) == pytest.approx(expected)


@pytest.mark.parametrize(
    "row",
    [
        {"norm": "bn", "norm_batch": 2, "gradient_batch": 2},
        {"norm": "brn", "norm_batch": 2, "gradient_batch": 2, "centralized": True},
        {"norm": "mabn", "norm_batch": 2, "gradient_batch": 2, "window": 16},
        {"norm": "gn", "norm_batch": 1, "gradient_batch": 2, "groups": 2},
        {"norm": "sync-bn", "norm_batch": 16, "gradient_batch": 16},
        {"norm": "eval-norm", "norm_batch": 2, "gradient_batch": 2},
        {"norm": "online", "norm_batch": 1, "gradient_batch": 2},
        {"norm": "bn", "norm_batch": 2, "gradient_batch": 2, "standardized": True},
    ],
    ids=str,
)
def test_a_tiny_run_is_recorded_and_is_the_same_again(row: dict[str, Any]) -> None:
    config = recipe(**row, **TINY)
    record = run_pixels(config)
    assert record["status"] == "done"
    assert record["config"] == config.as_dict()
    assert [line["epoch"] for line in record["epochs"]] == [1, 2]
    assert all(0 <= line["mean_iou"] <= 100 for line in record["epochs"])
    assert all(len(text) == 1024 and set(text) <= set("012345") for text in record["predictions"])
    assert len(record["predictions"]) == EXAMPLES
    again = run_pixels(config)
    timed = ("seconds",)
    for a, b in zip(record["epochs"], again["epochs"], strict=True):
        assert {k: v for k, v in a.items() if k not in timed} == {k: v for k, v in b.items() if k not in timed}


def test_sync_bn_in_one_process_is_bn_of_the_whole_batch() -> None:
    sync, plain = (
        run_pixels(recipe(norm=norm, norm_batch=16, gradient_batch=16, **TINY)) for norm in ("sync-bn", "bn")
    )
    assert sync["predictions"] == plain["predictions"]
    assert [line["train_loss"] for line in sync["epochs"]] == [line["train_loss"] for line in plain["epochs"]]


def test_it_learns() -> None:
    record = run_pixels(recipe(**{"norm": "bn", "norm_batch": 8, "gradient_batch": 8, "warmup": 5}, **TINY | {
        "width": 4, "train_size": 64, "epochs": 6, "lr": 0.1}))  # fmt: skip
    losses = [line["train_loss"] for line in record["epochs"]]
    assert losses[-1] < 0.8 * losses[0]


def test_reports_are_of_the_epoch_so_far_and_reach_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    reports: list[Report] = []
    steps: list[tuple[float, float]] = []
    forward = softmax_cross_entropy.forward

    def spy(logits: Any, labels: Any) -> Any:
        loss, cache = forward(logits, labels)
        steps.append((float(loss), 100 * float(np.mean(np.argmax(logits, axis=1) != labels))))
        return loss, cache

    monkeypatch.setattr(softmax_cross_entropy, "forward", spy)
    run_pixels(
        recipe(norm="bn", norm_batch=2, gradient_batch=2, **TINY | {"train_size": 206, "epochs": 2}),
        report=reports.append,
    )
    ends = [*range(1, 104), *range(104, 207)]
    assert [report.images for report in reports if report.line is None] == [2 * end for end in ends]
    assert [report.images for report in reports if report.line] == [206, 412]
    assert {report.total for report in reports} == {412}
    for epoch, start in ((reports[:104], 0), (reports[104:], 103)):
        for report, end in zip(epoch, [*range(1, 104), 103], strict=True):
            seen = steps[start : start + end]
            assert (report.loss, report.error) == pytest.approx(tuple(np.mean(seen, axis=0)), rel=1e-9)


def test_one_that_diverges_says_where() -> None:
    record = run_pixels(recipe(norm="bn", norm_batch=2, gradient_batch=2, **TINY | {"lr": 1e30, "warmup": 0}))
    assert record["status"] == "diverged"
    assert record["message"].startswith("step ")
    assert record["predictions"] == []


@pytest.mark.parametrize("field", [{"augment": True}, {"data": "cifar10"}])
def test_other_data_is_refused(field: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"data is '\w+' and augment (True|False), expected 'embedded' and False"):
        run_pixels(recipe(norm="bn", norm_batch=2, gradient_batch=2, **TINY | field))


@pytest.mark.parametrize("field", ["held_out", "gradient_centralized"])
def test_what_applies_to_whole_images_only_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field} is True, expected False: it applies to whole images only$"):
        run_pixels(recipe(norm="bn", norm_batch=2, gradient_batch=2, **TINY | {field: True}))

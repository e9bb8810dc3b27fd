"""The training loops against plain ones: same draws, and every weight, state and figure of every step to 1e-12.

The plain loops share nothing with those of the package but the layers, which tests/nn and tests/norms prove: draws,
flips, crops, scaling, learning rates, the update and the figures of an epoch are written out here.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pytest

from mabn_ref.data import embedded, scenes
from mabn_ref.nn import network, networks, softmax_cross_entropy
from mabn_ref.norms import (
    batch_norm,
    batch_renorm,
    eval_norm,
    group_norm,
    mabn,
    modified_batch_norm,
    moving_statistics,
    online_norm,
    sync_batch_norm,
)
from mabn_ref.norms.batch_renorm import Ramp
from mabn_ref.train import devices, loop, tasks
from mabn_ref.train.config import RunConfig
from mabn_ref.train.runs import run_one, run_pixels


class _Double:
    """NumPy, but what it calls float32 is float64: a loop that is given it computes in double precision."""

    float32 = np.float64

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def asarray(self, x: Any, dtype: Any = None) -> Any:
        single = np.asarray(x).dtype == np.float32
        return np.asarray(x, np.float64 if dtype is None and single else dtype)


DOUBLE = _Double()


class Plain(NamedTuple):
    """What a plain loop leaves: after every step the weights, velocities and states, and after every epoch a line."""

    steps: list[tuple[Any, Any, Any]]
    lines: list[dict[str, float]]
    logits: list[Any]
    """Of the test images, after every epoch."""


def ramp(start: int, stop: int, first: float, last: float) -> Ramp:
    return Ramp(start=start, stop=stop, first=first, last=last)


SIZES: dict[str, Any] = {"width": 2, "epochs": 3, "gradient_batch": 16, "train_size": 55, "test_size": 260}
STEPS, TOTAL = 3, 9  # seven images are left over
RATES: dict[str, Any] = {"lr": 0.07, "momentum": 0.8, "weight_decay": 0.03}

# Settings of a run beside the normaliser that it stands for, by hand.
CASES: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "bn, a warm-up of half the run": (
        {"norm": "bn", "norm_batch": 8, "decay": 0.7, "warmup": 50},
        batch_norm,
        batch_norm.Config(norm_batch=8, decay=0.7),
    ),
    "bn, a short warm-up, WC": (
        {"norm": "bn", "norm_batch": 16, "decay": 0.7, "warmup": 2, "centralized": True},
        batch_norm,
        batch_norm.Config(norm_batch=16, decay=0.7),
    ),
    "bn, no warm-up, WS, no augmentation": (
        {"norm": "bn", "norm_batch": 2, "decay": 0.7, "warmup": 0, "standardized": True, "augment": False},
        batch_norm,
        batch_norm.Config(norm_batch=2, decay=0.7),
    ),
    "bn, GC": (
        {"norm": "bn", "norm_batch": 4, "decay": 0.7, "warmup": 2, "gradient_centralized": True},
        batch_norm,
        batch_norm.Config(norm_batch=4, decay=0.7),
    ),
    # 9 gradient batches of 8 normalisation batches: a ramp from 72 * 5 / 160 = 2 on, to 72 * 40 / 160 = 18 or to 11
    "brn in its ramps": (
        {"norm": "brn", "norm_batch": 2, "decay": 0.6, "warmup": 3, "r_max": 1.5, "d_max": 2.0},
        batch_renorm,
        batch_renorm.Config(norm_batch=2, decay=0.6, r_max=ramp(2, 18, 1.0, 1.5), d_max=ramp(2, 11, 0.0, 2.0)),
    ),
    "brn, twice as slow": (
        {"norm": "brn", "norm_batch": 4, "decay": 0.6, "warmup": 3, "ramp": 2.0},
        batch_renorm,
        batch_renorm.Config(norm_batch=4, decay=0.6, r_max=ramp(2, 18, 1.0, 3.0), d_max=ramp(2, 11, 0.0, 5.0)),
    ),
    "modified bn": (
        {"norm": "modified-bn", "norm_batch": 4, "decay": 0.6, "warmup": 4, "centralized": True},
        modified_batch_norm,
        modified_batch_norm.Config(norm_batch=4, decay=0.6),
    ),
    "mabn, r after two gradient batches": (
        {"norm": "mabn", "norm_batch": 2, "decay": 0.6, "warmup": 50, "renorm_after": 2, "clip": 1.02}
        | {"centralized": True},
        mabn,
        mabn.Config(norm_batch=2, decay=0.6, window=8, clip=1.02, renorm_from=17),
    ),
    "mabn, a window of twenty": (
        {"norm": "mabn", "norm_batch": 2, "decay": 0.6, "warmup": 1, "renorm_after": 0, "window": 20},
        mabn,
        mabn.Config(norm_batch=2, decay=0.6, window=20, clip=5.0, renorm_from=1),
    ),
    "moving statistics": (
        {"norm": "moving", "norm_batch": 4, "decay": 0.6, "warmup": 3, "renorm_after": 1, "clip": 1.5, "d_max": 0.3}
        | {"form": "vanilla", "forward_average": "ema", "backward_average": "sma"},
        moving_statistics,
        moving_statistics.Config(
            form="vanilla",
            forward="ema",
            backward="sma",
            norm_batch=4,
            decay=0.6,
            window=4,
            r_max=1.5,
            d_max=0.3,
            renorm_from=5,
        ),
    ),
    "online norm": (
        {"norm": "online", "norm_batch": 1, "decay": 0.9, "warmup": 3},
        online_norm,
        online_norm.Config(decay_forward=0.9),
    ),
    "eval norm, estimated": (
        {"norm": "eval-norm", "norm_batch": 4, "decay": 0.6, "estimated": True, "warmup": 3},
        eval_norm,
        eval_norm.Config(norm_batch=4, decay=0.6, estimated=True),
    ),
    "gn": ({"norm": "gn", "norm_batch": 1, "warmup": 3}, group_norm, group_norm.Config(groups=2)),
    "sync bn": (
        {"norm": "sync-bn", "norm_batch": 8, "decay": 0.6, "warmup": 3},
        sync_batch_norm,
        sync_batch_norm.Config(norm_batch=8, decay=0.6),
    ),
}


def settings_of(case: str) -> dict[str, Any]:
    return {"centralized": False, "standardized": False, **SIZES, **RATES, "seed": 3, **CASES[case][0]}


def rate(done: int, warmup: int, total: int) -> float:
    """A line up to the highest rate, reached by the last step of the warm-up; half a cosine down, that ends at 0."""
    held = min(warmup, total // 2)
    if done < held:
        return float(RATES["lr"] * (done + 1) / held)
    return float(RATES["lr"] * (1 + math.cos(math.pi * (done - held) / (total - held))) / 2)


def scaled(images: Any, train: Any) -> Any:
    """Every image less the training images' mean by their deviation, a channel each; in float32 as in a run."""
    pixels = train.reshape(-1, 3).astype(np.float64)
    mean, std = pixels.mean(axis=0), np.sqrt(((pixels - pixels.mean(axis=0)) ** 2).mean(axis=0))
    return ((images.astype(np.float32) - mean.astype(np.float32)) / std.astype(np.float32)).astype(np.float64)


def moved(images: Any, rng: np.random.Generator) -> Any:
    """Every image flipped or not, then cut out of a black frame of four pixels."""
    flips = rng.random(len(images)) < 0.5
    tops, lefts = rng.integers(0, 9, len(images)), rng.integers(0, 9, len(images))
    out = []
    for image, flip, top, left in zip(images, flips, tops, lefts, strict=True):
        framed = np.zeros((40, 40, 3), np.uint8)
        framed[4:36, 4:36] = image[:, ::-1] if flip else image
        out.append(framed[top : top + 32, left : left + 32])
    return np.stack(out)


def updated(params: Any, velocity: Any, grads: Any, lr: float) -> tuple[Any, Any]:
    """One step of SGD: the decayed gradient is added to the velocity, and the rate multiplies that."""
    new_params, new_velocity = [], []
    for layer, old, grad in zip(params, velocity, grads, strict=True):
        v = {k: RATES["momentum"] * old[k] + grad[k] + RATES["weight_decay"] * layer[k] for k in layer}
        new_velocity.append(v)
        new_params.append({k: layer[k] - lr * v[k] for k in layer})
    return new_params, new_velocity


def gradient_of_mean_cross_entropy(logits: Any, truth: Any) -> tuple[float, Any]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    share = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    rows = np.arange(len(truth))
    loss = float(np.mean(np.log(np.exp(shifted).sum(axis=1)) - shifted[rows, truth]))
    share[rows, truth] -= 1
    return loss, share / len(truth)


def plain(layers: Any, config: dict[str, Any], train: Any, test: Any, pixels: bool = False) -> Plain:
    """The plain loop: `train` and `test` are images and their labels, or their masks if `pixels`."""
    weights, rng = (np.random.default_rng(child) for child in np.random.SeedSequence(config["seed"]).spawn(2))
    params, states = network.init(layers, weights, dtype=np.float64)
    velocity = [{name: np.zeros_like(value) for name, value in layer.items()} for layer in params]
    found, batch = Plain([], [], []), config["gradient_batch"]
    steps = len(train[0]) // batch
    for epoch in range(config["epochs"]):
        order, losses, wrong = rng.permutation(len(train[0])), [], []
        for step in range(steps):
            chosen = order[step * batch : (step + 1) * batch]
            images, truth = train[0][chosen], train[1][chosen].ravel()
            if config.get("augment", True):
                images = moved(images, rng)
            logits, caches, states = network.forward(layers, params, states, scaled(images, train[0]))
            rows = logits.reshape(len(truth), -1)
            loss, dlogits = gradient_of_mean_cross_entropy(rows, truth)
            grads, states = network.backward(layers, dlogits.reshape(logits.shape), caches, states)
            if config.get("gradient_centralized"):
                grads = [
                    {k: g - g.mean(axis=(0, 1, 2), keepdims=True) if g.ndim == 4 else g for k, g in layer.items()}
                    for layer in grads
                ]
            lr = rate(epoch * steps + step, config["warmup"], steps * config["epochs"])
            params, velocity = updated(params, velocity, grads, lr)
            losses.append(loss)
            wrong.append(rows.argmax(axis=1) != truth)
            found.steps.append((params, velocity, states))
        logits = network.infer(layers, params, states, scaled(test[0], train[0]))
        line = {
            "train_loss": sum(losses) / steps,
            "train_error": 100 * float(np.mean(wrong)),
            "test_error": 100 * float(np.mean(logits.argmax(axis=-1) != test[1])),
        }
        if pixels:
            line["mean_iou"] = mean_iou(logits.argmax(axis=-1), test[1])
        found.lines.append(line)
        found.logits.append(logits)
    return found


def mean_iou(predicted: Any, masks: Any) -> float:
    """Class by class: pixels that are and are taken for it, by those that are or are taken for it."""
    ious = []
    for label in range(len(scenes.CLASS_NAMES)):
        there, said = masks == label, predicted == label
        if np.any(there | said):
            ious.append(np.sum(there & said) / np.sum(there | said))
    return float(100 * np.mean(ious))


def assert_same(ours: Any, theirs: Any, where: str) -> None:
    """Two lists, parallel to the layers, of dicts, states or None."""
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        named = [dict(x) if isinstance(x, dict) else {} if x is None else x._asdict() for x in (a, b)]
        assert named[0].keys() == named[1].keys()
        for name, value in named[0].items():
            np.testing.assert_allclose(
                value, named[1][name], rtol=1e-12, atol=1e-12, err_msg=f"{where}, layer {i}, {name}"
            )


@pytest.fixture
def tested(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The logits of every call of `network.infer`, as they come."""
    logits: list[Any] = []
    infer = network.infer

    def spy(*arguments: Any) -> Any:
        logits.append(infer(*arguments))
        return logits[-1]

    monkeypatch.setattr(network, "infer", spy)
    return logits


@pytest.mark.parametrize("case", CASES)
def test_every_step_and_epoch_is_that_of_a_plain_loop(case: str, tested: list[Any]) -> None:
    """eq: sgd"""
    settings, (_, module, norm) = settings_of(case), CASES[case]
    setup = loop.prepare(RunConfig(**settings), DOUBLE)
    progress = loop.begin(setup)
    layers = networks.small_network(
        module, norm, width=2, centralized=settings["centralized"], standardized=settings["standardized"]
    )
    expected = plain(layers, settings, *embedded.generate(55, 260, 0))
    tested.clear()
    assert setup.steps == STEPS
    positions = list(loop.run(setup, progress))
    assert [(p.epoch, p.step) for p in positions] == [
        *((0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2), (1, 3), (2, 0), (2, 1), (2, 2), (2, 3), (3, 0))
    ]
    for number, (position, known) in enumerate(zip((p for p in positions if p.step), expected.steps, strict=True)):
        for name, value in zip(("params", "velocity", "states"), known, strict=True):
            assert_same(getattr(position, name), value, f"{name} after step {number + 1}")
    # 250 test images at a time, and the ten that are left
    assert [len(logits) for logits in tested] == [250, 10] * 3
    for epoch, logits in enumerate(expected.logits):
        np.testing.assert_allclose(np.concatenate(tested[2 * epoch : 2 * epoch + 2]), logits, rtol=1e-12, atol=1e-12)
    for number, (line, wanted) in enumerate(zip(positions[-1].history, expected.lines, strict=True), start=1):
        assert line.epoch == number
        assert {name: getattr(line, name) for name in wanted} == pytest.approx(wanted, rel=1e-12)
        assert line.seconds > 0


def test_a_run_is_recorded_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """`run_one` in double precision: its epochs are those of the plain loop, its end what `finished` is given."""
    monkeypatch.setattr(devices, "library", lambda device: DOUBLE)
    case = "mabn, r after two gradient batches"
    settings, (_, module, norm) = settings_of(case), CASES[case]
    reports, ends = [], []
    record = run_one(
        RunConfig(**settings),
        report=reports.append,
        finished=lambda setup, progress: ends.append(progress) or {"more": 7},  # type: ignore[func-returns-value]
    )
    layers = networks.small_network(module, norm, width=2, centralized=True)
    expected = plain(layers, settings, *embedded.generate(55, 260, 0))
    assert (record["status"], record["message"], record["seed"], record["more"]) == ("done", None, 3, 7)
    assert record["config"] == RunConfig(**settings).as_dict()
    assert record["seconds"] == pytest.approx(sum(line["seconds"] for line in record["epochs"]))
    for number, (line, wanted) in enumerate(zip(record["epochs"], expected.lines, strict=True), start=1):
        assert line["epoch"] == number
        assert {name: line[name] for name in wanted} == pytest.approx(wanted, rel=1e-12)
    assert_same(ends[0].params, expected.steps[-1][0], "params at the end")
    steps = [report for report in reports if report.line is None]
    assert [report.images for report in steps] == [16 * n for n in range(1, TOTAL + 1)]
    assert steps[2].loss == pytest.approx(expected.lines[0]["train_loss"], rel=1e-12)
    assert steps[2].error == pytest.approx(expected.lines[0]["train_error"], rel=1e-12)
    assert steps[1].loss != pytest.approx(steps[2].loss)


PIXELS: dict[str, Any] = {"width": 2, "epochs": 2, "train_size": 7, "test_size": 105, "augment": False, "seed": 4}
PIXEL_CASES: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "bn, a warm-up of half the run": (
        {"norm": "bn", "norm_batch": 2, "gradient_batch": 2, "decay": 0.7, "warmup": 50},
        batch_norm,
        batch_norm.Config(norm_batch=2, decay=0.7),
    ),
    "brn in its ramps": (  # which would be over at once, 6 gradient batches of two being few, but for the factor
        {"norm": "brn", "norm_batch": 1, "gradient_batch": 2, "decay": 0.6, "warmup": 2, "ramp": 10.0},
        batch_renorm,
        batch_renorm.Config(norm_batch=1, decay=0.6, r_max=ramp(3, 30, 1.0, 3.0), d_max=ramp(3, 18, 0.0, 5.0)),
    ),
    "mabn, WC": (
        {"norm": "mabn", "norm_batch": 2, "gradient_batch": 2, "decay": 0.6, "window": 3, "renorm_after": 2}
        | {"clip": 1.02, "warmup": 1, "centralized": True},
        mabn,
        mabn.Config(norm_batch=2, decay=0.6, window=3, clip=1.02, renorm_from=3),
    ),
    "gn, WS, no warm-up": (
        {"norm": "gn", "norm_batch": 1, "gradient_batch": 3, "warmup": 0, "standardized": True},
        group_norm,
        group_norm.Config(groups=2),
    ),
    "online norm": (
        {"norm": "online", "norm_batch": 1, "gradient_batch": 2, "decay": 0.9, "warmup": 2},
        online_norm,
        online_norm.Config(decay_forward=0.9),
    ),
}


@pytest.mark.parametrize("case", PIXEL_CASES)
def test_every_epoch_of_pixels_is_that_of_a_plain_loop(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses to 1e-12 show every step but the last; the weights and states that are tested show that one."""
    given, module, norm = PIXEL_CASES[case]
    settings = {"centralized": False, "standardized": False, **PIXELS, **RATES, **given}
    layers = tasks.encoder_decoder(
        module, norm, width=2, centralized=settings["centralized"], standardized=settings["standardized"]
    )
    train, test = scenes.generate(7, 105, 0)
    expected = plain(layers, settings, train, test, pixels=True)
    kept: list[Any] = []
    infer = network.infer

    def spy(layers: Any, params: Any, states: Any, x: Any) -> Any:
        kept.append((params, states, infer(layers, params, states, x)))
        return kept[-1][2]

    monkeypatch.setattr(network, "infer", spy)
    monkeypatch.setattr(devices, "library", lambda device: DOUBLE)
    record = run_pixels(RunConfig(**settings))
    assert record["status"] == "done", record["message"]
    assert [len(logits) for _, _, logits in kept] == [100, 5] * 2
    steps = 7 // settings["gradient_batch"]
    for epoch, (line, wanted) in enumerate(zip(record["epochs"], expected.lines, strict=True)):
        assert line["epoch"] == epoch + 1
        params, _, states = expected.steps[(epoch + 1) * steps - 1]
        assert_same(kept[2 * epoch][0], params, f"params after epoch {epoch + 1}")
        assert_same(kept[2 * epoch][1], states, f"states after epoch {epoch + 1}")
        found = np.concatenate([kept[2 * epoch][2], kept[2 * epoch + 1][2]])
        np.testing.assert_allclose(found, expected.logits[epoch], rtol=1e-12, atol=1e-12)
        assert {name: line[name] for name in wanted} == pytest.approx(wanted, rel=1e-12)
    assert record["mean_iou"] == record["epochs"][-1]["mean_iou"]
    shown = expected.logits[-1][: tasks.EXAMPLES].argmax(axis=-1)
    assert record["predictions"] == ["".join(str(label) for row in image for label in row) for image in shown]


def test_the_loss_that_is_minimised_is_the_mean_over_the_batch() -> None:
    """The gradient that the plain loops start from, against the package's: they agree, and so do the losses."""
    rng = np.random.default_rng(0)
    logits, truth = rng.standard_normal((5, 10)), rng.integers(0, 10, 5)
    loss, gradient = gradient_of_mean_cross_entropy(logits, truth)
    value, cache = softmax_cross_entropy.forward(logits, truth)
    assert float(value) == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(softmax_cross_entropy.backward(1.0, cache), gradient, rtol=1e-12, atol=1e-15)

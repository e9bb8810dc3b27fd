"""Training on the device: it starts as on the host and follows it; a checkpoint of one goes on on the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mabn_ref import cli
from mabn_ref.data import channel_statistics, embedded, to_float
from mabn_ref.nn import network, networks, optimiser, softmax_cross_entropy
from mabn_ref.norms import batch_norm, mabn
from mabn_ref.train.config import RunConfig
from mabn_ref.train.devices import DeviceError, to_device, to_host
from mabn_ref.train.runs import run_one

STEPS = 100
SMALL: dict[str, Any] = {"width": 4, "epochs": 2, "train_size": 96, "test_size": 40}


def losses(module: Any, config: Any, xp: Any) -> tuple[list[float], Any]:
    """Train in float64, so that rounding does not grow to what is seen within the steps; and the weights after it."""
    layers = networks.small_network(module, config, centralized=module is mabn, width=4)
    params, states = network.init(layers, np.random.default_rng(0), dtype=xp.float64, xp=xp)
    velocity = optimiser.init(params)
    train, _ = embedded.generate(train_size=320, test_size=10, seed=0)
    images = to_float(train.images, *channel_statistics(train.images)).astype(np.float64)[:, ::2, ::2]
    rng, found = np.random.default_rng(1), []
    for _ in range(STEPS):
        chosen = rng.integers(0, len(images), 16)
        x, labels = to_device([images[chosen], train.labels[chosen]], xp)
        logits, caches, states = network.forward(layers, params, states, x)
        loss, cache = softmax_cross_entropy.forward(logits, labels)
        found.append(float(loss))
        grads, states = network.backward(layers, softmax_cross_entropy.backward(1.0, cache), caches, states)
        params, velocity = optimiser.step(params, grads, velocity, lr=0.02, momentum=0.9, weight_decay=5e-4)
    return found, to_host(params)


@pytest.mark.parametrize("module", [batch_norm, mabn])
def test_a_hundred_steps_follow_the_host(xp: Any, module: Any) -> None:
    config = module.Config(norm_batch=2)
    ours, weights = losses(module, config, np)
    theirs, weights_ = losses(module, config, xp)
    assert ours[0] != ours[-1]
    np.testing.assert_allclose(theirs[0], ours[0], rtol=1e-12)
    np.testing.assert_allclose(theirs, ours, rtol=1e-6)
    for there, here in zip(weights_, weights, strict=True):
        for name in here:
            np.testing.assert_allclose(there[name], here[name], rtol=1e-5, atol=1e-6 * np.abs(here[name]).max())


def test_a_run_from_the_command_line(xp: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    del xp
    arguments = ["train", "--device", "cuda", "--checkpoint", str(tmp_path / "run.npz")]
    sizes = ["--width", "4", "--epochs", "1", "--train-size", "64", "--test-size", "20"]
    assert cli.main([*arguments, *sizes]) == 0, capsys.readouterr().err
    assert (tmp_path / "run.npz").exists()


def test_a_checkpoint_of_the_device_goes_on_on_the_host(xp: Any, tmp_path: Path) -> None:
    del xp
    config = RunConfig(**SMALL)
    file = tmp_path / "run.npz"

    class Interrupted(Exception):
        pass

    def stop(report: Any) -> None:
        if report.images == 128:
            raise Interrupted

    with pytest.raises(Interrupted):
        run_one(config, device="cuda", checkpoint=file, checkpoint_every=1, report=stop)
    there, here = run_one(config, checkpoint=file), run_one(config)
    assert there["status"] == here["status"] == "done"
    assert there["machine"]["device"] == "cpu"
    np.testing.assert_allclose(
        [line["train_loss"] for line in there["epochs"]], [line["train_loss"] for line in here["epochs"]], rtol=1e-3
    )


def test_the_record_names_the_device(xp: Any) -> None:
    del xp
    record = run_one(RunConfig(**SMALL | {"epochs": 1}), device="cuda")
    assert record["status"] == "done"
    assert record["machine"]["device"] == "cuda"


def test_what_has_no_error_function_there_is_refused_at_once(xp: Any) -> None:
    del xp
    with pytest.raises(DeviceError, match=r"^derf runs on the CPU alone: leave out --device$"):
        run_one(RunConfig(**SMALL | {"norm": "derf", "norm_batch": 1}), device="cuda")

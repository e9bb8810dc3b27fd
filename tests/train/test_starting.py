"""Runs that begin from another network's checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mabn_ref.cli import main
from mabn_ref.data import to_float
from mabn_ref.nn import network
from mabn_ref.train import checkpoints, loop, results, starting
from mabn_ref.train.config import RunConfig, recipe
from mabn_ref.train.runs import run_one

TINY: dict[str, Any] = {"width": 2, "epochs": 1, "train_size": 64, "test_size": 20, "warmup": 1, "augment": False}


def trained(tmp_path: Path, norm: str = "bn", **settings: Any) -> tuple[starting.Source, Any, loop.Setup]:
    """The source that a short run's checkpoint is, where that run ended, and its setup."""
    config = recipe(norm, **{"norm_batch": 32, **TINY, **settings})
    setup = loop.prepare(config)
    *_, end = loop.run(setup, loop.begin(setup))
    path = tmp_path / "source.npz"
    checkpoints.save(path, config, end)
    return starting.from_checkpoint(path), end, setup


def begun(source: starting.Source, norm: str, **settings: Any) -> tuple[loop.Setup, loop.Progress, dict[str, Any]]:
    setup = loop.prepare(recipe(norm, **{**TINY, "start": source.name, **settings}))
    return setup, *starting.begin(setup, loop.begin(setup), source)


def said_by(setup: loop.Setup, progress: loop.Progress) -> Any:
    x = to_float(setup.images.test.images, setup.images.mean, setup.images.std)
    return network.infer(setup.layers, progress.params, progress.states, x)


@pytest.mark.parametrize("devices", [1, 4])
@pytest.mark.parametrize("norm", ["bn", "brn", "mabn", "frozen-bn", "modified-bn"])
def test_the_network_says_what_it_said(tmp_path: Path, norm: str, devices: int) -> None:
    source, end, before = trained(tmp_path, centralized=True)
    many = {"norm_batch": 1 if norm == "frozen-bn" else 4, "devices": devices}
    setup, progress, layers = begun(source, norm, centralized=True, **many)
    np.testing.assert_allclose(said_by(setup, progress), said_by(before, end), rtol=2e-4, atol=2e-4)
    assert "fresh" not in layers
    assert layers["taken" if norm == "bn" else "converted"][-1] in ("norm7", "linear")
    *_, after = loop.run(setup, progress)  # and trains
    assert len(after.history) == 1


@pytest.mark.parametrize("devices", [1, 4])
def test_statistics_of_one_kind_are_taken_over(tmp_path: Path, devices: int) -> None:
    """From MABN on devices to MABN with another window, whose windows start empty."""
    source, end, before = trained(tmp_path, "mabn", norm_batch=2, devices=devices)
    setup, progress, layers = begun(source, "mabn", norm_batch=2, window=3)
    np.testing.assert_array_equal(said_by(setup, progress), said_by(before, end))
    assert layers.keys() == {"taken"}
    assert progress.states[1].iteration == 0


NOT_LINEAR = [("bn", "online"), ("online", "bn"), ("bn", "eval-norm"), ("online", "online")]


@pytest.mark.parametrize(("old", "new"), NOT_LINEAR)
def test_where_inference_cannot_stay_the_moving_statistics_are_taken(tmp_path: Path, old: str, new: str) -> None:
    source, end, _ = trained(tmp_path, old, norm_batch=1 if old == "online" else 4)
    _, progress, layers = begun(source, new, norm_batch=1 if new == "online" else 4)
    assert layers.keys() == {"taken"}
    for field in ("mean", "var"):
        np.testing.assert_array_equal(getattr(progress.states[1], field), getattr(end.states[1], field))


def test_a_centralised_weight_is_taken_as_it_was_used(tmp_path: Path) -> None:
    source, end, before = trained(tmp_path, centralized=True)
    setup, progress, _ = begun(source, "bn", norm_batch=32, centralized=False)
    np.testing.assert_allclose(said_by(setup, progress), said_by(before, end), rtol=2e-4, atol=2e-4)
    assert not np.allclose(end.params[0]["w"], progress.params[0]["w"])


def test_weights_are_centred_where_the_run_centralises_them(tmp_path: Path) -> None:
    source, _, _ = trained(tmp_path)
    _, progress, layers = begun(source, "mabn")
    assert layers["centred"] == [f"conv{n}" for n in range(1, 8)]
    np.testing.assert_allclose(progress.params[0]["w"].sum(axis=(0, 1, 2)), 0, atol=1e-5)


def test_standardised_weights_are_centred_already(tmp_path: Path) -> None:
    source, end, before = trained(tmp_path, standardized=True)
    setup, progress, layers = begun(source, "mabn", norm_batch=2)
    assert setup.config.centralized
    assert "centred" not in layers
    expected = said_by(before, end)
    np.testing.assert_allclose(said_by(setup, progress), expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_where_the_run_standardises_weights_that_the_source_did_not_it_is_said(tmp_path: Path) -> None:
    source, *_ = trained(tmp_path)
    _, _, layers = begun(source, "bn", norm_batch=32, standardized=True)
    assert layers["standardised"] == [f"conv{n}" for n in range(1, 8)]
    assert layers["taken"] == [*(f"norm{n}" for n in range(1, 8)), "linear"]


def test_what_does_not_fit_starts_fresh(tmp_path: Path) -> None:
    """The residual network has some names of the plain one, and some shapes."""
    source, end, _ = trained(tmp_path)
    setup, progress, layers = begun(source, "bn", norm_batch=32, network="resnet8")
    start = loop.begin(setup)
    assert {"conv1", "conv2", "norm1", "norm2"} <= set(layers["taken"])
    assert {"conv4", "project4"} <= set(layers["fresh"])
    for i, layer in enumerate(setup.layers):
        if layer.name in layers["fresh"]:
            assert all(np.array_equal(progress.params[i][k], p) for k, p in start.params[i].items())
    np.testing.assert_array_equal(progress.params[0]["w"], end.params[0]["w"])


def test_what_has_other_statistics_keeps_gamma_and_beta(tmp_path: Path) -> None:
    source, end, _ = trained(tmp_path, "mabn", norm_batch=2)
    _, progress, layers = begun(source, "bn", norm_batch=32, centralized=True)
    assert layers["statistics fresh"] == [f"norm{n}" for n in range(1, 8)]
    np.testing.assert_array_equal(progress.params[1]["gamma"], end.params[1]["gamma"])
    assert np.all(progress.states[1].var == 1)
    _, _, layers = begun(source, "gn", norm_batch=1, centralized=True)
    assert "norm1" in layers["taken"]


def test_nothing_fits(tmp_path: Path) -> None:
    source, _, _ = trained(tmp_path)
    with pytest.raises(
        starting.DoesNotFit, match=r"^BN 32, seed 0, [0-9a-f]{12} has no layer with the name and shape"
    ):
        begun(source, "bn", norm_batch=32, width=3)


def test_the_configuration_and_the_source_belong_together(tmp_path: Path) -> None:
    source, _, _ = trained(tmp_path)
    with pytest.raises(ValueError, match=r"^start is None, expected the name of the source: 'BN 32, seed 0"):
        run_one(recipe("bn", **TINY), source=source)
    with pytest.raises(ValueError, match=r"^start is 'a', expected the name of the source: None$"):
        run_one(RunConfig(start="a"))


def test_a_damaged_source_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "source.npz"
    path.write_bytes(b"no archive")
    with pytest.raises(checkpoints.CheckpointError, match="is not a checkpoint"):
        starting.from_checkpoint(path)
    source, _, _ = trained(tmp_path)
    whole = dict(np.load(path))
    whole.pop("params/00/w")
    with path.open("wb") as file:
        np.savez(file, **whole)
    with pytest.raises(checkpoints.CheckpointError, match="lacks array params/00/w"):
        starting.from_checkpoint(path)
    assert source.about["digest"].startswith(source.name.rpartition(" ")[2])


def test_the_command_says_what_it_began_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, _, _ = trained(tmp_path)
    sizes = ["--width", "2", "--epochs", "1", "--train-size", "64", "--test-size", "20"]
    words = ["train", "--norm", "bn", "--norm-batch", "32", *sizes]
    begins = ["--from", str(tmp_path / "source.npz"), "--out", str(tmp_path), "--checkpoint", str(tmp_path / "a.npz")]
    assert main([*words, *begins]) == 0
    assert f"Began from {source.name}; taken: conv1" in " ".join(capsys.readouterr().out.split())
    record = results.read(tmp_path / "results.jsonl")[0]
    assert record["config"]["start"] == source.name
    assert record["start"]["config"] == source.about["config"]
    assert main([*words, *begins]) == 0  # it resumes, and has nothing to do
    assert main([*words, "--checkpoint", str(tmp_path / "a.npz")]) == 2
    assert "start is" in capsys.readouterr().err
    assert main([*words, "--from", str(tmp_path / "none.npz")]) != 0
    assert "none.npz" in capsys.readouterr().err

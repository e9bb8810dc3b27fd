"""Computing elsewhere than on the host, with an array library that refuses silent conversions in CuPy's place."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mabn_ref import cli
from mabn_ref.train import checkpoints, devices, loop, runs
from mabn_ref.train.config import RunConfig, recipe

SMALL: dict[str, Any] = {"width": 4, "epochs": 1, "train_size": 64, "test_size": 10, "norm_batch": 2}


@pytest.fixture
def strict() -> Any:
    return pytest.importorskip("array_api_strict", reason="array-api-strict is not installed")


def finished(config: RunConfig, xp: Any) -> loop.Progress:
    setup = loop.prepare(config, xp)
    *_, last = loop.run(setup, loop.begin(setup))
    return last


@pytest.mark.parametrize("norm", ["bn", "brn", "modified-bn", "mabn"])
def test_a_run_elsewhere_follows_the_one_on_the_host(strict: Any, norm: str) -> None:
    config = recipe(norm, **SMALL)
    here, there = finished(config, np), finished(config, strict)
    assert type(there.params[0]["w"]).__module__.startswith("array_api_strict")
    assert there.params[0]["w"].dtype == strict.float32
    np.testing.assert_array_equal(there.order, here.order)
    for ours, theirs in zip(here.params, devices.to_host(there.params), strict=True):
        for name, value in ours.items():
            np.testing.assert_allclose(theirs[name], value, rtol=1e-3, atol=1e-5)


def test_a_checkpoint_of_one_device_goes_on_on_the_other(strict: Any, tmp_path: Path) -> None:
    config = recipe("mabn", **SMALL)
    setup = loop.prepare(config, strict)
    one_step = next(loop.run(setup, loop.begin(setup)))
    checkpoints.save(tmp_path / "run.npz", config, one_step)
    back = checkpoints.load(tmp_path / "run.npz", config, loop.begin(loop.prepare(config)))
    assert isinstance(back.params[0]["w"], np.ndarray)
    assert back.states[1].iteration == 16
    again = checkpoints.load(tmp_path / "run.npz", config, loop.begin(setup))
    assert type(again.states[1].chi2).__module__.startswith("array_api_strict")
    np.testing.assert_array_equal(devices.to_host(again.states[1].chi2), back.states[1].chi2)


def test_without_cupy(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ImportError, match=r'pip install "mabn_ref\[cupy12x\]" for CUDA 12'):
        devices.library("cuda")
    assert cli.main(["compare", "--device", "cuda"]) == 1
    assert "cupy is not installed" in capsys.readouterr().err


def test_without_a_driver(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def no_device(shape: int) -> Any:
        raise RuntimeError("cudaErrorInsufficientDriver")

    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(zeros=no_device))
    with pytest.raises(
        devices.DeviceError, match=r"no CUDA device can be used, run with --device cpu .*Insufficient"
    ):
        devices.library("cuda")
    assert cli.main(["train", "--device", "cuda"]) == 1
    assert "no CUDA device can be used" in capsys.readouterr().err


def test_an_old_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(zeros=np.zeros, __version__="13.6.0"))
    with pytest.raises(devices.DeviceError, match=r"cupy is version 13\.6\.0, expected 14 or newer: pip install"):
        devices.library("cuda")


def test_a_full_card(monkeypatch: pytest.MonkeyPatch) -> None:
    class OutOfMemoryError(Exception):
        pass

    def full(*arguments: Any) -> Any:
        raise OutOfMemoryError("2 GB")

    monkeypatch.setattr(loop, "prepare", full)
    with pytest.raises(
        devices.DeviceError, match=r"the CUDA device is out of memory; use a smaller --width, or --device cpu:.*2 GB"
    ):
        runs.run_one(recipe("mabn", **SMALL))


def test_unknown_devices(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="device is 'gpu', expected one of cpu, cuda"):
        devices.library("gpu")
    assert cli.main(["train", "--device", "cud"]) == 2
    assert "unknown device 'cud': did you mean 'cuda'?" in capsys.readouterr().err

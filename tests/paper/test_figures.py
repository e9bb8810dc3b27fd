"""Recording changes nothing, and what is recorded are the batch statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mabn_ref.norms import batch_norm, batch_renorm, mabn, modified_batch_norm
from mabn_ref.paper import figures
from mabn_ref.paper.figures import norms_of_statistics, run_recorded
from mabn_ref.paper.recorder import Recorder, recorded
from mabn_ref.paper.study import Context
from mabn_ref.train import loop
from mabn_ref.train.config import recipe
from mabn_ref.train.runs import run_one

TINY: dict[str, Any] = {"width": 4, "epochs": 2, "train_size": 96, "test_size": 20}


def ending(config: Any, prepared: Any = None) -> loop.Progress:
    found: list[loop.Progress] = []
    run_one(config, prepared=prepared, finished=lambda setup, progress: found.append(progress) or {})  # type: ignore[func-returns-value]
    return found[0]


@pytest.mark.parametrize("norm", ["bn", "brn", "modified-bn", "mabn"])
def test_training_is_bit_identical(norm: str) -> None:
    """Weights, velocities and states at the end, not the errors alone."""
    config = recipe(norm, norm_batch=2, **TINY, **({"renorm_after": 1} if norm == "mabn" else {}))

    def watched(setup: loop.Setup) -> loop.Setup:
        return setup._replace(layers=recorded(setup.layers, lambda *_: None))

    plain, again = ending(config), ending(config, watched)
    for group in ("params", "velocity"):
        for a, b in zip(getattr(plain, group), getattr(again, group), strict=True):
            for name in a:
                np.testing.assert_array_equal(a[name], b[name])
    for a, b in zip(plain.states, again.states, strict=True):
        for x, y in zip(a or (), b or (), strict=True):
            np.testing.assert_array_equal(x, y)


def test_a_recorded_run_is_the_record_of_the_run_and_a_line_a_step() -> None:
    config = recipe("mabn", **TINY)
    plain, recorded = run_one(config), run_recorded(config)
    statistics = recorded.pop("statistics")
    for record in (plain, recorded):
        record.pop("seconds")
        for line in record["epochs"]:
            line.pop("seconds")
    assert recorded == plain
    assert list(statistics) == [f"norm{n}" for n in range(1, 8)]
    for layer in statistics.values():
        assert {len(values) for kinds in layer.values() for values in kinds.values()} == {6}


def test_runs_that_diverged_are_left_out() -> None:
    context = Context((0,), TINY, layer="norm1")
    record = run_recorded(figures.configs([figures._ROWS[0]], context)[0])
    for status, runs in (("done", 1), ("diverged", 0)):
        assert len(figures._outcome(context, [record | {"status": status}]).data) == runs


def run(module: Any, config: Any, calls: int = 1) -> tuple[dict[str, list[float]], Any, Any, Any]:
    rng = np.random.default_rng(0)
    gamma, beta = rng.uniform(0.5, 2, 3), rng.standard_normal(3)
    lines: list[dict[str, list[float]]] = []
    recorder = Recorder(module, lambda *found: lines.append(norms_of_statistics(module, *found)))
    state = module.init(3, config, dtype=float)
    for _ in range(calls):
        x, dz = rng.standard_normal((8, 2, 3)) + 1, rng.standard_normal((8, 2, 3))
        _, cache, state = recorder.forward(x, gamma, beta, state, config)
        *_, state = recorder.backward(dz, cache, state)
    assert len(lines) == calls
    return lines[-1], x, dz * gamma, cache


@pytest.mark.parametrize("norm", [batch_renorm, mabn])
def test_a_batch_of_all_samples_has_no_gap_whatever_r(norm: Any) -> None:
    """r is far from one here; left out of the gradient of all samples it would be the gap of g and Psi."""
    setting: dict[str, Any] = {"window": 1} if norm is mabn else {"r_max": 3.0, "d_max": 5.0}
    line, _, _, cache = run(norm, norm.Config(norm_batch=8, **setting), calls=3)
    assert np.abs(np.log(cache.r)).max() > 0.2
    for small, _, gap in line.values():
        assert gap < 1e-9 * small


def expect(found: list[float], small: np.ndarray, regular: np.ndarray) -> None:
    norms = [np.linalg.norm(a) for a in (small, regular, small - regular)]
    np.testing.assert_allclose(found, norms, rtol=1e-4)


def test_what_is_written_down_of_batch_norm() -> None:
    line, x, dy, _ = run(batch_norm, batch_norm.Config(norm_batch=2))
    last, y = x[-2:].reshape(-1, 3), x[-2:].reshape(-1, 3)
    y = (last - last.mean(0)) / np.sqrt(last.var(0) + 1e-5)
    whole = x.reshape(-1, 3)
    y_all = (whole - whole.mean(0)) / np.sqrt(whole.var(0) + 1e-5)
    expect(line["mu"], last.mean(0), whole.mean(0))
    expect(line["var"], last.var(0), whole.var(0))
    u = dy.reshape(-1, 3)
    expect(line["g"], u[-4:].mean(0), u.mean(0))
    expect(line["psi"], (y * u[-4:]).mean(0), (y_all * u).mean(0))


def test_what_is_written_down_of_the_modified_form_and_of_mabn() -> None:
    line, x, dy, _ = run(modified_batch_norm, modified_batch_norm.Config(norm_batch=2))
    last, whole, u = x[-2:].reshape(-1, 3), x.reshape(-1, 3), dy.reshape(-1, 3)
    expect(line["chi2"], (last**2).mean(0), (whole**2).mean(0))
    y, y_all = (a / np.sqrt((a**2).mean(0) + 1e-5) for a in (last, whole))
    expect(line["psi"], (y * u[-4:]).mean(0), (y_all * u).mean(0))
    # a window of one gradient batch, no r: the averages over it, of chi^2 exactly that of all samples
    line, x, dy, cache = run(mabn, mabn.Config(norm_batch=2, window=4, clip=1.0), calls=2)
    whole, u = x.reshape(-1, 3), dy.reshape(-1, 3)
    assert line["chi2"][2] < 1e-9
    psi = np.mean([(y_ * u_).mean(0) for y_, u_ in zip(cache.y, u.reshape(4, 4, 3), strict=True)], axis=0)
    y_all = whole / np.sqrt((whole**2).mean(0) + 1e-5)
    expect(line["psi"], psi, (y_all * u).mean(0))

"""The noise of the weights' gradients as a study."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mabn_ref.cli import main
from mabn_ref.data import cifar, embedded
from mabn_ref.nn import network
from mabn_ref.paper import weight_noise
from mabn_ref.paper.study import Context
from mabn_ref.paper.weight_noise import WEIGHT_NOISE, gradient_noise, run_watched
from mabn_ref.train import loop, results
from mabn_ref.train.config import recipe
from mabn_ref.train.runs import run_one

TINY: dict[str, Any] = {"norm_batch": 2, "width": 4, "epochs": 1, "train_size": 192, "test_size": 10}
PAPER = Path(__file__).parents[2] / "docs" / "results" / "paper" / "width-16"


@pytest.mark.parametrize("centralized", [False, True])
def test_the_noise_of_the_form_that_trains_is_that_of_its_gradients(
    centralized: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against what `network.backward` returns, and the other forms against plain means and formulas.

    eq: bn-backward, theorem-2-repaired
    """
    setup = loop.prepare(recipe("bn", centralized=centralized, **TINY))
    seen: list[list[dict[str, Any]]] = []
    backward = network.backward

    def kept(layers: Any, d: Any, caches: Any, states: Any) -> Any:
        grads, states = backward(layers, d, caches, states)
        if len(layers) > 1:
            seen.append(grads)
        return grads, states

    monkeypatch.setattr(network, "backward", kept)
    found = gradient_noise(setup, loop.begin(setup))
    once, again = seen[: setup.steps], seen[setup.steps :]
    for i, layer in enumerate(setup.layers):
        if not isinstance(layer, network.Conv):
            continue
        for a, b in zip(once, again, strict=True):
            np.testing.assert_array_equal(a[i]["w"], b[i]["w"])
        weights = np.stack([grads[i]["w"] for grads in again]).astype(np.float64)
        forms = found[layer.name]
        variance = np.sum(np.var(weights, axis=0, ddof=1))
        assert forms["batch"]["weights"] == pytest.approx(variance, rel=1e-4)
        signal = np.sum(np.mean(weights, axis=0) ** 2) - variance / setup.steps
        assert forms["batch"]["signal"] == pytest.approx(signal, abs=1e-4 * variance)
        # Pythagoras: the errors of g and of Psi are perpendicular in every batch
        assert forms["population"]["dx"] == 0
        assert forms["no g"]["dx"] == pytest.approx(forms["population g"]["dx"], rel=1e-4)
        assert forms["batch"]["dx"] == pytest.approx(
            forms["population g"]["dx"] + forms["population Psi"]["dx"], rel=1e-4
        )
        assert forms["population g"]["weights"] > forms["batch"]["weights"]


def test_without_g_a_gradient_that_is_the_same_everywhere_gets_through() -> None:
    """dz = 1 is g alone: batch norm stops it, the form without g does not, nor that with a population's g."""
    setup = loop.prepare(recipe("bn", **TINY))
    progress = loop.begin(setup)
    _, found = next(iter(weight_noise._gradient_batches(setup, progress))).popitem()
    _, _, dz, cache = found
    sigma = cache.sigma.reshape(len(cache.y), -1)
    one, zero = np.ones_like(dz), np.zeros_like(sigma)
    stopped = weight_noise._dx(one, cache, zero + 1, zero)
    assert not np.any(stopped)
    passed = weight_noise._dx(one, cache, zero, zero)
    np.testing.assert_allclose(passed.reshape(cache.y.shape), np.broadcast_to(1 / sigma[:, None], cache.y.shape))


def test_looking_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_noise, "UPDATES", (0, 2))
    config = recipe("bn", **TINY)
    record, plain = run_watched(config), run_one(config)
    assert list(record["noise"]) == ["0", "2", "6"]
    assert record["noise"]["0"] != record["noise"]["2"]
    assert [line["train_loss"] for line in record["epochs"]] == [line["train_loss"] for line in plain["epochs"]]
    assert record["epochs"][-1]["test_error"] == plain["epochs"][-1]["test_error"]
    assert json.loads(json.dumps(record["noise"], allow_nan=False)) == record["noise"]


def test_one_gradient_batch_is_refused_before_any_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of an option as of a directory; in Python at the first look."""
    least = "expected at least 64: weight_noise needs 2 gradient batches\n"
    out = ["--epochs", "1", "--width", "4", "--out", str(tmp_path / "out")]
    assert main(["paper", "weight_noise", "--train-size", "63", *out]) == 2
    assert capsys.readouterr().err == f"mabn-ref paper: error: argument --train-size: 63, {least}"
    train, test = embedded.generate(63, 10, seed=0)
    monkeypatch.setattr(cifar, "read_directory", lambda *_: (train, test))
    assert main(["paper", "weight_noise", "--data-dir", str(tmp_path), *out]) == 2
    assert capsys.readouterr().err == f"mabn-ref paper: error: {tmp_path} holds 63 training images, {least}"
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match=r"^there are 63 training images, expected at least 64: a variance"):
        run_watched(recipe("bn", **TINY | {"train_size": 63}))


@pytest.mark.parametrize(("size", "batches"), [(64, 2), (95, 2), (192, 6)])
def test_the_notes_say_over_how_many_gradient_batches(size: int, batches: int) -> None:
    context = Context((0,), TINY | {"train_size": size})
    rows = WEIGHT_NOISE.plan(context, [])
    outcome = WEIGHT_NOISE.outcome(context, [run_watched(run) for run in rows])
    assert f"Variance over {batches} gradient batches" in outcome.notes[1]
    assert "Variance over 40 gradient batches" in WEIGHT_NOISE.outcome(context, []).notes[1]


def noise(without_g: float) -> dict[str, Any]:
    """Made up: variances in % of batch norm's."""
    forms = {form: {"weights": 100.0, "dx": 100.0, "signal": 1.0} for form in weight_noise._FORMS}
    forms["no g"] = {"weights": without_g, "dx": 60.0, "signal": 1.0}
    return {"0": {f"conv{n}": forms for n in (1, 2, 3)}}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((120.0, 121.0, 122.0), "the opposite holds; +21.00 ± 2.48 % over 3 seeds"),
        ((80.0, 81.0, 82.0), "holds; -19.00 ± 2.48 % over 3 seeds"),
        ((99.0, 101.0, 102.0), "not decided; +0.67 ± 3.79 % over 3 seeds"),
        ((120.0, 121.0), "no verdict, fewer than 3 seeds"),
    ],
)
def test_verdicts_and_tables_are_of_the_records(values: tuple[float, ...], said: str) -> None:
    context = Context(tuple(range(len(values))), {"epochs": 1})
    records = [
        {"status": "done", "config": config.as_dict(), "noise": noise(value)}
        for config, value in zip(WEIGHT_NOISE.plan(context, [])[::2], values, strict=True)
    ]
    outcome = WEIGHT_NOISE.outcome(context, records)
    assert outcome.verdicts[0] == f"less noise in the weights without g, BN 2, after 0 updates: {said}"
    rows = {row[0]: row[1:] for row in outcome.tables[0].rows}
    assert rows["0 updates, no g, batch Psi: noise of dx"][0].startswith(
        "-40.00 ± 0.00" if len(values) > 2 else "-40.00 (2 runs)"
    )
    assert rows["0 updates, batch g, population Psi: dL/dW"][2].startswith("+0.00")


def test_a_run_that_diverged_is_left_out() -> None:
    context = Context((0,), {"epochs": 1})
    config = WEIGHT_NOISE.plan(context, [])[0]
    outcome = WEIGHT_NOISE.outcome(
        context, [{"status": "diverged", "config": config.as_dict(), "noise": noise(120.0)}]
    )
    assert outcome.data["BN 2"] == {}


def test_a_run_whose_gradients_are_zero_is_left_out() -> None:
    context, dead = Context((0, 1), {"epochs": 1}), noise(120.0)
    dead["0"]["conv2"] = {form: {"weights": 0.0, "dx": 0.0, "signal": 0.0} for form in weight_noise._FORMS}
    records = [
        {"status": "done", "config": config.as_dict(), "noise": found}
        for config, found in zip(WEIGHT_NOISE.plan(context, [])[::2], (dead, noise(120.0)), strict=True)
    ]
    assert list(WEIGHT_NOISE.outcome(context, records).data["BN 2"]) == ["1"]
    assert WEIGHT_NOISE.outcome(context, records[:1]).data["BN 2"] == {}


def test_the_committed_file_is_what_the_committed_records_show() -> None:
    kept = json.loads((PAPER / "weight_noise.json").read_text(encoding="utf-8"))
    outcome = WEIGHT_NOISE.outcome(
        Context(tuple(kept["seeds"]), kept["settings"]), results.read(PAPER / WEIGHT_NOISE.file)
    )
    assert json.loads(json.dumps([table._asdict() for table in outcome.tables])) == kept["tables"]
    assert (outcome.verdicts, outcome.notes, outcome.data) == (kept["verdicts"], kept["notes"], kept["data"])

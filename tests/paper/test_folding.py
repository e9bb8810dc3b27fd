"""Folding is exact to rounding, and operations are counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mabn_ref.nn import dynamic_tanh, network, networks
from mabn_ref.nn.folding import Folded, fold, infer_folded, operations
from mabn_ref.norms import batch_norm, eval_norm, group_norm, online_norm, rms_norm
from mabn_ref.paper import table9
from mabn_ref.paper.study import Context
from mabn_ref.paper.table9 import TABLE9, measure_cost
from mabn_ref.train.config import build, recipe


def trained(weights: str, **settings: Any) -> tuple[Any, ...]:
    """A network in float64 whose states, gamma and beta are not their start."""
    rng = np.random.default_rng(0)
    module, norm = build(recipe(**settings), steps=1)
    layers = networks.small_network(module, norm, width=8, **{weights: True} if weights else {})
    params, states = network.init(layers, rng, dtype=np.float64)
    for p in params:
        if "gamma" in p:
            p["gamma"], p["beta"] = (rng.uniform(0.5, 2, p["gamma"].shape) for _ in range(2))
    for _ in range(3):
        _, _, states = network.forward(layers, params, states, rng.standard_normal((8, 32, 32, 3)))
    return layers, params, states, rng.standard_normal((3, 32, 32, 3))


@pytest.mark.parametrize("weights", ["", "centralized", "standardized"])
@pytest.mark.parametrize("norm", ["bn", "brn", "modified-bn", "mabn"])
def test_a_folded_network_is_the_network(norm: str, weights: str) -> None:
    """eq: fold, bn-infer, modified-infer"""
    layers, params, states, x = trained(weights, norm=norm, norm_batch=2)
    steps = fold(layers, params, states)
    assert sum(isinstance(step, Folded) for step in steps) == 7
    assert len(steps) == len(layers) - 7
    expected = network.infer(layers, params, states, x)
    np.testing.assert_allclose(infer_folded(steps, x), expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())


def test_what_is_not_linear_is_left() -> None:
    layers, params, states, x = trained("", norm="gn", norm_batch=1)
    steps = fold(layers, params, states)
    assert len(steps) == len(layers)
    np.testing.assert_array_equal(infer_folded(steps, x), network.infer(layers, params, states, x))


def test_online_norm_is_folded_without_layer_scaling_alone() -> None:
    layers, _, _, x = trained("", norm="online", norm_batch=1)
    for layer_scaling, folded in ((True, 0), (False, 7)):
        config = online_norm.Config(layer_scaling=layer_scaling)
        made = [layer._replace(config=config) if isinstance(layer, network.Norm) else layer for layer in layers]
        params, states = network.init(made, np.random.default_rng(0), dtype=x.dtype)
        steps = fold(made, params, states)
        assert sum(isinstance(step, Folded) for step in steps) == folded
        np.testing.assert_allclose(infer_folded(steps, x), network.infer(made, params, states, x), rtol=1e-9)


def test_operations_by_hand() -> None:
    layers = [
        network.Conv("conv", 3, 4, kernel=3, stride=2, padding=1),
        network.Norm("norm", batch_norm, 4, batch_norm.Config()),
        network.ReLU("relu"),
        network.GlobalAveragePool("pool"),
        network.Linear("linear", 4, 10),
    ]
    values = 4 * 4 * 4
    assert operations(layers, 8) == (2 * 27 * values, 2 * values, 2 * values + 80)
    assert operations(layers, 8, folded=True).normalisers == values
    layers[1] = network.Norm("norm", group_norm, 4, group_norm.Config.layer())
    assert operations(layers, 8, folded=True).normalisers == 7 * values
    layers[2:3] = [network.Upsample("up", 3), network.Conv("conv2", 4, 1, kernel=1, padding=0)]
    assert operations(layers, 8).convolutions == 2 * 27 * values + 2 * 4 * 9 * 16


@pytest.mark.parametrize("module", [rms_norm, eval_norm, online_norm])
def test_arithmetic_that_is_not_counted_is_named(module: Any) -> None:
    layers = [network.Norm("norm", module, 4, module.Config(**{"norm_batch": 2} if module is eval_norm else {}))]
    with pytest.raises(ValueError, match=r"^the operations of norm are not counted"):
        operations(layers)
    with pytest.raises(ValueError, match=r"^the operations of curve are not counted"):
        operations([network.Curve("curve", dynamic_tanh, 4)])


def test_costs_of_all_are_measured_in_one_run() -> None:
    found = measure_cost(width=8, rounds=2)
    assert json.loads(json.dumps(found)) == found
    (figure,) = TABLE9.draw(found).values()
    assert [axes.get_title() for axes in figure.axes] == ["inference", "training step"]
    assert list(found) == ["BN 32, folded", "BN 32", "MABN 2 + WC, folded", "MABN 2 + WC", "GN", "IN", "LN"]
    for name, cost in found.items():
        assert cost["infer"][1] <= cost["infer"][0] <= cost["infer"][2]
        folded = name.endswith("folded")
        assert cost["infer"][0] > 0
        assert cost["infer_memory"] > 0
        assert folded or cost["infer_memory"] < cost["train_memory"]
        assert not (folded and {"train", "train_memory"} & set(cost))
        assert (cost["worst_fold"] is not None) == folded
        assert (cost["worst_fold"] or 0) < 1e-5


def test_times_are_each_subjects_own_without_the_call_that_warms_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that calls put forward: the n-th of subject k takes 100 k + n ms, and 1000 ms more if it trains."""
    now, calls = 0.0, list[tuple[int, str]]()
    subjects: list[table9.Subject] = []

    def subject(settings: Any, folded: bool, width: int) -> table9.Subject:
        place = len(subjects)

        def call(what: str) -> None:
            nonlocal now
            calls.append((place, what))
            now += (100 * place + calls.count((place, what)) + 1000 * (what == "train")) / 1e3

        whats = ("infer",) if folded else ("infer", "train")
        of_calls = {what: lambda what=what: call(what) for what in whats}
        subjects.append(table9.Subject([network.Linear("linear", 1, 1)], of_calls, None))
        return subjects[-1]

    monkeypatch.setattr(table9, "_subject", subject)
    monkeypatch.setattr(table9.time, "perf_counter", lambda: now)
    found = measure_cost(width=8, rounds=5)
    monkeypatch.undo()
    assert len(found) == len(subjects) == 7
    for place, cost in enumerate(found.values()):
        middle, low, high = (100 * place + n for n in (6, 4, 8))  # of 2, 4, 6, 8 and 10, every second call
        assert cost["infer"] == pytest.approx([middle, low, high])
        if "train" in cost:
            assert cost["train"] == pytest.approx([1000 + middle, 1000 + low, 1000 + high])
    assert calls[:4] == [(0, "infer"), (0, "infer"), (1, "infer"), (1, "infer")]  # one subject after the other


def test_the_committed_measurement_is_as_the_code_would_show_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times cannot be had again; which there are, and what is said of them, can."""
    file = Path(__file__).parents[2] / "docs" / "results" / "paper" / "table9.json"
    kept = json.loads(file.read_text(encoding="utf-8"))
    monkeypatch.setattr(table9, "measure_cost", lambda width: kept["data"])
    outcome = TABLE9.outcome(Context(tuple(kept["seeds"]), kept["settings"]), [])
    assert json.loads(json.dumps([table._asdict() for table in outcome.tables])) == kept["tables"]
    assert outcome.notes == kept["notes"]
    monkeypatch.undo()
    found = measure_cost(width=8, rounds=2)
    assert {name: set(cost) for name, cost in found.items()} == {name: set(c) for name, c in kept["data"].items()}

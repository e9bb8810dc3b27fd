"""Running a target: what it returns is kept, and what it does is survived."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from mabn_ref.check.inquire import one_step
from mabn_ref.check.observe import observe
from mabn_ref.check.scenarios import CHANNELS, MODULES, Scenario, inputs, parameters, scenarios
from mabn_ref.check.target import FunctionsTarget
from mabn_ref.norms import batch_norm

SCENARIO = Scenario(name="", norm_batch=4, steps=5, settings={"decay": 0.5})


class Changed(FunctionsTarget):
    """Batch norm that does something else from the third step on."""

    def __init__(self, change: Any) -> None:
        super().__init__(batch_norm)
        self.change, self.calls = change, 0

    def forward(self, layer: Any, x: Any, gamma: Any, beta: Any, training: bool) -> Any:
        self.calls += 1
        z = super().forward(layer, x, gamma, beta, training)
        return self.change(x, z) if self.calls == 3 else z


def test_a_trace_is_what_the_functions_return() -> None:
    trace = observe(FunctionsTarget(batch_norm), "bn", SCENARIO, (2,))
    config = batch_norm.Config(norm_batch=4, decay=0.5)
    state = batch_norm.init(CHANNELS, config, dtype=np.float64)
    *steps, (last, _) = inputs(SCENARIO, (2,))
    for k, (x, dz) in enumerate(steps):
        gamma, beta = parameters(k)
        z, cache, state = batch_norm.forward(x, gamma, beta, state, config)
        dx, dgamma, dbeta, state = batch_norm.backward(dz, cache, state)
        expected = {"z": z, "dx": dx, "dgamma": dgamma, "dbeta": dbeta}
        assert all(np.array_equal(trace.values[name][k], value) for name, value in expected.items())
        assert all(np.array_equal(trace.states[name][k], getattr(state, name)) for name in ("mean", "var"))
    gamma, beta = parameters(SCENARIO.steps)
    assert np.array_equal(trace.values["inferred"][0], batch_norm.infer(last, gamma, beta, state, config))


def nan(x: Any, z: Any) -> Any:
    return np.where(z == z.flat[3], np.nan, z)


@pytest.mark.parametrize(
    ("change", "failure"),
    [
        (lambda x, z: z[:2], r"z has shape \(2, 2, 5\), expected \(4, 2, 5\)"),
        (lambda x, z: np.moveaxis(z, -1, 1), r"z has shape \(4, 5, 2\), expected \(4, 2, 5\)"),
        (nan, r"z is nan at \[0, 0, 3\]"),
        (lambda x, z: 1 / 0, r"ZeroDivisionError: division by zero \(test_observe.py, line \d+\)"),
        (lambda x, z: z > 0, r"z has dtype bool, expected float64"),
    ],
    ids=["shape", "order of axes", "nan", "raises", "dtype"],
)
def test_a_target_that_fails_is_kept_up_to_there(change: Any, failure: str) -> None:
    trace = observe(Changed(change), "bn", SCENARIO, (2,))
    assert np.size(trace.values["z"]) == 2 * 4 * 2 * 5
    assert (trace.failed_at, trace.finished) == (3, 2)
    assert re.fullmatch(failure, trace.failure)


@pytest.mark.parametrize(
    ("change", "note"),
    [(lambda x, z: z.astype(np.float32), "z is float32 where x is float64")],
)
def test_what_is_unusual_is_noted(change: Any, note: str) -> None:
    trace = observe(Changed(change), "bn", SCENARIO, (2,))
    assert not trace.failure
    assert trace.notes == [note]


def test_ranks_that_a_layer_refuses_are_found() -> None:
    class Flat(FunctionsTarget):
        def forward(self, layer: Any, x: Any, *rest: Any) -> Any:
            if x.ndim != 2:
                raise ValueError("expected 2D input")
            return super().forward(layer, x, *rest)

    tried = one_step(Flat(batch_norm), "bn", SCENARIO)
    assert [bool(trace.failure) for trace in tried.values()] == [True, True, False, True]


@pytest.mark.parametrize("norm", MODULES)
def test_every_scenario_runs_on_our_own(norm: str) -> None:
    target = FunctionsTarget(MODULES[norm])
    for scenario in scenarios(norm, short=True):
        space = (3,) if scenario.space is None else scenario.space
        trace = observe(target, norm, scenario, space)
        one_value = (
            norm in ("bn", "brn", "eval-norm", "sync-bn", "moving") and scenario.norm_batch * int(np.prod(space)) == 1
        )
        one_value |= norm == "in" and int(np.prod(space)) == 1
        assert bool(trace.failure) == one_value, (scenario.name, trace.failure)

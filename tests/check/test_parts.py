"""The parts of a check by themselves: what is run, what a statistic is, what is said of one value per channel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mabn_ref.check.inquire import derivative
from mabn_ref.check.observe import About, Trace, observe
from mabn_ref.check.run import plan
from mabn_ref.check.scenarios import HELD, MODULES, SETTINGS, Scenario, scenarios
from mabn_ref.check.target import FunctionsTarget
from mabn_ref.check.tolerance import Case
from mabn_ref.mistakes import named, wrong
from mabn_ref.norms import batch_norm
from tests.check.judging import judged

SCENARIO = Scenario(name="", norm_batch=2, steps=2)


@pytest.mark.parametrize(
    ("name", "role"),
    [
        *[
            (name, "second")
            for name in ("running_var", "stdev", "moving_sigma", "chi", "x2", "rms", "bn.second_moment")
        ],
        ("layer.running_mean", "mean"),
        ("mu", "mean"),
        ("count", ""),
    ],
)
def test_what_a_moving_statistic_is_is_told_by_its_name(name: str, role: str) -> None:
    values = [np.full(5, float(k)) for k in range(2)]
    trace = Trace(
        SCENARIO, (), states={name: values, "window_var": [np.zeros((3, 5))] * 2, "var_of_all": [np.ones(1)] * 2}
    )
    assert Case("bn", trace).roles == {name: role, "window_var": "", "var_of_all": ""}


def test_one_that_never_moves_is_none_where_another_does() -> None:
    still, moving = [np.ones(5)] * 2, [np.ones(5), np.zeros(5)]
    assert Case("bn", Trace(SCENARIO, (), states={"a_var": still, "b_var": moving})).roles == {
        "a_var": "",
        "b_var": "second",
    }
    assert Case("bn", Trace(SCENARIO, (), states={"a_var": still})).roles == {"a_var": "second"}


@pytest.mark.parametrize(
    ("scenario", "why"),
    [
        (Scenario(name="aged", norm_batch=2, age=100), "its count of iterations cannot be set"),
        (Scenario(name="several in a call", norm_batch=2, groups=3), "each call is one normalisation batch"),
        (next(s for s in scenarios("brn") if s.name == "ramps"), "it takes no ramps"),
        (Scenario(name="flat", norm_batch=2, space=()), "expected 4D input"),
    ],
)
def test_what_a_target_cannot_do_is_not_run_and_said(scenario: Scenario, why: str) -> None:
    refused = {4: "", 3: "", 2: "expected 4D input"}
    can = About(None, None, [], {}, True, {4: "", 3: "", 2: ""})
    cannot = About(["eps"], False, [], {}, False, refused)
    assert [step.skipped for about in (can, cannot) for step in plan(about, [scenario])] == ["", why]


def test_a_target_of_single_precision_is_run_in_it() -> None:
    for single, dtype in ((False, "float64"), (True, "float32")):
        about = About(None, None, [], {}, True, {4: "", 3: "", 2: ""}, single)
        assert [step.scenario.dtype for step in plan(about, [SCENARIO])] == [dtype]


def test_the_count_of_iterations_is_set_after_the_step_that_is_said() -> None:
    """Once, and neither before nor after."""

    class Aged(FunctionsTarget):
        def forward(self, layer: Any, x: Any, gamma: Any, beta: Any, training: bool) -> Any:
            calls.append("forward")
            return super().forward(layer, x, gamma, beta, training)

        def age(self, layer: Any, iterations: int) -> None:
            calls.append(iterations)

    calls: list[Any] = []
    scenario = Scenario(name="", norm_batch=2, steps=3, age=70, age_after=2)
    assert not observe(Aged(batch_norm), "bn", scenario, (2,)).failure
    assert calls == ["forward", "forward", 70, "forward", "forward"]


@pytest.mark.parametrize(("value", "fine"), [(np.nan, False), (0.0, True)])
def test_of_one_value_a_channel_the_output_may_be_beta_but_is_to_be_a_number(value: float, fine: bool) -> None:
    class One(FunctionsTarget):
        def forward(self, layer: Any, x: Any, gamma: Any, beta: Any, training: bool) -> Any:
            if x.shape[0] > 1:
                return super().forward(layer, x, gamma, beta, training)
            layer.state = batch_norm.init(5, layer.config, dtype=x.dtype)
            return beta + value * x

        def backward(self, layer: Any, dz: Any) -> Any:
            return (0 * dz, 0 * dz[0], dz[0]) if len(dz) == 1 else super().backward(layer, dz)

    chosen = [Scenario(name="start", norm_batch=4, steps=4), Scenario(name="one", norm_batch=1, steps=3, space=())]
    report = judged("bn", One(batch_norm), chosen)
    assert report.conforms is fine
    assert [str(difference)[:36] for difference in report.differences] == (
        [] if fine else ["one: one value per channel: z is nan"]
    )
    assert report.rows[1].why.startswith("one value per channel: the output is beta" if fine else "z is nan")


def test_a_layer_that_refuses_one_value_a_channel_is_right_whatever_its_words() -> None:
    """Such as "information", which has "inf" in it."""

    class Refuses(FunctionsTarget):
        def forward(self, layer: Any, x: Any, *rest: Any) -> Any:
            if x.shape[0] == 1:
                raise ValueError("one value gives no information on a variance")
            return super().forward(layer, x, *rest)

    chosen = [Scenario(name="start", norm_batch=4, steps=4), Scenario(name="one", norm_batch=1, steps=3, space=())]
    report = judged("bn", Refuses(batch_norm), chosen)
    assert report.conforms
    assert report.rows[1].why.startswith("one value per channel: ValueError: one value gives no information")


@pytest.mark.parametrize(("functions", "said"), [(batch_norm, "is"), (wrong(named("bn-no-g")), "is not")])
def test_whether_backward_is_the_derivative_of_forward_is_said(functions: Any, said: str) -> None:
    words = derivative(FunctionsTarget(functions), "bn", Scenario(name="", norm_batch=4, steps=1), (2,))
    assert f"dx {said} the derivative of forward" in words
    assert "dgamma is the derivative of forward" in words


@pytest.mark.parametrize("norm", MODULES)
def test_a_right_backward_that_is_no_derivative_is_said_to_need_not_be_one(norm: str) -> None:
    scenario = Scenario(name="", norm_batch=4, steps=1, settings=SETTINGS[norm])
    words = derivative(FunctionsTarget(MODULES[norm]), norm, scenario, (2,))
    assert ("not the derivative of forward" in words) == ("it need not be" in words)
    assert norm in HELD or "not the derivative" not in words

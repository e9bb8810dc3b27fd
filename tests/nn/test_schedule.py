from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabn_ref.nn import schedule


@given(st.integers(1, 200), st.data())
def test_cosine_rises_and_falls_within_bounds(steps, data):
    warmup = data.draw(st.integers(0, steps - 1))
    rates = [schedule.cosine(step, steps=steps, lr=0.4, warmup=warmup) for step in range(steps + 1)]
    assert all(0 < rate <= 0.4 for rate in rates[:-1])
    assert rates[-1] == pytest.approx(0, abs=1e-16)
    assert rates[warmup] == 0.4
    assert rates[:warmup] == pytest.approx([0.4 * (i + 1) / warmup for i in range(warmup)])
    assert all(later < earlier for earlier, later in zip(rates[warmup:], rates[warmup + 1 :], strict=False))


def test_cosine_half_way_is_half_the_rate():
    assert schedule.cosine(30, steps=50, lr=0.1, warmup=10) == pytest.approx(0.05)
    assert schedule.cosine(20, steps=50, lr=0.1, warmup=10) == pytest.approx(0.05 * (1 + math.sqrt(0.5)))


def test_steps():
    rates = [schedule.steps(step, milestones=[4, 6], factor=0.1, lr=0.5, warmup=2) for step in range(8)]
    assert rates == pytest.approx([0.25, 0.5, 0.5, 0.5, 0.05, 0.05, 0.005, 0.005])
    assert schedule.steps(9, milestones=[], factor=0.1, lr=0.5, warmup=0) == 0.5


def test_rates_are_python_floats():
    number = np.float64(0.1)
    assert type(schedule.cosine(3, steps=9, lr=number, warmup=2)) is float
    assert type(schedule.cosine(1, steps=9, lr=number, warmup=2)) is float
    assert type(schedule.steps(3, milestones=[2], factor=number, lr=number, warmup=0)) is float


COSINE = {"step": 1, "steps": 10, "lr": 0.1, "warmup": 2}
STEPS = {"step": 1, "milestones": [3, 5], "factor": 0.1, "lr": 0.1, "warmup": 0}


@pytest.mark.parametrize(
    ("function", "arguments", "error", "message"),
    [
        (schedule.cosine, {"step": -1}, ValueError, "step is -1, expected an integer of at least 0"),
        (schedule.cosine, {"step": 11}, ValueError, "step is 11, expected at most steps=10"),
        (schedule.cosine, {"step": 1.5}, TypeError, "step is 1.5, expected an integer"),
        (schedule.cosine, {"steps": 0}, ValueError, "steps is 0, expected an integer of at least 1"),
        (schedule.cosine, {"warmup": 10}, ValueError, "warmup is 10, expected fewer than steps=10"),
        (schedule.cosine, {"warmup": -1}, ValueError, "warmup is -1, expected"),
        (schedule.cosine, {"lr": -0.1}, ValueError, "lr is -0.1, expected"),
        (schedule.steps, {"step": -1}, ValueError, "step is -1, expected"),
        (schedule.steps, {"factor": 1.0}, ValueError, r"factor is 1.0, expected a number in \[0, 1\)"),
        (schedule.steps, {"milestones": [5, 3]}, ValueError, r"milestones is \[5, 3\], expected increasing steps"),
        (schedule.steps, {"milestones": [3, 3]}, ValueError, r"milestones is \[3, 3\], expected increasing steps"),
        (schedule.steps, {"milestones": [0]}, ValueError, "milestones is 0, expected an integer of at least 1"),
        (schedule.steps, {"milestones": [2.5]}, TypeError, "milestones is 2.5, expected an integer"),
        (schedule.steps, {"lr": float("nan")}, ValueError, "lr is nan, expected"),
    ],
)
def test_bad_arguments_are_refused(function, arguments, error, message):
    given_arguments = {**(COSINE if function is schedule.cosine else STEPS), **arguments}
    step = given_arguments.pop("step")
    with pytest.raises(error, match=message):
        function(step, **given_arguments)

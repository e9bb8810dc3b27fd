"""How large an error is a disagreement: one of a hundred-thousandth is, one of rounding is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mabn_ref.check.conventions import from_config
from mabn_ref.check.observe import observe
from mabn_ref.check.scenarios import MODULES
from mabn_ref.check.target import FunctionsTarget
from mabn_ref.check.tolerance import TENSORS, Case, compared, first_difference
from tests.check.judging import judged, told


class Off(FunctionsTarget):
    """A right layer but for one tensor, which is off by a part of its size: all of it, or in one channel alone."""

    def __init__(self, norm: str, tensor: str, part: float, channel: int | None = None) -> None:
        super().__init__(MODULES[norm])
        self.tensor, self.part, self.channel = tensor, part, channel

    def moved(self, name: str, value: Any) -> Any:
        if name != self.tensor or not np.ndim(value):
            return value
        one = np.ones(np.shape(value)[-1], dtype=value.dtype)
        if self.channel is None:
            one *= 1 + self.part
        else:
            one[self.channel] += self.part
        return value * one

    def forward(self, layer: Any, x: Any, gamma: Any, beta: Any, training: bool) -> Any:
        return self.moved("z" if training else "inferred", super().forward(layer, x, gamma, beta, training))

    def backward(self, layer: Any, dz: Any) -> Any:
        return tuple(map(self.moved, ("dx", "dgamma", "dbeta"), super().backward(layer, dz)))

    def state(self, layer: Any) -> Any:
        return {name: self.moved("state", value) for name, value in super().state(layer).items()}


def agrees(norm: str, target: Any, dtype: str = "float64") -> bool:
    start = replace(next(s for s in told(norm) if s.name == "start"), dtype=dtype)
    case = Case(norm, observe(target, norm, start, (2,)))
    return first_difference(case, from_config(norm, case.config), TENSORS) is None


NORMS_AND_TENSORS = [
    (norm, tensor)
    for norm in ("bn", "mabn", "gn", "online")
    for tensor in TENSORS
    if (norm, tensor) != ("gn", "state")
]


@pytest.mark.parametrize(("norm", "tensor"), NORMS_AND_TENSORS)
def test_an_error_of_a_millionth_is_a_disagreement(norm: str, tensor: str) -> None:
    """What is forgiven in float64 is 2e-7, and some 1e4 roundings where values nearly cancel."""
    for part in (1e-5, 3e-6):
        assert not agrees(norm, Off(norm, tensor, part)), part
    assert not agrees(norm, Off(norm, tensor, 1e-5, channel=1))


def test_a_moving_statistic_that_is_no_number_is_a_disagreement() -> None:
    assert not agrees("bn", Off("bn", "state", np.nan, channel=1))


@pytest.mark.parametrize("norm", MODULES)
def test_one_run_over_all_tensors_finds_the_first_difference_of_each(norm: str) -> None:
    start = next(s for s in told(norm) if s.name == "start")
    right = Case(norm, observe(FunctionsTarget(MODULES[norm]), norm, start, (2,)))
    for tensor in TENSORS:
        case = Case(norm, observe(Off(norm, tensor, 1e-3), norm, start, (2,)))
        found = compared(case, from_config(norm, case.config))
        for asked in (TENSORS, (tensor, "dbeta"), *((one,) for one in TENSORS)):
            assert found.first(asked) == first_difference(case, from_config(norm, case.config), asked), asked
        assert set(found.errors) == set(compared(right, from_config(norm, case.config)).errors)


def test_what_a_case_remembers_holds_for_the_roles_that_its_tensors_had() -> None:
    start = next(s for s in told("bn") if s.name == "start")
    case = Case("bn", observe(Off("bn", "state", 1e-3), "bn", start, (2,)))
    convention = from_config("bn", case.config)
    assert list(compared(case, convention).differences) == ["state"]
    case.roles = dict.fromkeys(case.roles, "")
    assert not compared(case, convention).differences


@pytest.mark.parametrize("norm", MODULES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_an_error_of_rounding_is_none(norm: str, dtype: str) -> None:
    part = 2e-8 if dtype == "float64" else 4e-7
    for tensor in TENSORS:
        assert agrees(norm, Off(norm, tensor, part), dtype), tensor


@pytest.mark.parametrize(("norm", "tensor"), NORMS_AND_TENSORS)
def test_in_single_precision_an_error_of_a_few_ten_thousandths_is_a_disagreement(norm: str, tensor: str) -> None:
    assert not agrees(norm, Off(norm, tensor, 3e-4), "float32")


@pytest.mark.parametrize("tensor", ["inferred", "dbeta"])
def test_a_layer_that_is_off_by_a_hundred_thousandth_does_not_conform(tensor: str) -> None:
    chosen = [s for s in told("bn") if s.name == "start"]
    assert judged("bn", Off("bn", tensor, 1e-9), chosen).conforms
    report = judged("bn", Off("bn", tensor, 1e-5), chosen)
    assert not report.conforms
    assert not report.findings
    assert [difference.tensor for difference in report.differences] == [tensor]

"""The PyTorch adapter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mabn_ref.check.adapters import adapt
from mabn_ref.check.inquire import one_step
from mabn_ref.check.observe import observe
from mabn_ref.check.scenarios import Scenario, inputs, parameters
from mabn_ref.norms import batch_norm

pytestmark = pytest.mark.frameworks
SCENARIO = Scenario(name="", norm_batch=4, steps=4, settings={"decay": 0.75, "eps": 0.1})


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is not installed")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_batch_norm_2d_is_ours_with_another_running_variance(torch: Any, dtype: str) -> None:
    scenario = Scenario(**{**vars(SCENARIO), "dtype": dtype})
    target = adapt(torch.nn.BatchNorm2d)
    theirs = observe(target, "bn", scenario, (2, 3))
    ours = observe(adapt(batch_norm), "bn", scenario, (2, 3))
    assert theirs.failure == ""
    assert set(theirs.states) == {"running_mean", "running_var", "num_batches_tracked"}
    rtol = 1e-12 if dtype == "float64" else 1e-5
    for name in ("z", "dx", "dgamma", "dbeta"):
        a, b = np.stack(theirs.values[name]), np.stack(ours.values[name])
        assert a.dtype == dtype
        scale = np.max(np.abs(b), axis=tuple(range(b.ndim - 1)))
        assert np.max(np.abs(a - b) / scale) < 20 * rtol
    np.testing.assert_allclose(theirs.states["running_mean"], ours.states["mean"], rtol=1e-4, atol=1e-5)
    assert target.given == {"eps", "decay"}


def test_the_ranks_of_batch_norm_1d(torch: Any) -> None:
    tried = one_step(adapt(torch.nn.BatchNorm1d), "bn", SCENARIO)
    found = {rank: trace.failure for rank, trace in tried.items()}
    assert "expected 2D or 3D input" in found.pop(4)
    assert "expected 2D or 3D input" in found.pop(5)
    assert found == {3: "", 2: ""}


@pytest.mark.parametrize("source", ["class", "instance", "function"])
def test_a_class_an_instance_and_a_function_are_the_same_layer(torch: Any, source: str) -> None:
    sources = {
        "class": torch.nn.BatchNorm1d,
        "instance": torch.nn.BatchNorm1d(5, eps=0.1, momentum=0.25),
        "function": lambda channels: torch.nn.BatchNorm1d(channels, eps=0.1, momentum=0.25),
    }
    found = observe(adapt(sources[source]), "bn", SCENARIO, (3,))
    expected = observe(adapt(torch.nn.BatchNorm1d), "bn", SCENARIO, (3,))
    assert found.failure == ""
    assert np.array_equal(found.values["inferred"], expected.values["inferred"])


def test_a_layer_without_parameters_has_them_applied_outside(torch: Any) -> None:
    plain = observe(adapt(lambda c: torch.nn.BatchNorm1d(c, affine=False)), "bn", SCENARIO, (3,))
    with_them = observe(adapt(lambda c: torch.nn.BatchNorm1d(c)), "bn", SCENARIO, (3,))
    for name in ("z", "dx", "dgamma", "dbeta", "inferred"):
        np.testing.assert_allclose(plain.values[name], with_them.values[name], rtol=1e-9, atol=1e-12)


def test_a_layer_that_changes_its_input_and_keeps_plain_tensors_and_counts(torch: Any) -> None:
    class Odd(torch.nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.gamma = torch.nn.Parameter(torch.ones(1, channels, 1))
            self.average = torch.zeros(1, channels, 1, dtype=torch.float64)
            self.steps = 0

        def forward(self, x: Any) -> Any:
            self.steps += 1
            self.average = 0.5 * self.average + 0.5 * x.detach().mean((0, 2), keepdim=True)
            return x.mul_(2) * self.gamma

    target = adapt(Odd)
    trace = observe(target, "bn", SCENARIO, (3,))
    *steps, _ = inputs(SCENARIO, (3,))
    assert trace.failure == ""
    assert trace.states["average"][-1].shape == (5,)
    for k, (_, dz) in enumerate(steps):
        np.testing.assert_allclose(trace.values["dx"][k], 2 * parameters(k)[0] * dz)
    layer = target.make(5, batch_norm.Config())
    target.age(layer, 700)
    assert layer.module.steps == 700


def test_a_function_may_take_the_config(torch: Any) -> None:
    def make(channels: int, config: Any) -> Any:
        return torch.nn.BatchNorm1d(channels, eps=config.eps, momentum=1 - config.decay)

    target = adapt(make)
    found = observe(target, "bn", SCENARIO, (3,))
    expected = observe(adapt(torch.nn.BatchNorm1d), "bn", SCENARIO, (3,))
    assert np.array_equal(found.values["inferred"], expected.values["inferred"])
    assert target.given is None


def test_no_gradient_is_an_error_that_says_so(torch: Any) -> None:
    class Detached(torch.nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(channels))

        def forward(self, x: Any) -> Any:
            return x.detach() * self.weight[:, None]

    assert "no gradient reaches x" in observe(adapt(Detached), "bn", SCENARIO, (3,)).failure


def test_a_parameter_that_no_gradient_reaches_has_a_gradient_of_zero(torch: Any) -> None:
    class Held(torch.nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.weight, self.bias = (torch.nn.Parameter(f(channels)) for f in (torch.ones, torch.zeros))

        def forward(self, x: Any) -> Any:
            return x * self.weight.detach()[:, None] + self.bias[:, None]

    trace = observe(adapt(Held), "bn", SCENARIO, (3,))
    assert trace.failure == ""
    assert [gradient.tolist() for gradient in trace.values["dgamma"]] == [[0.0] * 5] * 4
    assert np.all(trace.values["dbeta"])


def test_of_several_outputs_the_one_of_the_shape_of_the_input_is_taken(torch: Any) -> None:
    class Two(torch.nn.BatchNorm1d):  # type: ignore[name-defined,misc]
        def forward(self, x: Any) -> Any:
            return self.running_mean, super().forward(x)

    class Named(torch.nn.BatchNorm1d):  # type: ignore[name-defined,misc]
        def forward(self, x: Any) -> Any:
            return {"z": super().forward(x)}

    found, expected = (observe(adapt(kind), "bn", SCENARIO, (3,)) for kind in (Two, torch.nn.BatchNorm1d))
    assert np.array_equal(found.values["z"], expected.values["z"])
    assert "forward returned a dict, expected a tensor" in observe(adapt(Named), "bn", SCENARIO, (3,)).failure

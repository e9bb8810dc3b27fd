from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabn_ref.nn import optimiser
from mabn_ref.nn.optimiser import cosine_rate, milestone_rate

RATES = {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4}


def trees(rng, dtype=np.float64):
    return [
        {"w": rng.standard_normal((3, 3, 2, 4)).astype(dtype)},
        {},
        {"gamma": rng.standard_normal(4).astype(dtype), "beta": rng.standard_normal(4).astype(dtype)},
    ]


def test_two_steps_by_hand():
    """eq: sgd"""
    params, velocity = [{"w": np.array([2.0])}], [{"w": np.array([0.0])}]
    params, velocity = optimiser.step(
        params, [{"w": np.array([1.0])}], velocity, lr=0.5, momentum=0.5, weight_decay=0.25
    )
    assert (velocity[0]["w"], params[0]["w"]) == (1.5, 1.25)  # v = 1 + 0.25 * 2, p = 2 - 0.5 * 1.5
    params, velocity = optimiser.step(
        params, [{"w": np.array([-1.0])}], velocity, lr=1.0, momentum=0.5, weight_decay=0.0
    )
    assert (velocity[0]["w"], params[0]["w"]) == (-0.25, 1.5)  # v = 0.5 * 1.5 - 1


rates = st.fixed_dictionaries(
    {"lr": st.floats(0, 1), "momentum": st.sampled_from([0.0, 0.5, 0.9]), "weight_decay": st.floats(0, 0.1)}
)


@given(
    st.lists(st.lists(st.integers(1, 3), max_size=4).map(tuple), min_size=1, max_size=4),
    st.lists(rates, min_size=1, max_size=6),
    st.integers(0, 2**32 - 1),
)
def test_steps_are_the_plain_recurrence(shapes, steps, seed):
    """Element by element in Python numbers, with rates that change from step to step.

    eq: sgd
    """
    rng = np.random.default_rng(seed)
    params = [{"w": rng.standard_normal(shape)} for shape in shapes]
    velocity = optimiser.init(params)
    expected = [[float(p) for p in layer["w"].ravel()] for layer in params]
    moving = [[0.0] * len(layer) for layer in expected]
    for rate in steps:
        grads = [{"w": rng.standard_normal(shape)} for shape in shapes]
        params, velocity = optimiser.step(params, grads, velocity, **rate)
        for ps, vs, layer in zip(expected, moving, grads, strict=True):
            for i, g in enumerate(map(float, layer["w"].ravel())):
                vs[i] = rate["momentum"] * vs[i] + g + rate["weight_decay"] * ps[i]
                ps[i] -= rate["lr"] * vs[i]
    for ours, plain in ((params, expected), (velocity, moving)):
        for layer, numbers, shape in zip(ours, plain, shapes, strict=True):
            assert layer["w"].shape == shape
            np.testing.assert_allclose(layer["w"].ravel(), numbers, rtol=1e-12, atol=1e-13)


@given(rates, st.integers(0, 2**32 - 1))
def test_weight_decay_is_the_gradient_of_half_the_squared_norm(rate, seed):
    """A step with weight decay is one without it on the loss plus weight_decay / 2 times the squared norm of p.

    eq: sgd
    """
    rng = np.random.default_rng(seed)
    params, grads, velocity = trees(rng), trees(rng), trees(rng)
    decay = rate["weight_decay"]
    more = [{k: g[k] + decay * p[k] for k in p} for p, g in zip(params, grads, strict=True)]
    ours = optimiser.step(params, grads, velocity, **rate)
    plain = optimiser.step(params, more, velocity, **{**rate, "weight_decay": 0.0})
    for tree, other in zip(ours, plain, strict=True):
        for layer, other_layer in zip(tree, other, strict=True):
            for name in layer:
                np.testing.assert_allclose(layer[name], other_layer[name], rtol=1e-12, atol=1e-13)


@pytest.mark.frameworks
def test_agrees_with_pytorch_over_steps_of_changing_rate():
    """eq: sgd"""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    rng = np.random.default_rng(0)
    params = trees(rng)
    tensors = [torch.tensor(p.copy(), requires_grad=True) for layer in params for p in layer.values()]
    sgd = torch.optim.SGD(tensors, lr=1.0, momentum=0.9, weight_decay=5e-4)
    velocity = optimiser.init(params)
    for step in range(6):
        grads, lr = trees(rng), 0.1 / (step + 1)
        params, velocity = optimiser.step(params, grads, velocity, lr=lr, momentum=0.9, weight_decay=5e-4)
        sgd.param_groups[0]["lr"] = lr
        for tensor, grad in zip(tensors, (g for layer in grads for g in layer.values()), strict=True):
            tensor.grad = torch.tensor(grad)
        sgd.step()
    for ours, theirs in zip((p for layer in params for p in layer.values()), tensors, strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-12, atol=1e-14)


def test_nothing_is_changed_in_place(frozen):
    rng = np.random.default_rng(1)
    params, grads, velocity = trees(rng), trees(rng), trees(rng)
    frozen(*(a for tree in (params, grads, velocity) for layer in tree for a in layer.values()))
    new_params, new_velocity = optimiser.step(params, grads, velocity, **RATES)
    assert new_params is not params
    assert (
        [list(layer) for layer in new_params] == [list(layer) for layer in new_velocity] == [list(x) for x in params]
    )
    assert not any(np.shares_memory(new[k], old[k]) for new, old in zip(new_params, params, strict=True) for k in new)


@pytest.mark.parametrize("number", [float, np.float64, np.float32])
def test_float32_stays_float32(number):
    rng = np.random.default_rng(2)
    params = trees(rng, np.float32)
    rates = {name: number(rate) for name, rate in RATES.items()}
    for tree in optimiser.step(params, trees(rng, np.float32), optimiser.init(params), **rates):
        assert {p.dtype for layer in tree for p in layer.values()} == {np.dtype(np.float32)}


def test_runs_in_another_array_library(strict, to_numpy):
    rng = np.random.default_rng(3)
    params, grads, velocity = trees(rng), trees(rng), trees(rng)
    other = [[{k: strict(a) for k, a in layer.items()} for layer in tree] for tree in (params, grads, velocity)]
    ours, theirs = optimiser.step(params, grads, velocity, **RATES), optimiser.step(*other, **RATES)
    for tree, other_tree in zip(ours, theirs, strict=True):
        for layer, other_layer in zip(tree, other_tree, strict=True):
            for name in layer:
                np.testing.assert_allclose(to_numpy(other_layer[name]), layer[name], rtol=1e-14)


@pytest.mark.parametrize(
    ("rates", "error", "message"),
    [
        ({"lr": -0.1}, ValueError, "lr is -0.1, expected a finite number of at least 0"),
        ({"lr": float("nan")}, ValueError, "lr is nan, expected"),
        ({"lr": float("inf")}, ValueError, "lr is inf, expected"),
        ({"lr": "0.1"}, TypeError, "lr is '0.1', expected a finite number"),
        ({"momentum": 1.0}, ValueError, r"momentum is 1.0, expected a number in \[0, 1\)"),
        ({"momentum": -0.5}, ValueError, r"momentum is -0.5, expected a number in \[0, 1\)"),
        ({"weight_decay": -1e-4}, ValueError, "weight_decay is -0.0001, expected"),
    ],
)
def test_bad_rates_are_refused(rates, error, message):
    params = trees(np.random.default_rng(4))
    with pytest.raises(error, match=message):
        optimiser.step(params, params, optimiser.init(params), **{**RATES, **rates})


def test_lists_that_are_not_parallel_are_refused():
    params = trees(np.random.default_rng(5))
    velocity = optimiser.init(params)
    with pytest.raises(ValueError, match="grads has 2 layers, expected 3, those of params"):
        optimiser.step(params, params[:2], velocity, **RATES)
    with pytest.raises(ValueError, match=r"velocity\[0\] has the names \[\], expected \['w'\]"):
        optimiser.step(params, params, [{}, {}, params[2]], **RATES)
    bad = [{"w": params[0]["w"][:2]}, *params[1:]]
    with pytest.raises(ValueError, match=r"grads\[0\]\['w'\] has shape \(2, 3, 2, 4\), expected \(3, 3, 2, 4\)"):
        optimiser.step(params, bad, velocity, **RATES)
    bad = [{"w": params[0]["w"].astype(np.float32)}, *params[1:]]
    with pytest.raises(TypeError, match=r"grads\[0\]\['w'\] has dtype float32, expected float64"):
        optimiser.step(params, bad, velocity, **RATES)


@given(st.integers(1, 200), st.data())
def test_cosine_rises_and_falls_within_bounds(steps, data):
    warmup = data.draw(st.integers(0, steps - 1))
    rates = [cosine_rate(step, steps=steps, lr=0.4, warmup=warmup) for step in range(steps + 1)]
    assert all(0 < rate <= 0.4 for rate in rates[:-1])
    assert rates[-1] == pytest.approx(0, abs=1e-16)
    assert rates[warmup] == 0.4
    assert rates[:warmup] == pytest.approx([0.4 * (i + 1) / warmup for i in range(warmup)])
    assert all(later < earlier for earlier, later in zip(rates[warmup:], rates[warmup + 1 :], strict=False))


def test_cosine_half_way_is_half_the_rate():
    assert cosine_rate(30, steps=50, lr=0.1, warmup=10) == pytest.approx(0.05)
    assert cosine_rate(20, steps=50, lr=0.1, warmup=10) == pytest.approx(0.05 * (1 + math.sqrt(0.5)))


def test_milestones():
    rates = [milestone_rate(step, milestones=[4, 6], factor=0.1, lr=0.5, warmup=2) for step in range(8)]
    assert rates == pytest.approx([0.25, 0.5, 0.5, 0.5, 0.05, 0.05, 0.005, 0.005])
    assert milestone_rate(9, milestones=[], factor=0.1, lr=0.5, warmup=0) == 0.5


def test_rates_are_python_floats():
    number = np.float64(0.1)
    assert type(cosine_rate(3, steps=9, lr=number, warmup=2)) is float
    assert type(cosine_rate(1, steps=9, lr=number, warmup=2)) is float
    assert type(milestone_rate(3, milestones=[2], factor=number, lr=number, warmup=0)) is float


COSINE = {"step": 1, "steps": 10, "lr": 0.1, "warmup": 2}
STEPS = {"step": 1, "milestones": [3, 5], "factor": 0.1, "lr": 0.1, "warmup": 0}


@pytest.mark.parametrize(
    ("function", "arguments", "error", "message"),
    [
        (cosine_rate, {"step": -1}, ValueError, "step is -1, expected an integer of at least 0"),
        (cosine_rate, {"step": 11}, ValueError, "step is 11, expected at most steps=10"),
        (cosine_rate, {"step": 1.5}, TypeError, "step is 1.5, expected an integer"),
        (cosine_rate, {"steps": 0}, ValueError, "steps is 0, expected an integer of at least 1"),
        (cosine_rate, {"warmup": 10}, ValueError, "warmup is 10, expected fewer than steps=10"),
        (cosine_rate, {"warmup": -1}, ValueError, "warmup is -1, expected"),
        (cosine_rate, {"warmup": 2.5}, TypeError, "warmup is 2.5, expected an integer"),
        (cosine_rate, {"lr": -0.1}, ValueError, "lr is -0.1, expected"),
        (milestone_rate, {"step": -1}, ValueError, "step is -1, expected"),
        (milestone_rate, {"step": 1.5}, TypeError, "step is 1.5, expected an integer"),
        (milestone_rate, {"warmup": -1}, ValueError, "warmup is -1, expected"),
        (milestone_rate, {"warmup": 2.5}, TypeError, "warmup is 2.5, expected an integer"),
        (milestone_rate, {"factor": 1.0}, ValueError, r"factor is 1.0, expected a number in \[0, 1\)"),
        (milestone_rate, {"milestones": [5, 3]}, ValueError, r"milestones is \[5, 3\], expected increasing steps"),
        (milestone_rate, {"milestones": [3, 3]}, ValueError, r"milestones is \[3, 3\], expected increasing steps"),
        (milestone_rate, {"milestones": [0]}, ValueError, "milestones is 0, expected an integer of at least 1"),
        (milestone_rate, {"milestones": [2.5]}, TypeError, "milestones is 2.5, expected an integer"),
        (milestone_rate, {"lr": float("nan")}, ValueError, "lr is nan, expected"),
    ],
)
def test_bad_arguments_of_a_rate_are_refused(function, arguments, error, message):
    given_arguments = {**(COSINE if function is cosine_rate else STEPS), **arguments}
    step = given_arguments.pop("step")
    with pytest.raises(error, match=message):
        function(step, **given_arguments)

"""Dynamic Tanh and Derf."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from mabn_ref.gradcheck import check, exact
from mabn_ref.nn import dynamic_erf, dynamic_tanh, network, relu
from mabn_ref.nn.layers import normaliser
from mabn_ref.norms import batch_norm

CURVES = {"tanh": (dynamic_tanh, 1), "erf": (dynamic_erf, 2)}
each = pytest.mark.parametrize("name", CURVES)


def drawn(numbers, seed=0):
    rng = np.random.default_rng(seed)
    inside = [np.array([value]) for value in (0.7, -0.4)[:numbers]]
    return [rng.standard_normal((3, 2, 4)), *inside, rng.uniform(0.5, 2, 4), rng.standard_normal(4)]


@each
def test_derivative(name):
    """eq: dyt-forward, dyt-backward, derf-forward, derf-backward"""
    module, numbers = CURVES[name]
    check(module.forward, module.backward, drawn(numbers)).raise_for_error()


@pytest.mark.frameworks
@each
def test_against_autograd(name):
    """eq: dyt-forward, dyt-backward, derf-forward, derf-backward"""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    module, numbers = CURVES[name]
    inputs = drawn(numbers, seed=1)
    leaves = [torch.tensor(a, requires_grad=True) for a in inputs]
    x, alpha, *s, gamma, beta = leaves
    z = gamma * (torch.erf(alpha * x + s[0]) if s else torch.tanh(alpha * x)) + beta
    dz = np.random.default_rng(2).standard_normal(z.shape)
    z.backward(torch.tensor(dz))
    out, cache = module.forward(*inputs)
    np.testing.assert_allclose(out, z.detach().numpy(), rtol=1e-12, atol=1e-14)
    for ours, leaf in zip(module.backward(dz, cache), leaves, strict=True):
        np.testing.assert_allclose(ours, leaf.grad.numpy(), rtol=1e-12, atol=1e-13)


@each
def test_a_value_depends_on_no_other_and_large_ones_saturate(name):
    module, numbers = CURVES[name]
    x, *others = drawn(numbers)
    out, _ = module.forward(x, *others)
    np.testing.assert_array_equal(module.forward(x[1:2], *others)[0], out[1:2])
    gamma, beta = others[-2:]
    huge = np.full((1, 4), 1e30, dtype=np.float32)
    single = [a.astype(np.float32) for a in others]
    out, cache = module.forward(huge, *single)
    np.testing.assert_allclose(out, [gamma + beta], rtol=1e-6)
    with np.errstate(over="ignore"):  # a square in the exponent of Derf, which is then 0
        gradients = module.backward(np.ones_like(huge), cache)
    assert {a.dtype for a in (out, *gradients)} == {np.dtype(np.float32)}
    assert not gradients[0].any()


@each
def test_bad_input_is_refused(name):
    module, numbers = CURVES[name]
    x, alpha, *others = drawn(numbers)
    with pytest.raises(ValueError, match=r"alpha has shape \(2,\), expected \(1,\)"):
        module.forward(x, np.ones(2), *others)
    if module is dynamic_erf:
        with pytest.raises(ValueError, match=r"s has shape \(2,\), expected \(1,\)"):
            module.forward(x, alpha, np.ones(2), *others[1:])
    with pytest.raises(ValueError, match=r"beta has shape \(3,\), expected \(4,\)"):
        module.forward(x, alpha, *others[:-1], np.ones(3))
    with pytest.raises(ValueError, match=r"x has shape \(4,\), expected \(N, ..., C\)"):
        module.forward(np.ones(4), alpha, *others)
    _, cache = module.forward(x, alpha, *others)
    with pytest.raises(ValueError, match=r"dz has shape \(1,\), expected \(3, 2, 4\)"):
        module.backward(np.ones(1), cache)


def test_a_curve_begins_as_the_papers_say():
    layers = [network.Curve("curve", dynamic_erf, 3, 0.5), network.Curve("second", dynamic_tanh, 2, 0.25)]
    (first,), (second,) = (network.init([layer], np.random.default_rng(0))[0] for layer in layers)
    assert {k: v.tolist() for k, v in first.items()} == {"alpha": [0.5], "s": [0], "gamma": [1] * 3, "beta": [0] * 3}
    assert {k: v.tolist() for k, v in second.items()} == {"alpha": [0.25], "gamma": [1, 1], "beta": [0, 0]}


@each
def test_in_a_network(name):
    """Every gradient of a network with a curve in it, against differences. eq: dyt-backward, derf-backward"""
    module, _ = CURVES[name]
    layers = [network.Conv("conv", 2, 3), network.Curve("curve", module, 3, start=0.7), network.ReLU("relu")]
    params, states = network.init(layers, np.random.default_rng(0), dtype=np.float64)
    x, dout = np.random.default_rng(1).standard_normal((2, 2, 4, 4, 3))
    params[1] = {key: value + 0.1 * np.arange(len(value)) for key, value in params[1].items()}
    out, caches, states = network.forward(layers, params, states, x[..., :2])
    np.testing.assert_array_equal(out, network.infer(layers, params, states, x[..., :2]))
    grads, _ = network.backward(layers, dout, caches, states)
    assert [list(g) for g in grads] == [list(p) for p in params]
    for i, key in [(0, "w"), *((1, key) for key in params[1])]:
        direction = np.random.default_rng(2).standard_normal(params[i][key].shape)

        def loss(step, i=i, key=key, direction=direction):
            moved = [dict(p) for p in params]
            moved[i][key] = moved[i][key] + step * direction
            return np.sum(dout * network.forward(layers, moved, states, x[..., :2])[0])

        slope = (loss(1e-6) - loss(-1e-6)) / 2e-6
        np.testing.assert_allclose(np.sum(grads[i][key] * direction), slope, rtol=1e-6)


def test_the_series_of_the_error_function_is_the_error_function():
    """Of complex and exact numbers, on which a gradient is checked. eq: derf-forward"""
    x, one, zero = np.linspace(-6, 6, 97)[:, None], np.ones(1), np.zeros(1)
    expected, _ = dynamic_erf.forward(x, one, zero, one, zero)
    for numbers in (lambda a: a + 0j, exact):
        found, _ = dynamic_erf.forward(*map(numbers, (x, one, zero, one, zero)))
        np.testing.assert_allclose(np.real(found).astype(float), expected, rtol=1e-14)


def test_no_other_module_is_a_curve():
    with pytest.raises(ValueError, match=r"curve: module is <module .*>, expected dynamic_tanh or dynamic_erf"):
        network.init([network.Curve("curve", relu, 3)], np.random.default_rng(0))


def test_a_normaliser_with_a_constant_of_that_name_is_no_curve() -> None:
    module = SimpleNamespace(**vars(batch_norm), PARAMETERS=("gamma", "beta"))
    assert isinstance(normaliser("norm", module, 3, batch_norm.Config()), network.Norm)
    assert isinstance(normaliser("curve", dynamic_tanh, 3, None), network.Curve)

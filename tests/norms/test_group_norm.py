"""Group, layer and instance normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabn_ref.gradcheck import check
from mabn_ref.gradcheck.exact import exact, to_float
from mabn_ref.mistakes.oracles import forward, recurrence
from mabn_ref.mistakes.random_inputs import Calls, grouped_calls
from mabn_ref.norms import batch_norm, group_norm
from mabn_ref.norms.group_norm import Config, State
from tests.strategies import parameters, sample, seeds

NONE = State()


@st.composite
def draws(draw: Any) -> Calls:
    """Channels of very different scale, offsets up to ten scales, all groupings."""
    inputs = grouped_calls()(np.random.default_rng(draw(seeds)))
    scale = np.random.default_rng(draw(seeds)).uniform(0.1, 10, inputs.xs.shape[-1])
    return inputs._replace(xs=inputs.xs * scale)


def run(inputs: Calls) -> tuple[Any, ...]:
    z, cache, _ = group_norm.forward(inputs.xs[0], inputs.gamma, inputs.beta, NONE, inputs.config)
    return z, cache, *group_norm.backward(inputs.dzs[0], cache, NONE)[:3]


@given(inputs=draws())
def test_derivative(inputs: Calls) -> None:
    """eq: gn-normalise, gn-statistics, gn-backward, affine-backward"""

    def plain(x: Any, gamma: Any, beta: Any) -> Any:
        return group_norm.forward(x, gamma, beta, NONE, inputs.config)[:2]

    def back(dz: Any, cache: Any) -> Any:
        return group_norm.backward(dz, cache, NONE)[:3]

    check(plain, back, (inputs.xs[0], inputs.gamma, inputs.beta)).raise_for_error()


@given(inputs=draws())
def test_closed_form_and_graph_agree(inputs: Calls) -> None:
    """eq: gn-backward, gn-graph"""
    _, cache, *closed = run(inputs)
    dz = inputs.dzs[0]
    graph = group_norm.backward_graph(dz, cache, NONE)
    size = np.abs(dz).max() * np.abs(inputs.gamma).max() / cache.sigma.min()
    np.testing.assert_allclose(graph[0], closed[0], rtol=0, atol=1e-12 * size)
    for ours, theirs in zip(graph[1:3], closed[1:], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def test_runs_follow_the_plain_definition() -> None:
    """eq: gn-normalise, gn-statistics, gn-backward, affine, affine-backward"""
    for seed in range(60):
        inputs = grouped_calls(scale=(1e-3, 1e3))(np.random.default_rng(seed))
        for oracle in (forward, recurrence):
            verdict = oracle("group_norm", group_norm, inputs)
            assert verdict.accepted, (seed, verdict)


@given(inputs=draws())
def test_the_statistics_of_backward(inputs: Calls) -> None:
    """g = (1/M) d/dc L(y + c), Psi = (1/M) d/da L(a y), L linear in y, for one sample and group.

    eq: gn-gradient-statistics
    """
    _, cache, *_ = run(inputs)
    dz = inputs.dzs[0]
    g, psi = group_norm.gradient_statistics(dz, cache)

    def loss(y: np.ndarray) -> np.ndarray:
        groups = inputs.config.groups or dz.shape[-1]
        apart = (len(dz), -1, groups, dz.shape[-1] // groups)
        return (dz * inputs.gamma * y.reshape(dz.shape)).reshape(apart).sum((1, 3))

    scale = np.abs(dz).max() * np.abs(inputs.gamma).max() * (1 + np.abs(cache.y).max())
    for found, slope in (
        (g, loss(cache.y + 0.5) - loss(cache.y - 0.5)),
        (psi, loss(1.5 * cache.y) - loss(0.5 * cache.y)),
    ):
        np.testing.assert_allclose(found, slope / (dz[0].size / found.shape[1]), rtol=0, atol=1e-12 * scale)


@given(inputs=draws())
def test_statistics_are_those_of_each_group(inputs: Calls) -> None:
    """eq: gn-statistics"""
    x = inputs.xs[0]
    groups = inputs.config.groups or x.shape[-1]
    each = [part.reshape(len(x), -1) for part in np.split(x, groups, axis=-1)]
    for found, right in zip(group_norm.statistics(x, inputs.config), (np.mean, np.var), strict=True):
        expected = np.stack([right(part, axis=1) for part in each], axis=1)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12 * np.abs(x).max())


def test_layer_and_instance_norm_are_groups() -> None:
    assert Config.layer() == Config(eps=1e-5, groups=1)
    assert Config.layer(eps=0.3) == Config(eps=0.3, groups=1)
    assert Config.instance() == Config(eps=1e-5, groups=None)
    assert Config.instance(eps=0.3) == Config(eps=0.3, groups=None)


@given(seed=seeds, samples=st.integers(1, 3), channels=st.integers(1, 3), eps=st.sampled_from([1e-5, 1.0]))
def test_instance_norm_is_batch_norm_of_one_sample(seed: int, samples: int, channels: int, eps: float) -> None:
    """eq: gn-normalise, gn-backward, gn-statistics, gn-gradient-statistics"""
    rng = np.random.default_rng(seed)
    x, dz = sample(rng, (samples, 3, 2, channels)), rng.standard_normal((samples, 3, 2, channels))
    gamma, beta = parameters(rng, channels)
    theirs_config = batch_norm.Config(eps=eps, norm_batch=1)
    state = batch_norm.init(channels, theirs_config, dtype=float)
    z, kept, state = batch_norm.forward(x, gamma, beta, state, theirs_config)
    inputs = Calls(Config.instance(eps=eps), gamma, beta, x[None], dz[None])
    z_, cache, *grads = run(inputs)
    pairs = [(z_, z), *zip(grads, batch_norm.backward(dz, kept, state)[:3], strict=True)]
    pairs += zip(group_norm.statistics(x, inputs.config), batch_norm.statistics(x, theirs_config), strict=True)
    pairs += zip(group_norm.gradient_statistics(dz, cache), batch_norm.gradient_statistics(dz, kept), strict=True)
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12 * np.abs(theirs).max())


@given(inputs=draws())
def test_a_sample_knows_no_other_and_inference_is_training(inputs: Calls) -> None:
    """eq: gn-normalise"""
    z, *_ = run(inputs)
    infer = group_norm.infer(inputs.xs[0], inputs.gamma, inputs.beta, NONE, inputs.config)
    np.testing.assert_array_equal(infer, z)
    alone = group_norm.infer(inputs.xs[0][-1:], inputs.gamma, inputs.beta, NONE, inputs.config)
    np.testing.assert_allclose(alone[0], z[-1], rtol=1e-12, atol=1e-12)


@given(inputs=draws())
def test_nothing_is_changed_and_float32_stays(inputs: Calls) -> None:
    x, dz, gamma, beta = (a.astype(np.float32) for a in (inputs.xs[0], inputs.dzs[0], inputs.gamma, inputs.beta))
    copies = [a.copy() for a in (x, dz, gamma, beta)]
    z, cache, *grads = run(inputs._replace(xs=[x], dzs=[dz], gamma=gamma, beta=beta))
    assert {a.dtype for a in (z, *grads, cache.y, cache.sigma)} == {np.dtype(np.float32)}
    for a, b in zip((x, dz, gamma, beta), copies, strict=True):
        np.testing.assert_array_equal(a, b)


def test_nan_stays_in_its_sample_and_group() -> None:
    rng = np.random.default_rng(0)
    x, dz = rng.standard_normal((1, 3, 2, 4)), rng.standard_normal((1, 3, 2, 4))
    x[0, 1, 0, 2] = np.nan
    z, _, dx, dgamma, _ = run(Calls(Config(groups=2), *parameters(rng, 4), x, dz))
    for a in (z, dx):
        assert np.isnan(a[1, :, 2:]).all()
        assert np.isfinite(a[1, :, :2]).all()
        assert np.isfinite(a[[0, 2]]).all()
    assert np.isnan(dgamma).tolist() == [False, False, True, True]


def test_exact_numbers() -> None:
    """At an offset of 1e4 and a scale of 1e-3, 50 digits: the mean of y is zero to 35 of them, float64 agrees to 8.

    eq: gn-normalise, gn-backward
    """
    rng = np.random.default_rng(2)
    x, dz = 1e4 + 1e-3 * rng.standard_normal((1, 2, 3, 4)), rng.standard_normal((1, 2, 3, 4))
    inputs = Calls(Config(groups=2, eps=1e-10), *parameters(rng, 4), x, dz)
    truth = run(inputs._replace(**{name: exact(getattr(inputs, name)) for name in ("gamma", "beta", "xs", "dzs")}))
    assert float(np.max(np.abs(to_float(truth[1].y.reshape(2, 3, 2, 2).mean(axis=(1, 3)))))) <= 1e-35
    for ours, theirs in zip(run(inputs), truth, strict=True):
        if not isinstance(ours, tuple):
            np.testing.assert_allclose(to_float(theirs), ours, rtol=1e-7, atol=1e-7 * np.abs(ours).max())


@pytest.mark.frameworks
@pytest.mark.parametrize("shape", [(5, 6), (4, 5, 6), (4, 3, 2, 6)])
@pytest.mark.parametrize("kind", ["group", "layer", "instance"])
@pytest.mark.parametrize("eps", [1e-5, 0.1])
def test_against_pytorch(shape: tuple[int, ...], kind: str, eps: float) -> None:
    """GroupNorm, LayerNorm as GroupNorm(1, C), and InstanceNorm.

    eq: gn-normalise, gn-statistics, gn-backward, gn-gradient-statistics, affine, affine-backward
    """
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if kind == "instance" and len(shape) == 2:
        pytest.skip("one value a group")
    rng, channels = np.random.default_rng(len(shape)), shape[-1]
    x, dz, (gamma, beta) = sample(rng, shape, low=-1, high=1), rng.standard_normal(shape), parameters(rng, channels)
    if kind == "instance":
        layer = torch.nn.InstanceNorm2d if len(shape) == 4 else torch.nn.InstanceNorm1d
        theirs, config = layer(channels, eps=eps, affine=True, dtype=torch.float64), Config.instance(eps=eps)
    else:
        config = Config.layer(eps=eps) if kind == "layer" else Config(eps=eps, groups=3)
        theirs = torch.nn.GroupNorm(config.groups, channels, eps=eps, dtype=torch.float64)
    with torch.no_grad():
        theirs.weight[:], theirs.bias[:] = torch.tensor(gamma), torch.tensor(beta)
    first = lambda a: torch.tensor(np.moveaxis(a, -1, 1).copy())  # noqa: E731
    x_ = first(x).requires_grad_()
    z_ = theirs(x_)
    z_.backward(first(dz))
    z, _, dx, dgamma, dbeta = run(Calls(config, gamma, beta, x[None], dz[None]))
    last = [np.moveaxis(t.detach().numpy(), 1, -1) for t in (z_, x_.grad)]
    for ours, theirs_ in zip((z, dx, dgamma, dbeta), (*last, theirs.weight.grad, theirs.bias.grad), strict=True):
        b = np.asarray(theirs_)
        np.testing.assert_allclose(ours, b, rtol=1e-12, atol=1e-12 * np.abs(b).max())


ONE, ZERO, X = np.ones(4), np.zeros(4), np.random.default_rng(0).standard_normal((2, 3, 4))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Config(eps=-1.0), ValueError, "eps is -1.0, expected a finite number of at least 0"),
        (lambda: Config(groups=0), ValueError, "groups is 0, expected an integer of at least 1"),
        (lambda: Config(groups=2.0), TypeError, "groups is 2.0, expected an integer"),
        (lambda: group_norm.init(4, Config(groups=3), dtype=float), ValueError, "groups is 3, expected a divisor of"),
        (lambda: group_norm.init(0, Config(groups=1), dtype=float), ValueError, "channels is 0"),
        (lambda: group_norm.init(2.0, Config(groups=1), dtype=float), TypeError, "channels is 2.0, expected"),
        (lambda: group_norm.init(4, Config(groups=1), dtype=int), TypeError, "the state has dtype int64"),
        (lambda: group_norm.statistics(X, Config(groups=3)), ValueError, "groups is 3, expected a divisor of the 4"),
        (lambda: group_norm.statistics(X[0, 0], Config(groups=1)), ValueError, r"x has shape \(4,\).*channels last"),
        (lambda: group_norm.statistics(X.astype(int), Config()), TypeError, "x has dtype int64"),
        (lambda: group_norm.forward(X, ONE[:3], ZERO, NONE, Config(groups=2)), ValueError, r"gamma has shape \(3,\)"),
        (
            lambda: group_norm.forward(X, ONE.astype(np.float32), ZERO, NONE, Config(groups=2)),
            TypeError,
            "gamma has dtype float32, expected float64",
        ),
        (
            lambda: group_norm.forward(X[:, 0], ONE, ZERO, NONE, Config.instance()),
            ValueError,
            "groups=None: one value per sample and group, whose variance is 0 by construction",
        ),
    ],
)
def test_bad_input(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("dz", "error", "message"),
    [
        (X[:1], ValueError, r"dz has shape \(1, 3, 4\), expected \(2, 3, 4\)"),
        (X.astype(np.float32), TypeError, "dz has dtype float32, expected float64"),
        (None, TypeError, "dz is a NoneType"),
    ],
)
def test_bad_cotangents(dz: Any, error: type[Exception], message: str) -> None:
    _, cache, _ = group_norm.forward(X, ONE, ZERO, NONE, Config(groups=2))
    for call in (
        lambda: group_norm.backward(dz, cache, NONE),
        lambda: group_norm.backward_graph(dz, cache, NONE),
        lambda: group_norm.gradient_statistics(dz, cache),
    ):
        with pytest.raises(error, match=message):
            call()

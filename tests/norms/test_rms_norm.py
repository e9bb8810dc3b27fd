"""RMSNorm and Filter Response Normalization: the definition, the derivative, and modified BN with other axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabn_ref.gradcheck import check
from mabn_ref.mistakes.oracles import forward, recurrence
from mabn_ref.mistakes.random_inputs import RIGHT_DRAWS
from mabn_ref.nn import threshold
from mabn_ref.norms import modified_batch_norm, rms_norm
from mabn_ref.norms.rms_norm import Config, State
from tests.strategies import parameters, sample, seeds

NONE = State()
both = pytest.mark.parametrize("axes", ["channels", "positions"])


def run(x: Any, dz: Any, gamma: Any, beta: Any, config: Config) -> list[Any]:
    z, cache, state = rms_norm.forward(x, gamma, beta, NONE, config)
    assert state == NONE
    return [z, *rms_norm.backward(dz, cache, NONE)[:3]]


def drawn(seed: int, shape: tuple[int, ...]) -> tuple[Any, Any, Any, Any]:
    rng = np.random.default_rng(seed)
    return (sample(rng, shape, low=-1, high=1), rng.standard_normal(shape), *parameters(rng, shape[-1]))


def test_runs_follow_the_plain_definition() -> None:
    """eq: rms-statistics, rms-normalise, rms-backward, affine, affine-backward"""
    for seed in range(60):
        inputs = RIGHT_DRAWS[rms_norm](np.random.default_rng(seed))
        for oracle in (forward, recurrence):
            verdict = oracle("rms_norm", rms_norm, inputs)
            assert verdict.accepted, (seed, verdict)


@both
@pytest.mark.parametrize("eps", [1e-6, 0.1])
def test_derivative(axes: str, eps: float) -> None:
    """eq: rms-statistics, rms-normalise, rms-backward"""
    x, _, gamma, beta = drawn(8, (2, 2, 2, 4))
    config = Config(axes=axes, eps=eps)
    check(
        lambda x, gamma, beta: rms_norm.forward(x, gamma, beta, NONE, config)[:2],
        lambda dz, cache: rms_norm.backward(dz, cache, NONE)[:3],
        (x, gamma, beta),
    ).raise_for_error()


@given(seed=seeds, eps=st.sampled_from([1e-6, 1.0]))
def test_it_is_modified_batch_norm_with_other_axes(seed: int, eps: float) -> None:
    """Over positions of one sample as it is; over channels where these take the place of the samples.

    eq: rms-statistics, rms-normalise, rms-backward, modified-backward
    """
    x, dz, gamma, beta = drawn(seed, (3, 5, 4))
    one = modified_batch_norm.Config(norm_batch=1, eps=eps)
    state = modified_batch_norm.init(4, one, dtype=float)
    z, cache, state = modified_batch_norm.forward(x, gamma, beta, state, one)
    theirs = [z, *modified_batch_norm.backward(dz, cache, state)[:3]]
    config = Config(axes="positions", eps=eps)
    for a, b in zip(run(x, dz, gamma, beta, config), theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * np.abs(b).max())
    np.testing.assert_allclose(rms_norm.statistics(x, config), modified_batch_norm.statistics(x, one), rtol=1e-14)

    every = modified_batch_norm.Config(eps=eps)
    state = modified_batch_norm.init(15, every, dtype=float)
    z, cache, state = modified_batch_norm.forward(x.reshape(15, 4).T, np.ones(15), np.zeros(15), state, every)
    dx = modified_batch_norm.backward((dz * gamma).reshape(15, 4).T, cache, state)[0]
    ours = run(x, dz, gamma, beta, Config(eps=eps))
    np.testing.assert_allclose(ours[0], gamma * z.T.reshape(x.shape) + beta, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ours[1], dx.T.reshape(x.shape), rtol=1e-11, atol=1e-12 * np.abs(dx).max())


@both
def test_the_statistics_of_backward(axes: str) -> None:
    """g = (1/M) d/dc L(y + c) and Psi = (1/M) d/da L(a y), L linear in y."""
    x, dz, gamma, beta = drawn(3, (2, 3, 4))
    _, cache, _ = rms_norm.forward(x, gamma, beta, NONE, Config(axes=axes))
    g, psi = rms_norm.gradient_statistics(dz, cache)
    y, axis = cache.y.reshape(x.shape), 2 if axes == "channels" else 1
    np.testing.assert_allclose(g.ravel(), np.mean(dz * gamma, axis=axis).ravel(), rtol=1e-12)
    np.testing.assert_allclose(psi.ravel(), np.mean(dz * gamma * y, axis=axis).ravel(), rtol=1e-12)


@both
def test_inference_is_training_and_a_sample_knows_no_other(axes: str) -> None:
    x, dz, gamma, beta = drawn(0, (3, 2, 4))
    z = run(x, dz, gamma, beta, Config(axes=axes))[0]
    np.testing.assert_array_equal(rms_norm.infer(x, gamma, beta, NONE, Config(axes=axes)), z)
    np.testing.assert_array_equal(rms_norm.infer(x[1:2], gamma, beta, NONE, Config(axes=axes))[0], z[1])


@both
def test_float32_keeps_large_values_and_says_where_squares_overflow(axes: str) -> None:
    """At 1e15 the squares are near 1e30, and those of 1e20 are more than float32 holds."""
    x, dz, gamma, beta = (a.astype(np.float32) for a in drawn(1, (2, 3, 4)))
    config = Config(axes=axes, eps=0.0)
    z, dx, *_ = run(x, dz, gamma, beta, config)
    big = run(x * np.float32(2**50), dz, gamma, beta, config)
    np.testing.assert_array_equal(big[0], z)
    np.testing.assert_array_equal(big[1] * np.float32(2**50), dx)
    assert {a.dtype for a in big} == {np.dtype(np.float32)}
    x[..., 2] *= np.float32(1e20)
    with pytest.raises(OverflowError, match="in channel 2"), np.errstate(over="ignore"):
        run(x, dz, gamma, beta, config)


@pytest.mark.frameworks
@pytest.mark.parametrize("eps", [1e-6, 0.1])
def test_against_pytorch(eps: float) -> None:
    """eq: rms-statistics, rms-normalise, rms-backward"""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x, dz, gamma, _ = drawn(5, (4, 3, 2, 6))
    theirs = torch.nn.RMSNorm(6, eps=eps, dtype=torch.float64)
    with torch.no_grad():
        theirs.weight[:] = torch.tensor(gamma)
    leaf = torch.tensor(x, requires_grad=True)
    z = theirs(leaf)
    z.backward(torch.tensor(dz))
    ours = run(x, dz, gamma, np.zeros(6), Config(eps=eps))
    for a, b in zip(ours, (z.detach(), leaf.grad, theirs.weight.grad), strict=False):
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-12, atol=1e-12 * np.abs(a).max())


@pytest.mark.frameworks
def test_frn_and_its_threshold_against_autograd() -> None:
    """eq: rms-statistics, rms-normalise, rms-backward, threshold-forward, threshold-backward"""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    for seed in range(5):
        inputs = drawn(seed, (4, 3, 2, 6))
        tau = np.random.default_rng(seed).standard_normal(6)
        x, gamma, beta, cut = (torch.tensor(a, requires_grad=True) for a in (inputs[0], *inputs[2:], tau))
        normalised = x * torch.rsqrt(torch.mean(x**2, dim=(1, 2), keepdim=True) + 1e-5)
        out = torch.maximum(gamma * normalised + beta, cut)
        out.backward(torch.tensor(inputs[1]))
        config = Config(axes="positions", eps=1e-5)
        z, cache, _ = rms_norm.forward(inputs[0], *inputs[2:], NONE, config)
        ours, threshold_cache = threshold.forward(z, tau)
        dz, dtau = threshold.backward(inputs[1], threshold_cache)
        *gradients, _ = rms_norm.backward(dz, cache, NONE)
        found = (ours, *gradients, dtau)
        for a, b in zip(found, (out.detach(), x.grad, gamma.grad, beta.grad, cut.grad), strict=True):
            np.testing.assert_allclose(a, b.numpy(), rtol=1e-12, atol=1e-12 * np.abs(a).max())


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="axes is 'batch', expected one of 'channels', 'positions'"):
        Config(axes="batch")
    with pytest.raises(ValueError, match=r"eps is -1\.0"):
        Config(eps=-1.0)
    with pytest.raises(TypeError, match="config is a modified_batch_norm"):
        rms_norm.statistics(np.ones((2, 3)), modified_batch_norm.Config())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="channels last"):
        rms_norm.statistics(np.ones(3), Config())

"""One call on N samples is N / |B| calls on |B| samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabn_ref.norms import mabn
from mabn_ref.norms.micro_batches import merge, split
from tests.strategies import NORMS, configs, dimensions, parameters, sample, seeds


def close(a: Any, b: Any) -> None:
    """Equal to 1e-12 of the largest value of each channel."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    scale = np.max(np.abs(b), axis=tuple(range(b.ndim - 1)), keepdims=True) if b.ndim else np.abs(b)
    assert a.shape == b.shape
    assert np.all(np.abs(a - b) <= 1e-12 * scale + 1e-300), np.max(np.abs(a - b) / (scale + 1e-300))


@pytest.mark.parametrize("name", NORMS)
@given(data=st.data(), dims=dimensions(values=2), seed=seeds, calls=st.integers(1, 3))
def test_one_call_equals_many(name: str, data: Any, dims: Any, seed: int, calls: int) -> None:
    """eq: bn-statistics, modified-statistics, sma-backward, ema-forward, mabn-backward, brn-forward"""
    module, rng = NORMS[name], np.random.default_rng(seed)
    config = data.draw(configs(module, dims.norm_batch))
    gamma, beta = parameters(rng, dims.channels)
    together = apart = module.init(dims.channels, config, dtype=np.float64)
    for _ in range(calls):
        x, dz = sample(rng, dims.shape), rng.standard_normal(dims.shape)
        z, cache, together = module.forward(x, gamma, beta, together, config)
        dx, dgamma, dbeta, together = module.backward(dz, cache, together)
        parts = []
        for g in range(dims.groups):
            part = slice(g * dims.norm_batch, (g + 1) * dims.norm_batch)
            z_, cache, apart = module.forward(x[part], gamma, beta, apart, config)
            dx_, dgamma_, dbeta_, apart = module.backward(dz[part], cache, apart)
            parts.append((z_, dx_, dgamma_, dbeta_))
        close(z, np.concatenate([p[0] for p in parts]))
        close(dx, np.concatenate([p[1] for p in parts]))
        scale = sum(np.abs(p[2]) for p in parts)
        assert np.all(np.abs(dgamma - sum(p[2] for p in parts)) <= 1e-12 * np.maximum(scale, np.abs(dz).sum()))
        assert np.all(np.abs(dbeta - sum(p[3] for p in parts)) <= 1e-12 * np.abs(dz).sum())
        for a, b in zip(together, apart, strict=True):
            close(a, b)


@pytest.mark.parametrize("name", NORMS)
@given(data=st.data(), dims=dimensions(values=2, groups=3), seed=seeds)
def test_forward_forward_backward_backward(name: str, data: Any, dims: Any, seed: int) -> None:
    """F F B B gives what F B F B gives, bit for bit: the phase is read from the cache.

    eq: mabn-backward, sma-backward
    """
    module, rng = NORMS[name], np.random.default_rng(seed)
    config = data.draw(configs(module, dims.norm_batch))
    gamma, beta = parameters(rng, dims.channels)
    x = [sample(rng, dims.shape) for _ in range(2)]
    dz = [rng.standard_normal(dims.shape) for _ in range(2)]
    state = module.init(dims.channels, config, dtype=np.float64)
    alternating = []
    for i in range(2):
        _, cache, state = module.forward(x[i], gamma, beta, state, config)
        *grads, state = module.backward(dz[i], cache, state)
        alternating += grads
    other = module.init(dims.channels, config, dtype=np.float64)
    _, first, other = module.forward(x[0], gamma, beta, other, config)
    _, second, other = module.forward(x[1], gamma, beta, other, config)
    *grads, other = module.backward(dz[0], first, other)
    *more, other = module.backward(dz[1], second, other)
    for a, b in zip([*alternating, *state], [*grads, *more, *other], strict=True):
        np.testing.assert_array_equal(a, b)


@given(dims=dimensions(), seed=seeds)
def test_merge_undoes_split(dims: Any, seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal(dims.shape)
    canonical = split(x, dims.norm_batch)
    assert canonical.shape == (dims.groups, dims.values, dims.channels)
    np.testing.assert_array_equal(canonical[-1, 0], x[-dims.norm_batch].reshape(-1, dims.channels)[0])
    np.testing.assert_array_equal(merge(canonical, x.shape), x)


def test_a_call_is_one_iteration_in_the_grouped_version() -> None:
    """With ``ema_per="call"`` micro-batches share one exponential average, by design, and calls are counted."""
    rng, config = np.random.default_rng(0), mabn.Config.megvii_grouped(norm_batch=2, window=4, renorm_from=2)
    state = mabn.init(3, config, dtype=np.float64)
    gamma, beta = parameters(rng, 3)
    chi2_hat, held = np.ones(3), np.zeros((0, 3))
    for call in range(1, 5):
        x = sample(rng, (8, 2, 3), low=-1, high=1)
        batch = (split(x, 2) ** 2).mean(axis=1)
        held = np.concatenate([held, batch])
        used = batch if call == 1 else np.array([held[-4 - 3 + g : len(held) - 3 + g].mean(axis=0) for g in range(4)])
        chi2_hat = used.mean(axis=0) if call == 1 else chi2_hat
        r = np.clip(np.sqrt((used + 1e-5) / (chi2_hat + 1e-5)), 0.2, 5) if call >= 2 else np.ones((4, 3))
        z_ = gamma * np.repeat(r / np.sqrt(used + 1e-5), 2, axis=0)[:, None, :] * x + beta
        z, cache, state = mabn.forward(x, gamma, beta, state, config)
        _, _, _, state = mabn.backward(rng.standard_normal(x.shape), cache, state)
        close(z, z_)
        chi2_hat = 0.98 * chi2_hat + 0.02 * used.mean(axis=0)
        close(state.chi2, chi2_hat)
        assert state.iteration == call

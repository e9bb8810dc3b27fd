"""One call on N samples is N / |B| calls on |B| samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabn_ref.norms import mabn_variants
from mabn_ref.norms.common import merge, split
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


@pytest.mark.parametrize(("samples", "window"), [(8, 4), (8, 3), (8, 7), (4, 4)])
def test_the_grouped_version_step_by_step(samples: int, window: int) -> None:
    """``ema_per="call"``: micro-batches share one exponential average, by design, and calls are counted.

    eq: mabn-forward, mabn-renormalise, mabn-backward, sma-backward, ema-forward
    """
    rng = np.random.default_rng(window)
    config = mabn_variants.Config.megvii_grouped(norm_batch=2, window=window, renorm_from=4)
    state = mabn_variants.init(3, config, dtype=np.float64)
    gamma, beta = parameters(rng, 3)
    groups, eps = samples // 2, 1e-5
    chi2s: list[np.ndarray] = []
    psis: list[np.ndarray] = []
    chi2_hat = np.ones(3)
    for call in range(1, 9):
        x, dz = sample(rng, (samples, 2, 3), low=-1, high=1), rng.standard_normal((samples, 2, 3))
        used, z_, dx_, dgamma_ = [], np.empty_like(x), np.empty_like(x), np.zeros(3)
        for g in range(groups):
            chi2s.append((x[2 * g : 2 * g + 2] ** 2).mean(axis=(0, 1)))
            used.append(chi2s[-1] if call == 1 else np.mean(chi2s[-window:], axis=0))
        if call == 1:
            chi2_hat = np.mean(used, axis=0)
        for g in range(groups):
            part = slice(2 * g, 2 * g + 2)
            chi = np.sqrt(used[g] + eps)
            r = np.clip(chi / np.sqrt(chi2_hat + eps), 0.2, 5) if call >= 4 else np.ones(3)
            y = x[part] / chi
            dy = dz[part] * gamma * r
            psis.append((y * dy).mean(axis=(0, 1)))
            psi = psis[-1] if call == 1 else np.mean(psis[-window:], axis=0)
            z_[part], dx_[part] = gamma * r * y + beta, (dy - y * psi) / chi
            dgamma_ += (dz[part] * r * y).sum(axis=(0, 1))
        z, cache, state = mabn_variants.forward(x, gamma, beta, state, config)
        graph = mabn_variants.backward_graph(dz, cache, state)
        dx, dgamma, dbeta, state = mabn_variants.backward(dz, cache, state)
        for ours, theirs in ((z, z_), (dx, dx_), (graph[0], dx_), (dbeta, dz.sum(axis=(0, 1)))):
            close(ours, theirs)
        assert np.all(np.abs(dgamma - dgamma_) <= 1e-12 * np.abs(dz).sum())
        chi2_hat = 0.98 * chi2_hat + 0.02 * np.mean(used, axis=0)
        held = min(len(chi2s), window)
        close(state.chi2, chi2_hat)
        close(state.chi2_window[window - held :], np.array(chi2s[-held:]))
        close(state.psi_window[window - held :], np.array(psis[-held:]))
        assert state.iteration == call

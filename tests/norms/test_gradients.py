"""Every backward pass against numerical derivatives; for those that are no derivative, of what they are instead."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabn_ref.gradcheck import check, exact, to_float
from mabn_ref.norms import batch_norm, batch_renorm, mabn, modified_batch_norm
from tests.strategies import NORMS, configs, dimensions, many, parameters, sample, seeds

CENTRED = {"batch_norm": batch_norm, "modified_batch_norm": modified_batch_norm}


def history(module: Any, rng: np.random.Generator, dims: Any, config: Any, calls: int, x: np.ndarray) -> Any:
    """A state that has seen a few calls on the scale of `x`, with no Psi in its window."""
    state = module.init(dims.channels, config, dtype=np.float64)
    gamma, beta = parameters(rng, dims.channels)
    for _ in range(calls):
        _, _, state = module.forward(x * rng.uniform(0.7, 1.4, dims.channels), gamma, beta, state, config)
    return state


def passes(module: Any, state: Any, config: Any, x: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> Any:
    """Forward with r and d held at their numbers, and backward. The earlier Psi of a window are numbers too: zero."""
    _, held, after = module.forward(x, gamma, beta, state, config)
    r, d = getattr(held, "r", 1.0), getattr(held, "d", 0.0)

    def forward(x: Any, gamma: Any, beta: Any) -> Any:
        _, cache, _ = module.forward(x, gamma, beta, state, config)
        return (gamma * (r * cache.y + d) + beta).reshape(x.shape), cache

    def backward(dz: Any, cache: Any) -> Any:
        return module.backward(dz, cache, after)[:3]

    return forward, backward, (x, gamma, beta)


@pytest.mark.parametrize("name", CENTRED)
@given(data=st.data(), dims=dimensions(groups=3), seed=seeds, offset=st.sampled_from([0.0, 1.0, 1e2, 1e4]))
def test_derivative(name: str, data: Any, dims: Any, seed: int, offset: float) -> None:
    """Scales of 1e-3 to 1e3 a channel, and offsets up to 1e4, all eps, ranks 2 to 5.

    eq: bn-normalise, bn-backward, affine-backward, modified-normalise, modified-backward, bn-gradient-statistics
    """
    module, rng = NORMS[name], np.random.default_rng(seed)
    config = data.draw(configs(module, dims.norm_batch))
    x = sample(rng, dims.shape) + offset * rng.uniform(-1, 1, dims.channels)
    state, (gamma, beta) = module.init(dims.channels, config, dtype=np.float64), parameters(rng, dims.channels)

    after = module.forward(x, gamma, beta, state, config)[2]

    def forward(x: Any, gamma: Any, beta: Any) -> Any:
        return module.forward(x, gamma, beta, state, config)[:2]

    check(forward, lambda dz, cache: module.backward(dz, cache, after)[:3], (x, gamma, beta)).raise_for_error()


@given(data=st.data(), dims=dimensions(groups=3), seed=seeds, calls=st.integers(0, 3))
def test_brn_with_r_and_d_held(data: Any, dims: Any, seed: int, calls: int) -> None:
    """eq: brn-forward, brn-backward"""
    rng = np.random.default_rng(seed)
    config = data.draw(configs(batch_renorm, dims.norm_batch))
    x, (gamma, beta) = sample(rng, dims.shape), parameters(rng, dims.channels)
    state = history(batch_renorm, rng, dims, config, calls, x)
    forward, backward, arrays = passes(batch_renorm, state, config, x, gamma, beta)
    z = batch_renorm.forward(*arrays, state, config)[0]
    np.testing.assert_allclose(forward(*arrays)[0], z, rtol=1e-12, atol=1e-14 * np.abs(z).max())
    check(forward, backward, arrays).raise_for_error()


@pytest.mark.parametrize("name", ["mabn", "mabn_variants"])
@given(data=st.data(), dims=dimensions(groups=1), seed=seeds, calls=st.integers(0, 6))
def test_mabn_a_one_call_with_the_history_held(name: str, data: Any, dims: Any, seed: int, calls: int) -> None:
    """(a) One call's derivative is (dy - y Psi_B / m) / chi: (20) with an average of Psi_B and zeros.

    eq: mabn-forward, mabn-backward, mabn-one-call, mabn-affine-backward
    """
    module, rng = NORMS[name], np.random.default_rng(seed)
    config = data.draw(configs(module, dims.norm_batch))
    x, (gamma, beta) = sample(rng, dims.shape), parameters(rng, dims.channels)
    state = history(module, rng, dims, config, calls, x)
    forward, backward, arrays = passes(module, state, config, x, gamma, beta)
    check(forward, backward, arrays).raise_for_error()
    dz = rng.standard_normal(x.shape)
    _, cache, after = module.forward(x, gamma, beta, state, config)
    _, psi = module.gradient_statistics(dz, cache)
    early = getattr(config, "partial_window", "mean") == "batch" and calls + 1 <= config.window
    own = calls + 1 < config.warmup or early
    share = 1 if own else min(calls + 1, config.window)
    dy = (dz * gamma * cache.r[0]).reshape(cache.y.shape)
    expected = ((dy - cache.y * psi[:, None, :] / share) / cache.chi).reshape(x.shape)
    ours = module.backward(dz, cache, after)[0]
    scale = np.max(np.abs(dy), axis=(0, 1)) / cache.chi[0, 0]  # the two terms of dx may cancel
    assert np.all(np.abs(ours - expected) <= 1e-12 * scale)


@given(window=st.integers(1, 5), steps=st.integers(1, 7), values=st.integers(3, 5), seed=seeds)
def test_mabn_b_a_whole_run(window: int, steps: int, values: int, seed: int) -> None:
    """(b) The adjoint of a causal average looks forward: x_t meets the Psi of the next m windows, not the last m.

    eq: mabn-adjoint
    """
    rng = np.random.default_rng(seed)
    config = mabn.Config(window=window, clip=1.0, eps=0.1)
    one, zero = np.ones(2), np.zeros(2)
    # a full window before the first step, so that every average has m terms
    start = mabn.init(2, config, dtype=np.float64)
    for _ in range(window):
        _, _, start = mabn.forward(sample(rng, (values, 2), low=-1, high=1), one, zero, start, config)

    def forward(xs: Any) -> Any:
        state, out, caches = start, [], []
        for t in range(steps):
            z, cache, state = mabn.forward(xs[t], one, zero, state, config)
            out.append(z)
            caches.append(cache)
        return np.stack(out), (xs, caches)

    def backward(us: Any, kept: Any) -> Any:
        xs, caches = kept
        psi = [mabn.gradient_statistics(u, cache)[1][0] for u, cache in zip(us, caches, strict=True)]
        chi = [cache.chi[0, 0] for cache in caches]
        ahead = [sum(psi[s] / chi[s] ** 2 for s in range(t, min(t + window, steps))) / window for t in range(steps)]
        return np.stack([us[t] / chi[t] - xs[t] * ahead[t] for t in range(steps)])  # eq: mabn-adjoint

    check(forward, backward, (sample(rng, (steps, values, 2), low=-1, high=1),)).raise_for_error()


@pytest.mark.parametrize("name", NORMS)
@given(data=st.data(), dims=dimensions(groups=3), seed=seeds)
def test_c_the_batch_statistics_of_backward(name: str, data: Any, dims: Any, seed: int) -> None:
    """(c) g_B = (1/M) d/dc L(y + c) at c = 0, and Psi_B = (1/M) d/da L(a y) at a = 1, L linear in y.

    eq: bn-gradient-statistics
    """
    module, rng = NORMS[name], np.random.default_rng(seed)
    config = data.draw(configs(module, dims.norm_batch))
    x, (gamma, beta) = sample(rng, dims.shape), parameters(rng, dims.channels)
    state = history(module, rng, dims, config, 2, x)
    _, cache, _ = module.forward(x, gamma, beta, state, config)
    dz = rng.standard_normal(x.shape)
    r = getattr(cache, "r", np.ones((1, 1, 1)))

    def loss(y: np.ndarray) -> np.ndarray:
        return (dz.reshape(y.shape) * (gamma * r * y)).sum(axis=1)

    g, psi = module.gradient_statistics(dz, cache)
    scale = np.abs(gamma * r[:, 0]) * np.abs(dz).max()
    shifted = (loss(cache.y + 0.5) - loss(cache.y - 0.5)) / dims.values
    stretched = (loss(1.5 * cache.y) - loss(0.5 * cache.y)) / dims.values
    size = 1 + np.abs(cache.y).max(axis=1)
    assert np.all(np.abs(g - shifted) <= 1e-13 * scale * size * dims.values)
    assert np.all(np.abs(psi - stretched) <= 1e-13 * scale * size * dims.values)


@pytest.mark.parametrize("name", ["batch_renorm", "mabn"])
def test_the_naive_check_fails(name: str) -> None:
    """Plain differences see r and d move, and know nothing of earlier batches: they must not agree.

    eq: brn-backward, mabn-backward
    """
    module, rng = NORMS[name], np.random.default_rng(11)
    config = batch_renorm.Config(r_max=3.0, d_max=5.0) if name == "batch_renorm" else mabn.Config(window=4, clip=1.0)
    state, (gamma, beta) = module.init(2, config, dtype=np.float64), parameters(rng, 2)
    for _ in range(5):
        x, dz = rng.standard_normal((5, 2)), rng.standard_normal((5, 2))
        _, cache, state = module.forward(x, gamma, beta, state, config)
        *_, state = module.backward(dz, cache, state)

    def forward(x: Any) -> Any:
        return module.forward(x, gamma, beta, state, config)[:2]

    *_, after = module.forward(x, gamma, beta, state, config)
    result = check(forward, lambda dz, cache: module.backward(dz, cache, after)[0], (x,))
    assert result.verdict == "wrong"
    assert result.worst.error > 1e-2


@pytest.mark.parametrize("name", NORMS)
def test_worst_error_on_well_conditioned_draws(name: str) -> None:
    """|mean| / std below 10 and three values a channel or more: 1e-7 by central differences, 1e-13 by complex step.

    eq: bn-backward, brn-backward, modified-backward, mabn-backward
    """
    module, central, stepped = NORMS[name], 0.0, 0.0
    for seed in range(many(20, 60)):
        rng = np.random.default_rng(seed)
        values, channels = int(rng.integers(3, 12)), int(rng.integers(1, 4))
        config = module.Config(eps=float(rng.choice([1e-5, 0.1, 1.0])))
        x = 10 ** rng.uniform(-3, 3, channels) * rng.standard_normal((values, channels))
        x += x.std(axis=0) * rng.uniform(-9, 9, channels)
        state, (gamma, beta) = module.init(channels, config, dtype=np.float64), parameters(rng, channels)
        result = check(*passes(module, state, config, x, gamma, beta))
        assert result.verdict == "ok", result
        central = max(central, *(found.error for found in result.inputs))
        stepped = max(stepped, *(found.complex_error for found in result.inputs))
    assert central <= 1e-7
    assert stepped <= 1e-13


@pytest.mark.parametrize("name", NORMS)
def test_exact_arithmetic(name: str) -> None:
    """At an offset of 1e4 and a scale of 1e-3, 50 digits: differences and closed form agree to 1e-25.

    eq: bn-backward, brn-backward, modified-backward, mabn-backward
    """
    module, rng = NORMS[name], np.random.default_rng(2)
    config = module.Config(eps=1e-5)
    x = 1e4 + 1e-3 * rng.standard_normal((5, 2))
    gamma, beta = parameters(rng, 2)
    state = module.init(2, config, dtype=np.float64)
    state = type(state)(*(s if isinstance(s, int) else exact(s) for s in state))
    arrays = tuple(map(exact, (x, gamma, beta)))
    result = check(*passes(module, state, config, *arrays))
    assert result.verdict == "ok", result
    assert all(found.error <= 1e-25 for found in result.inputs), result
    _, cache, _ = module.forward(*arrays, state, config)
    if name.startswith("batch"):
        assert float(np.max(np.abs(to_float(cache.y.mean(axis=1))))) <= 1e-35

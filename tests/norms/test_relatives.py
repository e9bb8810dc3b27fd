"""What holds for every normaliser without a mean whose averages cross batches in both passes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mabn_ref.norms import NORMS, mabn, moving_statistics
from tests.norms.several_calls import drawn, run

RELATIVES = [
    norm.module for norm in NORMS.values() if {"chi2", "backward_iteration"} <= set(norm.module.State._fields)
]
each = pytest.mark.parametrize("module", RELATIVES, ids=lambda module: module.__name__.rpartition(".")[2])


@each
def test_one_call_is_many_calls_and_a_cache_goes_once(module: Any) -> None:
    xs, dzs, gamma, beta = drawn()
    config = module.Config(norm_batch=5)
    start = module.init(3, config, dtype=float)
    apart, end = run(module, config, xs, dzs, gamma, beta, start)
    z, cache, after = module.forward(xs.reshape(-1, 3), gamma, beta, start, config)
    dx, *_, state = module.backward(dzs.reshape(-1, 3), cache, after)
    # MABN's window is summed in another order when it moves on by several batches at once.
    np.testing.assert_allclose(z.reshape(xs.shape), apart[0], rtol=1e-13 if module is mabn else 0)
    np.testing.assert_allclose(dx.reshape(xs.shape), apart[1], rtol=1e-13, atol=1e-15)
    for a, b in zip(state, end, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)
    with pytest.raises(ValueError, match="went through backward already"):
        module.backward(dzs.reshape(-1, 3), cache, state)


@each
def test_inference_is_an_affine_map(module: Any) -> None:
    """eq: fold, modified-infer"""
    xs, dzs, gamma, beta = drawn()
    config = module.Config()
    _, state = run(module, config, xs, dzs, gamma, beta, module.init(3, config, dtype=float))
    scale, shift = module.affine(gamma, beta, state, config)
    np.testing.assert_allclose(module.infer(xs[0], gamma, beta, state, config), scale * xs[0] + shift, rtol=1e-13)


@each
def test_statistics(module: Any) -> None:
    """eq: modified-statistics, bn-gradient-statistics"""
    xs, dzs, gamma, beta = drawn()
    config = module.Config()
    np.testing.assert_allclose(module.statistics(xs[0], config)[0], np.mean(xs[0] ** 2, axis=0), rtol=1e-14)
    _, cache, _ = module.forward(xs[0], gamma, beta, module.init(3, config, dtype=float), config)
    r = getattr(cache, "r", np.ones((1, 1, 3)))[0]
    g, psi = module.gradient_statistics(dzs[0], cache)
    np.testing.assert_allclose(g[0], np.mean(dzs[0] * gamma * r, axis=0), rtol=1e-12)
    np.testing.assert_allclose(psi[0], np.mean(dzs[0] * gamma * r * cache.y[0], axis=0), rtol=1e-12)
    pairs = module.statistics(xs[0][:4], module.Config(norm_batch=2))
    np.testing.assert_allclose(pairs, np.mean(xs[0][:4].reshape(2, 2, 3) ** 2, axis=1), rtol=1e-14)


@pytest.mark.parametrize("module", [*RELATIVES, moving_statistics])
def test_forward_keeps_what_backward_has_collected(module: Any) -> None:
    xs, dzs, gamma, beta = drawn()
    config = module.Config()
    _, state = run(module, config, xs, dzs, gamma, beta, module.init(3, config, dtype=float))
    _, _, after = module.forward(xs[0], gamma, beta, state, config)
    kept = {"psi", "psi_window", "g_window", "v", "backward_iteration"} & set(state._fields)
    assert len(kept) >= 2
    for name in kept:
        assert np.any(getattr(state, name))
        np.testing.assert_array_equal(getattr(after, name), getattr(state, name))


@each
def test_float32_and_large_values(module: Any) -> None:
    """A power of two goes through unrounded, where the average starts with it too."""
    xs, dzs, gamma, beta = (a.astype(np.float32) for a in drawn())
    config, big = module.Config(eps=0.0), np.float32(2**50)
    start = module.init(3, config, dtype=np.float32)
    ours, _ = run(module, config, xs, dzs, gamma, beta, start)
    large, state = run(module, config, xs * big, dzs, gamma, beta, start._replace(chi2=start.chi2 * big * big))
    np.testing.assert_allclose(large[0], ours[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(large[1] * big, ours[1], rtol=1e-4, atol=1e-5)
    assert {a.dtype for a in (*large, state.chi2)} == {np.dtype(np.float32)}
    with pytest.raises(OverflowError, match="channel"), np.errstate(over="ignore"):
        module.forward(xs[0] * np.float32(1e20), gamma, beta, start, config)

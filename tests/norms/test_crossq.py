"""The settings of CrossQ and its ports."""

from __future__ import annotations

import numpy as np

from mabn_ref.norms import batch_norm, batch_renorm


def test_batch_statistics_in_warm_up_and_then_the_full_bounds_at_once() -> None:
    """Against the ports' own form, a change of mean and variance, which is the same for eps = 0.

    eq: brn-forward, brn-corrections, bn-normalise
    """
    rng = np.random.default_rng(0)
    config = batch_renorm.Config.crossq(warmup=3)
    assert (config.eps, config.decay, config.ema_of) == (1e-3, 0.99, "var")
    config = batch_renorm.Config(**{**vars(config), "eps": 0.0})
    plain = batch_norm.Config(eps=0.0, decay=0.99)
    one, zero = np.ones(3), np.zeros(3)
    state, other = batch_renorm.init(3, config, dtype=float), batch_norm.init(3, plain, dtype=float)
    mean, var = zero, one
    for t in range(1, 8):
        x = rng.standard_normal((6, 3)) * 2.0**t + t
        z, _, state = batch_renorm.forward(x, one, zero, state, config)
        expected, _, other = batch_norm.forward(x, one, zero, other, plain)
        if t > 3:
            mu, v = x.mean(axis=0), x.var(axis=0)
            r = np.clip(np.sqrt(v / var), 1 / 3, 3)
            d = np.clip((mu - mean) / np.sqrt(var), -5, 5)
            expected = (x - (mu - d * np.sqrt(v) / r)) / np.sqrt(v / r**2)
        np.testing.assert_allclose(z, expected, rtol=1e-12, atol=1e-13)
        mean, var = 0.99 * mean + 0.01 * x.mean(axis=0), 0.99 * var + 0.01 * x.var(axis=0)
    np.testing.assert_allclose(state.var, var, rtol=1e-13)
    assert batch_renorm.Config.crossq().r_max == batch_renorm.Ramp(start=100_000, stop=100_001, first=1.0, last=3.0)

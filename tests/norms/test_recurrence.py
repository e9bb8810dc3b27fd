"""Whole runs against the definitions, loops over one normalisation batch at a time (`mabn_ref.mistakes.plain`)."""

from __future__ import annotations

import numpy as np
import pytest

from mabn_ref.mistakes.oracles import forward, recurrence
from mabn_ref.mistakes.random_inputs import RIGHT_DRAWS
from mabn_ref.norms import batch_renorm, mabn, mabn_variants
from tests.strategies import NORMS, parameters, sample


@pytest.mark.parametrize("name", NORMS)
def test_runs_follow_the_plain_recurrence(name: str) -> None:
    """Outputs, gradients and every state after each of several calls, inference at the end.

    eq: bn-normalise, brn-forward, brn-corrections, brn-backward, modified-normalise, modified-backward, mabn-forward,
    mabn-backward, mabn-renormalise, sma-backward, ema-forward, bn-infer, modified-infer
    """
    for seed in range(60):
        inputs = RIGHT_DRAWS[NORMS[name]](np.random.default_rng(seed))
        for oracle in (forward, recurrence):
            verdict = oracle(name, NORMS[name], inputs)
            assert verdict.accepted, (seed, verdict)


def test_a_ramp_is_flat_then_linear_then_flat() -> None:
    """eq: brn-corrections"""
    ramp = batch_renorm.Ramp(start=10, stop=14, first=1.0, last=3.0)
    assert [ramp.at(i) for i in (1, 10, 11, 12, 13, 14, 99)] == [1.0, 1.0, 1.5, 2.0, 2.5, 3.0, 3.0]
    falling = batch_renorm.Ramp(start=0, stop=2, first=4.0, last=2.0)
    assert [falling.at(i) for i in (0, 1, 2)] == [4.0, 3.0, 2.0]
    jump = batch_renorm.Ramp(start=5, stop=5, first=1.0, last=2.0)
    assert [jump.at(i) for i in (4, 5, 6)] == [1.0, 2.0, 2.0]
    assert batch_renorm.Ramp(start=0, stop=1, first=0.0, last=0.5).at(7) == 0.5


def test_every_normalisation_batch_of_a_call_has_its_own_bound() -> None:
    """r and d at their bounds show the ramp: iterations 4 to 7 of a call that follows three batches.

    eq: brn-corrections
    """
    ramp = {"start": 4, "stop": 8}
    config = batch_renorm.Config(
        norm_batch=3,
        r_max=batch_renorm.Ramp(**ramp, first=1.0, last=3.0),
        d_max=batch_renorm.Ramp(**ramp, first=0.0, last=1.0),
    )
    rng = np.random.default_rng(0)
    gamma, beta = parameters(rng, 1)
    state = batch_renorm.init(1, config, dtype=np.float64)
    _, _, state = batch_renorm.forward(sample(rng, (9, 1), low=0, high=0), gamma, beta, state, config)
    far = 1e6 * (1 + rng.random((12, 1)))  # sigma and mean beyond every bound
    _, cache, state = batch_renorm.forward(far, gamma, beta, state._replace(mean=0 * state.mean), config)
    assert state.iteration == 7
    np.testing.assert_allclose(cache.r.ravel(), [1.0, 1.5, 2.0, 2.5])
    np.testing.assert_allclose(cache.d.ravel(), [0.0, 0.25, 0.5, 0.75])


def test_with_r_on_the_output_does_not_know_the_window_and_the_adjoint_is_an_exponential_average_ahead() -> None:
    """Where nothing is clipped: outputs for any window; one call's derivative and that of all, by finite differences.

    eq: mabn-r-one-call, mabn-r-adjoint, mabn-renormalise, ema-forward
    """
    rng, calls, values, alpha = np.random.default_rng(0), 60, 8, 0.9
    x, dz = sample(rng, (calls, values, 2), low=0, high=0), rng.standard_normal((calls, values, 2))
    gamma, beta = parameters(rng, 2)

    def run(xs: np.ndarray, window: int) -> tuple[np.ndarray, list[mabn.Cache]]:
        config = mabn.Config(window=window, decay=alpha, clip=50.0, eps=0.1)
        state, out, caches = mabn.init(2, config, dtype=np.float64), [], []
        for batch in xs:
            z, cache, state = mabn.forward(batch, gamma, beta, state, config)
            out.append(z)
            caches.append(cache)
        return np.stack(out), caches

    z, caches = run(x, 16)
    assert all(np.all((cache.r > 1 / 50) & (cache.r < 50)) for cache in caches)
    for window in (1, 3):
        np.testing.assert_allclose(run(x, window)[0], z, rtol=1e-13, atol=1e-13)

    chi_hat = np.stack([(cache.chi / cache.r)[0, 0] for cache in caches])
    w = gamma * dz
    psi = np.mean(x / chi_hat[:, None, :] * w, axis=1)
    t, h = 25, 1e-4
    for b, channel in np.ndindex(values, 2):
        slopes = []
        for step in (h, 2 * h):
            up, down = x.copy(), x.copy()
            up[t, b, channel] += step
            down[t, b, channel] -= step
            slopes.append(np.sum(dz * (run(up, 16)[0] - run(down, 16)[0]), axis=(1, 2)) / (2 * step))
        found = (4 * slopes[0] - slopes[1]) / 3  # the loss of every call
        one_call = w[t, b, channel] / chi_hat[t, channel]
        later = np.arange(1, calls - t)
        ahead = (1 - alpha) * np.sum(
            alpha ** (later - 1) * psi[t + later, channel] / chi_hat[t + later, channel] ** 2
        )
        scale = np.max(np.abs(w[t, :, channel])) / chi_hat[t, channel]
        assert abs(found[t] - one_call) <= 1e-8 * scale
        assert abs(np.sum(found) - (one_call - x[t, b, channel] * ahead)) <= 1e-8 * scale
        assert not np.any(found[:t])


@pytest.mark.parametrize(("start", "held"), [("first", 1.0), (1.0, 1.0), (0.25, 0.25)])
def test_where_the_ema_starts(start: float | str, held: float) -> None:
    """What inference divides by before any training: chi2 = 1 also where the first value will replace it.

    eq: ema-forward
    """
    config = mabn_variants.Config(eps=0.0, ema_start=start)
    state = mabn_variants.init(2, config, dtype=np.float64)
    assert state.chi2.tolist() == [held, held]
    assert not state.chi2_window.any()
    assert not state.psi_window.any()

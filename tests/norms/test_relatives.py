"""PowerNorm and Unified Normalization: their authors' code step by step, the plain recurrence, and what they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from mabn_ref.mistakes.oracles import forward, gradient, recurrence
from mabn_ref.mistakes.random_inputs import RIGHT_DRAWS, calls
from mabn_ref.norms import mabn, modified_batch_norm, moving_statistics, online_norm, power_norm, unified_norm

TRACES = Path(__file__).parent.parent / "traces"
DRAWS: list[tuple[Any, dict[str, Any]]] = [
    (power_norm, {"warmup": 0}),
    (power_norm, {"warmup": 5, "backward_by": "batch"}),
    (unified_norm, {}),
    (unified_norm, {"outliers": True, "window": 3, "warmup": 0}),
    (unified_norm, {"window": 2, "warmup": 4, "count": 7}),
]
both = pytest.mark.parametrize("module", [power_norm, unified_norm], ids=lambda module: module.__name__[15:])


def run(module: Any, config: Any, xs: Any, dzs: Any, gamma: Any, beta: Any, state: Any) -> tuple[list[Any], Any]:
    found = []
    for x, dz in zip(xs, dzs, strict=True):
        z, cache, state = module.forward(x, gamma, beta, state, config)
        *gradients, state = module.backward(dz, cache, state)
        found.append([z, *gradients])
    return [np.array(values) for values in zip(*found, strict=True)], state


@pytest.mark.parametrize(
    ("name", "module"),
    [("powernorm", power_norm), ("un", unified_norm), ("un-outliers", unified_norm), ("un-late", unified_norm)],
)
def test_the_authors_code_step_by_step(name: str, module: Any) -> None:
    """Through warm-up, with a batch six times the others; of PowerNorm without its scaling of groups of channels.

    eq: power-normalise, power-control, power-backward, unified-mean, unified-normalise, unified-psi,
    unified-backward, ema-forward, mabn-affine-backward
    """
    with np.load(TRACES / "relatives.npz", allow_pickle=False) as file:
        t = {key.partition("/")[2]: file[key] for key in file.files if key.startswith(name + "/")}
    config = module.Config(**json.loads(str(t["config"])))
    state = module.init(3, config, dtype=float)
    if name == "un-late":  # r is other than 1 from iteration 1001 on
        state = state._replace(chi2_window=np.ones((3, 3)), iteration=1000)
    found, state = run(module, config, t["x"], t["dz"], t["gamma"], t["beta"], state)
    ends = {key: t[key] for key in ("chi2", "psi", "v") if key in t}
    pairs = [*zip(found, (t[key] for key in ("z", "dx", "dgamma", "dbeta")), strict=True)]
    for ours, theirs in [*pairs, *((getattr(state, key), value) for key, value in ends.items())]:
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12 * np.abs(theirs).max())


def test_runs_follow_the_plain_recurrence() -> None:
    """More of them in the thorough profile.

    eq: power-normalise, power-control, power-backward, unified-mean, unified-psi, unified-backward, modified-infer
    """
    for module, changes in DRAWS:
        name = module.__name__.rpartition(".")[2]
        for seed in range(settings().max_examples // 8):
            inputs = calls(module, **changes)(np.random.default_rng(seed))
            for oracle in (forward, recurrence):
                verdict = oracle(name, module, inputs)
                assert verdict.error <= 1e-12, (name, seed, verdict)


@both
def test_one_batch_is_a_derivative_where_it_can_be(module: Any) -> None:
    """Of PowerNorm before v has built up; of Unified Normalization with a window of one batch.

    eq: power-backward, unified-backward
    """
    for seed in range(3):
        verdict = gradient(
            module.__name__.rpartition(".")[2], module, RIGHT_DRAWS[module](np.random.default_rng(seed))
        )
        assert verdict.accepted, verdict


def drawn(seed: int = 0, count: int = 6) -> tuple[Any, Any, Any, Any]:
    rng = np.random.default_rng(seed)
    xs, dzs = rng.standard_normal((2, count, 5, 3))
    return xs, dzs, np.array([1.5, -0.7, 0.6]), np.array([0.5, -1.0, 0.2])


def test_unified_norm_with_a_window_of_one_is_modified_batch_norm() -> None:
    """eq: unified-mean, unified-normalise, unified-backward, modified-backward"""
    config, theirs = unified_norm.Config(window=1, decay=0.5), modified_batch_norm.Config(decay=0.5)
    ours, state = run(unified_norm, config, *drawn(), unified_norm.init(3, config, dtype=float))
    found, other = run(modified_batch_norm, theirs, *drawn(), modified_batch_norm.init(3, theirs, dtype=float))
    for a, b in zip([*ours, state.chi2], [*found, other.chi2], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def test_powernorm_has_the_output_of_mabn_where_nothing_is_clipped() -> None:
    """eq: power-normalise, mabn-forward, mabn-renormalise"""
    config, theirs = power_norm.Config(decay=0.9), mabn.Config(decay=0.9, clip=1e9, window=3)
    ours, _ = run(power_norm, config, *drawn(), power_norm.init(3, config, dtype=float))
    found, _ = run(mabn, theirs, *drawn(), mabn.init(3, theirs, dtype=float))
    np.testing.assert_allclose(ours[0], found[0], rtol=1e-12)
    assert np.abs(ours[1] - found[1]).max() > 0.1


def test_powernorms_control_is_online_normalizations_with_a_batch_for_a_sample() -> None:
    """Where the mean stays 0, with samples whose mean is 0 and gradients that are as well.

    eq: power-control, online-control-v
    """
    xs, dzs, gamma, beta = drawn()
    xs, dzs = (a - a.mean(axis=1, keepdims=True) for a in (xs, dzs))
    config = power_norm.Config(decay=0.9, decay_backward=0.8)
    ours, state = run(power_norm, config, xs, dzs, gamma, beta, power_norm.init(3, config, dtype=float))
    theirs = online_norm.Config(decay_forward=0.9, decay_backward=0.8, layer_scaling=False)
    found, other = run(
        online_norm, theirs, xs[:, None], dzs[:, None], gamma, beta, online_norm.init(3, theirs, dtype=float)
    )
    np.testing.assert_allclose(ours[1], found[1][:, 0], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(state.v, other.v, rtol=1e-11)


@both
def test_one_call_is_many_calls_and_a_cache_goes_once(module: Any) -> None:
    xs, dzs, gamma, beta = drawn()
    config = module.Config(norm_batch=5)
    start = module.init(3, config, dtype=float)
    apart, end = run(module, config, xs, dzs, gamma, beta, start)
    z, cache, after = module.forward(xs.reshape(-1, 3), gamma, beta, start, config)
    dx, *_, state = module.backward(dzs.reshape(-1, 3), cache, after)
    np.testing.assert_array_equal(z.reshape(xs.shape), apart[0])
    np.testing.assert_allclose(dx.reshape(xs.shape), apart[1], rtol=1e-13, atol=1e-15)
    for a, b in zip(state, end, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)
    with pytest.raises(ValueError, match="went through backward already"):
        module.backward(dzs.reshape(-1, 3), cache, state)


@both
def test_inference_is_an_affine_map(module: Any) -> None:
    """eq: fold, modified-infer"""
    xs, dzs, gamma, beta = drawn()
    config = module.Config()
    _, state = run(module, config, xs, dzs, gamma, beta, module.init(3, config, dtype=float))
    scale, shift = module.affine(gamma, beta, state, config)
    np.testing.assert_allclose(module.infer(xs[0], gamma, beta, state, config), scale * xs[0] + shift, rtol=1e-13)


@both
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


@pytest.mark.parametrize("module", [mabn, moving_statistics, power_norm, unified_norm])
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


@pytest.mark.parametrize("window", [2, 3])
@pytest.mark.parametrize("channels", [1, 4])
def test_an_outlier_is_what_the_spread_of_the_window_does_not_allow(window: int, channels: int) -> None:
    """By the definition, over batches most of which are near its border.

    eq: unified-mean
    """
    config, one = unified_norm.Config(window=window, outliers=True, norm_batch=1), np.ones(channels)
    verdicts = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        before, width = rng.uniform(0.5, 1.5, (window, channels)), rng.uniform(0.05, 1.2)
        batch = np.exp(width * rng.standard_normal((1, channels)))
        state = unified_norm.init(channels, config, dtype=float)._replace(chi2_window=before, iteration=50)
        _, cache, after = unified_norm.forward(batch**0.5, one, 0 * one, state, config)
        held = np.concatenate([before[1:], batch])
        apart = np.mean(held, axis=0) - np.exp(np.mean(np.log(held), axis=0))
        far = bool(np.any(apart > window * np.var(before**0.5, ddof=1)))
        assert cache.alone == (far,), seed
        np.testing.assert_allclose(after.chi2_window[-1], state.chi2 if far else batch[0], rtol=1e-14)
        verdicts.append(far)
    assert 20 < sum(verdicts) < 180


@both
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


def test_a_batch_of_zeros_gives_finite_numbers() -> None:
    config = unified_norm.Config(window=2)
    xs, dzs, gamma, beta = drawn()
    xs[2] = 0
    found, _ = run(unified_norm, config, xs, dzs, gamma, beta, unified_norm.init(3, config, dtype=float))
    assert all(np.isfinite(a).all() for a in found)
    np.testing.assert_array_equal(found[0][2], np.broadcast_to(beta, (5, 3)))


def test_the_authors_settings() -> None:
    assert power_norm.Config.authors() == power_norm.Config(warmup=10_000, backward_by="batch")
    assert unified_norm.Config.authors() == unified_norm.Config(warmup=4000, renorm_from=4001)
    with pytest.raises(ValueError, match="backward_by is 'batches', expected one of 'moving', 'batch'"):
        power_norm.Config(backward_by="batches")

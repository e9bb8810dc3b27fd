"""EvalNorm: batch normalisation in training, a mixture of statistics at inference, the estimate of its weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabn_ref.gradcheck import check
from mabn_ref.mistakes.oracles import forward, recurrence
from mabn_ref.mistakes.random_inputs import RIGHT_DRAWS
from mabn_ref.norms import batch_norm, eval_norm, group_norm
from tests.strategies import decays, eps, parameters, seeds

ONE, ZERO = np.ones(3), np.zeros(3)


def trained(config: Any, rng: Any, calls: int = 5, channels: int = 3) -> Any:
    """A state that has seen a few batches."""
    state = eval_norm.init(channels, config, dtype=float)
    for _ in range(calls):
        x = rng.standard_normal((2 * config.norm_batch, 4, channels)) * 2 + 1
        state = eval_norm.forward(x, np.ones(channels), np.zeros(channels), state, config)[2]
    return state


def test_runs_follow_the_plain_recurrence() -> None:
    """Inference sample by sample; the estimate by a complex step through the outputs themselves.

    eq: eval-rule, eval-mixture, eval-infer, eval-estimate, ema-forward, bn-normalise
    """
    for seed in range(60):
        inputs = RIGHT_DRAWS[eval_norm](np.random.default_rng(seed))
        for oracle in (forward, recurrence):
            verdict = oracle("eval_norm", eval_norm, inputs)
            assert verdict.accepted, (seed, verdict)


@given(
    seed=seeds,
    samples=st.integers(2, 4),
    positions=st.integers(1, 4),
    e=eps,
    decay=decays,
    merged=st.booleans(),
    weights=st.tuples(st.floats(0.2, 0.8), st.floats(0.2, 0.8)),
)
def test_the_estimate_steps_down_the_slope_of_the_mismatch(
    seed: int, samples: int, positions: int, e: float, decay: float, merged: bool, weights: Any
) -> None:
    """Half the mean squared difference of the outputs of `infer` and of training, by central differences.

    eq: eval-estimate
    """
    rng, rate = np.random.default_rng(seed), 1e-3
    config = eval_norm.Config(norm_batch=samples, eps=e, decay=decay, estimated=True, rate=rate, merged=merged)
    x = rng.standard_normal((samples, positions, 3)) * rng.uniform(0.5, 2, 3) + rng.uniform(-2, 2, 3)
    a, b = (np.array([w]) for w in weights)
    state = eval_norm.State(rng.standard_normal(3), rng.uniform(0.5, 2, 3), a, b)
    target, _, after = eval_norm.forward(x, ONE, ZERO, state, config)

    def mismatch(a: Any, b: Any) -> float:
        return float(np.mean((eval_norm.infer(x, ONE, ZERO, state._replace(a=a, b=b), config) - target) ** 2) / 2)

    h = 1e-5
    for name, up, down in (("a", (a + h, b), (a - h, b)), ("b", (a, b + h), (a, b - h))):
        slope = (mismatch(*up) - mismatch(*down)) / (2 * h)
        step = (getattr(state, name) - getattr(after, name))[0] / rate
        # a step is limited to where the weight stays between 0 and 1
        if 0 < getattr(after, name)[0] < 1:
            assert step == pytest.approx(slope, rel=1e-6, abs=1e-7)


def test_the_estimate_makes_inference_more_like_training() -> None:
    """eq: eval-estimate"""
    rng = np.random.default_rng(0)
    # samples differ a lot from one another, so that the rule of thumb is not all there is to say
    config = eval_norm.Config(norm_batch=2, estimated=True, rate=0.05, decay=0.98)
    state = start = eval_norm.init(3, config, dtype=float)
    for _ in range(300):
        x = rng.standard_normal((8, 6, 3)) + 2 * rng.standard_normal((8, 1, 3))
        state = eval_norm.forward(x, ONE, ZERO, state, config)[2]

    def mismatch(a: Any, b: Any) -> float:
        draws, total = np.random.default_rng(1), 0.0
        for _ in range(200):
            x = draws.standard_normal((2, 6, 3)) + 2 * draws.standard_normal((2, 1, 3))
            y = eval_norm.forward(x, ONE, ZERO, state, config)[0]
            total += np.mean((eval_norm.infer(x, ONE, ZERO, state._replace(a=a, b=b), config) - y) ** 2)
        return total / 200

    zero = np.zeros(1)
    averages, rule, estimated = mismatch(zero, zero), mismatch(start.a, start.b), mismatch(state.a, state.b)
    assert estimated < 0.99 * rule
    assert rule < 0.8 * averages
    assert not np.allclose(state.a, 0.5, atol=0.02) or not np.allclose(state.b, 0.5, atol=0.02)


def test_training_is_batch_normalisation_bit_for_bit() -> None:
    """eq: bn-normalise, bn-backward, bn-graph"""
    rng = np.random.default_rng(2)
    x, dz, (gamma, beta) = rng.standard_normal((6, 4, 3)), rng.standard_normal((6, 4, 3)), parameters(rng, 3)
    config, plain = eval_norm.Config(norm_batch=2, estimated=True), batch_norm.Config(norm_batch=2)
    z, cache, state = eval_norm.forward(x, gamma, beta, eval_norm.init(3, config, dtype=float), config)
    z_, cache_, state_ = batch_norm.forward(x, gamma, beta, batch_norm.init(3, plain, dtype=float), plain)
    for name in ("backward", "backward_graph"):
        *ours, after = getattr(eval_norm, name)(dz, cache, state)
        *theirs, _ = getattr(batch_norm, name)(dz, cache_, state_)
        assert all(map(np.array_equal, [z, *ours, *state[:2]], [z_, *theirs, *state_[:2]]))
        assert after is state


@pytest.mark.parametrize("norm_batch", [1, 3])
def test_the_limits(norm_batch: int) -> None:
    """With a = b = 0 the averages alone, with a = b = 1 the sample alone: for n = 1 inference is training.

    eq: eval-rule, eval-mixture, eval-infer
    """
    rng = np.random.default_rng(3)
    config, (gamma, beta) = eval_norm.Config(norm_batch=norm_batch), parameters(rng, 3)
    state, x = trained(config, rng), rng.standard_normal((6, 4, 3))
    assert state.a == state.b == 1 / norm_batch
    none, all_ = np.zeros(1), np.ones(1)
    z = eval_norm.infer(x, gamma, beta, state._replace(a=none, b=none), config)
    plain = batch_norm.infer(x, gamma, beta, batch_norm.State(*state[:2]), batch_norm.Config())
    np.testing.assert_allclose(z, plain, rtol=1e-13)
    z = eval_norm.infer(x, gamma, beta, state._replace(a=all_, b=all_), config)
    instance = group_norm.Config.instance()
    alone = group_norm.forward(x, gamma, beta, group_norm.init(3, instance, dtype=float), instance)[0]
    np.testing.assert_allclose(z, alone, rtol=1e-11, atol=1e-12)
    if norm_batch == 1:
        z = eval_norm.infer(x, gamma, beta, state, config)
        np.testing.assert_allclose(z, eval_norm.forward(x, gamma, beta, state, config)[0], rtol=1e-11, atol=1e-12)


def test_the_mixture_is_the_statistics_of_a_batch_with_a_typical_rest() -> None:
    """A sample among n - 1 others that are all the moving statistics: mean and variance of the whole, exactly.

    eq: eval-mixture, eval-rule
    """
    rng, n, values = np.random.default_rng(4), 4, 50
    config = eval_norm.Config(norm_batch=n)
    sample = rng.standard_normal(values) * 3 + 5
    rest = rng.standard_normal(values)
    batch = np.concatenate([sample, *[rest] * (n - 1)])
    share = eval_norm.init(1, config, dtype=float).a
    mean, var = eval_norm.mixture(
        *(np.array([[s]]) for s in (sample.mean(), sample.var())),
        *(np.array([r]) for r in (rest.mean(), rest.var())),
        share,
        share,
        config,
    )
    np.testing.assert_allclose([mean.item(), var.item()], [batch.mean(), batch.var()], rtol=1e-12)


def test_samples_do_not_see_each_other_and_inference_is_no_affine_map() -> None:
    rng = np.random.default_rng(5)
    config, x = eval_norm.Config(norm_batch=2), rng.standard_normal((5, 4, 3))
    state, (gamma, beta) = trained(config, rng), parameters(rng, 3)
    z = eval_norm.infer(x, gamma, beta, state, config)
    apart = np.concatenate([eval_norm.infer(x[i : i + 1], gamma, beta, state, config) for i in range(5)])
    np.testing.assert_allclose(z, apart, rtol=1e-12)
    assert not hasattr(eval_norm, "affine")
    halves = [eval_norm.infer(factor * x, gamma, beta, state, config) for factor in (0.0, 2.0)]
    assert not np.allclose(z, (halves[0] + halves[1]) / 2, rtol=1e-2)


@given(
    seed=seeds,
    groups=st.integers(1, 4),
    norm_batch=st.integers(2, 3),
    merged=st.booleans(),
    decay=st.sampled_from([0.9, None]),
)
def test_one_call_equals_many(seed: int, groups: int, norm_batch: int, merged: bool, decay: float | None) -> None:
    """eq: eval-estimate, ema-forward, cumulative-average"""
    rng = np.random.default_rng(seed)
    config = eval_norm.Config(norm_batch=norm_batch, decay=decay, estimated=True, rate=0.2, merged=merged)
    x = rng.standard_normal((groups * norm_batch, 3, 3))
    together = apart = eval_norm.init(3, config, dtype=float)
    together = eval_norm.forward(x, ONE, ZERO, together, config)[2]
    for g in range(groups):
        part = x[g * norm_batch : (g + 1) * norm_batch]
        apart = eval_norm.forward(part, ONE, ZERO, apart, config)[2]
    for a, b in zip(together, apart, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


def test_gradient_in_training() -> None:
    """eq: bn-backward"""
    rng, config = np.random.default_rng(6), eval_norm.Config(norm_batch=3, estimated=True)
    state = trained(config, rng)
    inputs = rng.standard_normal((6, 2, 3)), *parameters(rng, 3)
    after = eval_norm.forward(*inputs, state, config)[2]
    check(
        lambda *arrays: eval_norm.forward(*arrays, state, config)[:2],
        lambda dz, cache: eval_norm.backward(dz, cache, after)[:3],
        inputs,
    ).raise_for_error()


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({}, ValueError, "norm_batch is None, expected an integer of at least 1: inference depends on it"),
        ({"norm_batch": 0}, ValueError, "norm_batch is 0"),
        ({"norm_batch": 2, "decay": 1.0}, ValueError, "decay is 1.0"),
        ({"norm_batch": 2, "rate": -0.1}, ValueError, "rate is -0.1, expected a finite number of at least 0"),
        ({"norm_batch": 2, "estimated": 1}, TypeError, "estimated is 1, expected True or False"),
        ({"norm_batch": 2, "merged": None}, TypeError, "merged is None, expected True or False"),
    ],
)
def test_config(keywords: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        eval_norm.Config(**keywords)


def test_bad_input() -> None:
    config = eval_norm.Config(norm_batch=2)
    state, x = eval_norm.init(3, config, dtype=float), np.arange(12.0).reshape(4, 3)
    for call in (eval_norm.forward, eval_norm.infer):
        with pytest.raises(TypeError, match="x has dtype int64"):
            call(np.ones((4, 3), dtype=int), ONE, ZERO, state, config)
        with pytest.raises(ValueError, match=r"gamma has shape \(3,\), expected \(2,\)"):
            call(np.ones((4, 2)), ONE, ZERO, state, config)
        with pytest.raises(TypeError, match=r"state is a batch_norm\.State, expected an eval_norm\.State"):
            call(x, ONE, ZERO, batch_norm.State(*state[:2]), config)
        for field in ("mean", "var", "a", "b"):
            with pytest.raises(ValueError, match=rf"state\.{field} has shape \(2,\), expected \([13],\)"):
                call(x, ONE, ZERO, state._replace(**{field: np.ones(2)}), config)
            single = getattr(state, field).astype(np.float32)
            with pytest.raises(TypeError, match=rf"state\.{field} has dtype float32, expected float64"):
                call(x, ONE, ZERO, state._replace(**{field: single}), config)
    with pytest.raises(ValueError, match="x has 3 samples, expected a multiple of norm_batch=2"):
        eval_norm.forward(x[:3], ONE, ZERO, state, config)
    _, cache, state = eval_norm.forward(x, ONE, ZERO, state, config)
    with pytest.raises(ValueError, match=r"dz has shape \(2, 3\), expected \(4, 3\)"):
        eval_norm.backward(np.ones((2, 3)), cache, state)


def test_nan_stays_in_its_sample_and_channel() -> None:
    config, x = eval_norm.Config(norm_batch=2), np.random.default_rng(9).standard_normal((4, 3, 3))
    x[2, 0, 1] = np.nan
    z = eval_norm.infer(x, ONE, ZERO, eval_norm.init(3, config, dtype=float), config)
    assert np.all(np.isnan(z[2, :, 1]))
    assert np.isnan(z).sum() == 3

"""Online Normalization: against the plain recurrence; as a derivative where it is one; and by what else it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabn_ref.gradcheck import check
from mabn_ref.mistakes.oracles import forward, recurrence
from mabn_ref.mistakes.random_inputs import RIGHT_DRAWS
from mabn_ref.norms import batch_norm, online_norm
from tests.strategies import decays, eps, parameters, seeds

ONE, ZERO = np.ones(3), np.zeros(3)
configs = st.builds(
    online_norm.Config, eps=eps, decay_forward=decays, decay_backward=decays, layer_scaling=st.booleans()
)
shapes = st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))


def run(x: Any, dz: Any, gamma: Any, beta: Any, config: Any, state: Any = None) -> list[Any]:
    """Forward and backward of one call, and the state after them."""
    state = online_norm.init(x.shape[-1], config, dtype=float) if state is None else state
    z, cache, state = online_norm.forward(x, gamma, beta, state, config)
    *gradients, state = online_norm.backward(dz, cache, state)
    return [z, *gradients, *state[:4]]


def test_runs_follow_the_plain_recurrence() -> None:
    """Sample by sample as the paper has it: outputs, gradients, all four moving statistics, inference.

    eq: online-normalise, online-mean, online-variance, online-control-v, online-control-u, online-backward,
    layer-scaling, layer-scaling-backward, bn-infer
    """
    for seed in range(60):
        inputs = RIGHT_DRAWS[online_norm](np.random.default_rng(seed))
        for oracle in (forward, recurrence):
            verdict = oracle("online_norm", online_norm, inputs)
            assert verdict.accepted, (seed, verdict)


def test_numbers_worked_out_by_hand() -> None:
    """Two samples of two values, all decays one half, eps 0.

    eq: online-mean, online-variance, online-normalise, online-control-v, online-control-u, online-backward
    """
    config = online_norm.Config(eps=0.0, decay_forward=0.5, decay_backward=0.5, layer_scaling=False)
    x, dz = np.array([[[2.0], [4.0]], [[1.0], [2.0]]]), np.array([[[1.0], [0.0]], [[3.0], [1.0]]])
    z, dx, dgamma, dbeta, mean, var, u, v = run(x, dz, np.array([2.0]), np.array([1.0]), config)
    # mean 0, var 1; then sample mean 3, variance 1: var = 1/2 + 1/2 + 9/4, mean = 3/2
    root = np.sqrt(3.25)
    np.testing.assert_allclose(z[:, :, 0], [[5, 9], [1 - 1 / root, 1 + 1 / root]], rtol=1e-14)
    np.testing.assert_allclose([mean[0], var[0]], [1.5, 3.25 / 2 + 0.125], rtol=1e-14)
    # v = mean(2, 4 * 0 ...): g = (2, 0) at y = (2, 4), so v = 2 and u = 1; then g = (6, 2) - y
    g = np.array([6.0, 2.0]) - np.array([-0.5, 0.5]) / root
    second = g / root - 0.5
    np.testing.assert_allclose(dx[:, :, 0], [[2, 0], second], rtol=1e-14)
    np.testing.assert_allclose(v[0], 2 + np.mean(g * np.array([-0.5, 0.5]) / root), rtol=1e-14)
    np.testing.assert_allclose(u[0], 1 + np.mean(second), rtol=1e-14)
    np.testing.assert_allclose([dgamma[0], dbeta[0]], [2 - 1.5 / root + 0.5 / root, 5], rtol=1e-14)


@given(shape=shapes.filter(lambda s: s[1] * s[2] * s[3] > 2), config=configs, seed=seeds, calls=st.integers(0, 2))
def test_the_first_sample_is_a_derivative(shape: Any, config: Any, seed: int, calls: int) -> None:
    """The averages before a sample do not depend on it: with u = v = 0, dx is the derivative of its z.

    eq: online-normalise, online-backward, layer-scaling, layer-scaling-backward, affine-backward
    """
    rng = np.random.default_rng(seed)
    scale = 10 ** rng.uniform(-1, 1, shape[-1])
    state = online_norm.init(shape[-1], config, dtype=float)
    gamma, beta = parameters(rng, shape[-1])
    for _ in range(calls):
        state = online_norm.forward(scale * rng.standard_normal(shape), gamma, beta, state, config)[2]
    x = scale * rng.standard_normal((1, *shape[1:]))
    after = online_norm.forward(x, gamma, beta, state, config)[2]
    check(
        lambda *arrays: online_norm.forward(*arrays, state, config)[:2],
        lambda dz, cache: online_norm.backward(dz, cache, after)[:3],
        (x, gamma, beta),
    ).raise_for_error()


def test_statistics_are_those_of_each_sample() -> None:
    """eq: bn-statistics"""
    x = np.random.default_rng(4).standard_normal((3, 2, 5, 2)) + 2
    for found, expected in zip(online_norm.statistics(x, online_norm.Config()), (np.mean, np.var), strict=True):
        np.testing.assert_allclose(found, expected(x, axis=(1, 2)), rtol=1e-14)


def test_gradient_statistics_are_those_of_each_sample() -> None:
    """eq: bn-gradient-statistics"""
    rng, config = np.random.default_rng(5), online_norm.Config(layer_scaling=False)
    x, dz, (gamma, beta) = *rng.standard_normal((2, 3, 4, 2)), parameters(rng, 2)
    _, cache, _ = online_norm.forward(x, gamma, beta, online_norm.init(2, config, dtype=float), config)
    g, psi = online_norm.gradient_statistics(dz, cache)
    dy = gamma * dz
    np.testing.assert_allclose(g, dy.mean(axis=1), rtol=1e-13)
    np.testing.assert_allclose(psi, (dy * cache.y.reshape(dz.shape)).mean(axis=1), rtol=1e-13)


def test_the_naive_check_of_two_samples_fails() -> None:
    """The first moves the averages under the second, and backward knows nothing of it. eq: online-backward"""
    rng, config = np.random.default_rng(0), online_norm.Config(decay_forward=0.9, decay_backward=0.9)
    state = online_norm.init(2, config, dtype=float)
    x = rng.standard_normal((4, 3, 2)) + 1
    after = online_norm.forward(x, np.ones(2), np.zeros(2), state, config)[2]
    result = check(
        lambda x: online_norm.forward(x, np.ones(2), np.zeros(2), state, config)[:2],
        lambda dz, cache: online_norm.backward(dz, cache, after)[0],
        (x,),
    )
    assert result.verdict == "wrong"
    assert result.worst.error > 1e-2


@pytest.mark.parametrize("decay", [0.9, 0.99])
def test_what_backward_is_instead(decay: float) -> None:
    """u and v are sums of what was let through, and stay bounded: in the long run dx has neither a mean nor a part
    along y, which are the two things that batch normalisation's dx never has.

    eq: online-control-v, online-control-u, online-backward
    """
    rng, samples = np.random.default_rng(1), 3000
    config = online_norm.Config(decay_backward=decay, decay_forward=0.99, layer_scaling=False, eps=0.0)
    x = rng.standard_normal((samples, 8, 2)) + 2
    state = online_norm.init(2, config, dtype=float)
    _, cache, after = online_norm.forward(x, np.ones(2), np.zeros(2), state, config)
    dz = 1 + 2 * cache.y + rng.standard_normal(x.shape)  # comes with both parts
    held, u, v = 1 - decay, np.zeros((samples + 1, 2)), np.zeros((samples + 1, 2))
    for t in range(samples):  # one call a sample shows u and v before each
        one = cache._replace(y=cache.y[t : t + 1], sigma=cache.sigma[t : t + 1], shape=(1, 8, 2), iteration=t)
        dx, _, _, after = online_norm.backward(dz[t : t + 1], one, after)
        u[t + 1], v[t + 1] = after.u, after.v
        g = (dx[0] + held * u[t]) * cache.sigma[t]
        np.testing.assert_allclose(u[t + 1] - u[t], dx[0].mean(axis=0), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(v[t + 1] - v[t], (g * cache.y[t]).mean(axis=0), rtol=1e-9, atol=1e-9)
    assert np.all(np.abs(v) < 4 * 2 / held)
    assert np.all(np.abs(u) < 4 * 2 / held)
    assert np.all(np.abs(np.mean(dz * cache.y, axis=(0, 1))) > 1.5)
    assert np.all(np.abs(v[-1]) / samples < 0.1)
    assert np.all(np.abs(u[-1]) / samples < 0.1)


@given(shape=shapes, config=configs, seed=seeds)
def test_one_call_equals_many_and_passes_may_wait(shape: Any, config: Any, seed: int) -> None:
    """A call of N samples, N calls, and all forward passes before all backward passes.

    eq: online-mean, online-variance, online-control-u, online-control-v
    """
    rng = np.random.default_rng(seed)
    x, dz, (gamma, beta) = rng.standard_normal(shape), rng.standard_normal(shape), parameters(rng, shape[-1])
    together = run(x, dz, gamma, beta, config)
    state = waiting = online_norm.init(shape[-1], config, dtype=float)
    apart, caches = [], []
    for t in range(len(x)):
        apart.append(run(x[t : t + 1], dz[t : t + 1], gamma, beta, config, state))
        state = online_norm.State(*apart[-1][4:])
        _, cache, waiting = online_norm.forward(x[t : t + 1], gamma, beta, waiting, config)
        caches.append(cache)
    joined = [np.concatenate([a[i] for a in apart]) for i in (0, 1)] + [sum(a[i] for a in apart) for i in (2, 3)]
    for a, b in zip(together, [*joined, *state[:4]], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10 * (1 + np.abs(b).max()))
    for t, cache in enumerate(caches):
        dx, _, _, waiting = online_norm.backward(dz[t : t + 1], cache, waiting)
        assert np.array_equal(dx, apart[t][1])
    assert all(np.array_equal(a, b) for a, b in zip(state[:4], waiting[:4], strict=True))


def test_one_value_a_sample_is_the_authors_one_dimensional_code() -> None:
    """var <- a var + a (1 - a) (x - m)^2: a sample of one value has no variance of its own. eq: online-variance"""
    rng, a = np.random.default_rng(2), 0.9
    config = online_norm.Config(decay_forward=a, layer_scaling=False)
    x = rng.standard_normal((6, 3))
    z, *_, mean, var, _, _ = run(x, x, ONE, ZERO, config)
    m, s2 = np.zeros(3), np.ones(3)
    for row, out in zip(x, z, strict=True):
        np.testing.assert_allclose(out, (row - m) / np.sqrt(s2 + 1e-5), rtol=1e-12)
        s2, m = a * s2 + a * (1 - a) * (row - m) ** 2, a * m + (1 - a) * row
    np.testing.assert_allclose([mean, var], [m, s2], rtol=1e-12)


def test_layer_scaling_makes_the_mean_square_one_and_takes_its_direction_off_the_gradient() -> None:
    """eq: layer-scaling, layer-scaling-backward"""
    rng, config = np.random.default_rng(3), online_norm.Config(eps=0.0)
    x, dz, (gamma, beta) = rng.standard_normal((3, 4, 2)), rng.standard_normal((3, 4, 2)), parameters(rng, 2)
    z, _, dgamma, dbeta, *_ = run(x, dz, gamma, beta, config)
    np.testing.assert_allclose(np.mean(z**2, axis=(1, 2)), 1, rtol=1e-12)
    # gamma and beta together stretch z, which changes nothing
    assert abs(dgamma @ gamma + dbeta @ beta) < 1e-12
    assert np.abs(dgamma).min() > 1e-3


def test_inference_and_the_affine_map() -> None:
    """eq: bn-infer, layer-scaling"""
    rng, x = np.random.default_rng(4), np.random.default_rng(5).standard_normal((4, 2, 3))
    gamma, beta = parameters(rng, 3)
    state = online_norm.State(*rng.uniform(0.5, 2, (4, 3)))
    plain = online_norm.Config(layer_scaling=False)
    scale, shift = online_norm.affine(gamma, beta, state, plain)
    z = online_norm.infer(x, gamma, beta, state, plain)
    np.testing.assert_allclose(z, scale * x + shift, rtol=1e-12, atol=1e-13)
    other = batch_norm.infer(x, gamma, beta, batch_norm.State(state.mean, state.var), batch_norm.Config())
    np.testing.assert_allclose(z, other, rtol=1e-14)
    scaled = online_norm.infer(x, gamma, beta, state, online_norm.Config())
    np.testing.assert_allclose(scaled, z / np.sqrt(np.mean(z**2, axis=(1, 2), keepdims=True) + 1e-5), rtol=1e-12)
    with pytest.raises(ValueError, match="layer_scaling is True, expected False"):
        online_norm.affine(gamma, beta, state, online_norm.Config())


def test_nan_reaches_what_comes_later_alone() -> None:
    x = np.ones((4, 2, 3))
    x[2, 0, 1] = np.nan
    z, *_, mean, _, _, _ = run(x, x, ONE, ZERO, online_norm.Config(layer_scaling=False))
    assert not np.any(np.isnan(z[:2]))
    assert np.all(np.isnan(z[3, :, 1]))
    assert np.array_equal(np.isnan(mean), [False, True, False])


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"eps": -1.0}, ValueError, "eps is -1.0, expected a finite number of at least 0"),
        ({"decay_forward": 1.0}, ValueError, r"decay_forward is 1.0, expected a number in \[0, 1\)"),
        ({"decay_backward": None}, TypeError, "decay_backward is None"),
        ({"layer_scaling": 1}, TypeError, "layer_scaling is 1, expected True or False"),
    ],
)
def test_config(keywords: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        online_norm.Config(**keywords)


def test_bad_input() -> None:
    config = online_norm.Config()
    state = online_norm.init(3, config, dtype=float)
    for call in (online_norm.forward, online_norm.infer):
        with pytest.raises(TypeError, match="x has dtype int64"):
            call(np.ones((4, 3), dtype=int), ONE, ZERO, state, config)
        with pytest.raises(ValueError, match=r"gamma has shape \(3,\), expected \(2,\)"):
            call(np.ones((4, 2)), ONE, ZERO, state, config)
        with pytest.raises(TypeError, match=r"state is a tuple, expected an online_norm\.State"):
            call(np.ones((4, 3)), ONE, ZERO, (), config)
        for field in ("mean", "var"):
            with pytest.raises(ValueError, match=rf"state\.{field} has shape \(1,\), expected \(3,\)"):
                call(np.ones((4, 3)), ONE, ZERO, state._replace(**{field: np.ones(1)}), config)
            with pytest.raises(TypeError, match=rf"state\.{field} has dtype float32, expected float64"):
                call(np.ones((4, 3)), ONE, ZERO, state._replace(**{field: np.ones(3, dtype=np.float32)}), config)
    _, cache, state = online_norm.forward(np.ones((4, 3)), ONE, ZERO, state, config)
    for call in (online_norm.backward, lambda dz, cache, _: online_norm.gradient_statistics(dz, cache)):
        with pytest.raises(ValueError, match=r"dz has shape \(2, 3\), expected \(4, 3\)"):
            call(np.ones((2, 3)), cache, state)
        with pytest.raises(TypeError, match="dz has dtype float32, expected float64"):
            call(np.ones((4, 3), dtype=np.float32), cache, state)
    for field in ("u", "v"):
        with pytest.raises(ValueError, match=rf"state\.{field} has shape \(1,\), expected \(3,\)"):
            online_norm.backward(np.ones((4, 3)), cache, state._replace(**{field: np.ones(1)}))
        with pytest.raises(TypeError, match=rf"state\.{field} has dtype float32, expected float64"):
            online_norm.backward(np.ones((4, 3)), cache, state._replace(**{field: np.ones(3, dtype=np.float32)}))
    with pytest.raises(ValueError, match="channels is 0"):
        online_norm.init(0, config, dtype=float)
    with pytest.raises(TypeError, match=r"channels is 2\.0, expected an integer"):
        online_norm.init(2.0, config, dtype=float)
    with pytest.raises(TypeError, match="the state has dtype int64"):
        online_norm.init(1, config, dtype=int)

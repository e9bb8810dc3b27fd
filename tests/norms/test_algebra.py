"""What the equations imply, checked on random draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabn_ref.norms import batch_norm, batch_renorm, mabn, mabn_variants, modified_batch_norm
from mabn_ref.norms.common import split
from tests.strategies import NORMS, configs, dimensions, eps, parameters, sample, seeds


def run(
    module: Any, x: np.ndarray, dz: np.ndarray, gamma: Any, beta: Any, config: Any, calls: int = 1
) -> tuple[Any, ...]:
    state = module.init(x.shape[-1], config, dtype=x.dtype)
    for _ in range(calls):
        z, cache, state = module.forward(x, gamma, beta, state, config)
        dx, dgamma, dbeta, state = module.backward(dz, cache, state)
    return z, dx, dgamma, dbeta, cache, state


@pytest.mark.parametrize("name", NORMS)
@given(data=st.data(), dims=dimensions(), seed=seeds)
def test_closed_form_and_graph_agree(name: str, data: Any, dims: Any, seed: int) -> None:
    """eq: bn-backward, bn-graph, brn-backward, brn-graph, modified-backward, modified-graph, mabn-backward,
    mabn-graph"""
    module, rng = NORMS[name], np.random.default_rng(seed)
    config = data.draw(configs(module, dims.norm_batch))
    gamma, beta = parameters(rng, dims.channels)
    state = module.init(dims.channels, config, dtype=np.float64)
    for _ in range(3):
        x, dz = sample(rng, dims.shape), rng.standard_normal(dims.shape)
        _, cache, state = module.forward(x, gamma, beta, state, config)
        graph = module.backward_graph(dz, cache, state)
        *closed, state = module.backward(dz, cache, state)
        for a, b in zip([*closed, *state], [*graph[:3], *graph[3]], strict=True):
            scale = np.max(np.abs(a), axis=tuple(range(np.ndim(a) - 1))) if np.ndim(a) else 1
            # terms of the size of dy cancel in dx, and dgamma is a sum: their rounding is the floor
            floor = np.abs(dz).sum() * 1e-13 * (1 + np.abs(gamma) / np.min(cache[1])) if np.ndim(a) else 0
            assert np.all(np.abs(np.asarray(a) - b) <= 1e-12 * scale + floor)


@given(dims=dimensions(), seed=seeds, e=eps)
def test_bn_gradient_has_no_mean_and_no_component_along_y(dims: Any, seed: int, e: float) -> None:
    """eq: bn-backward"""
    rng = np.random.default_rng(seed)
    x, dz, (gamma, beta) = sample(rng, dims.shape), rng.standard_normal(dims.shape), parameters(rng, dims.channels)
    config = batch_norm.Config(norm_batch=dims.norm_batch, eps=e)
    _, dx, _, _, cache, _ = run(batch_norm, x, dz, gamma, beta, config)
    dx, scale = split(dx, dims.norm_batch), np.abs(gamma) / cache.sigma[:, 0] * dims.values
    assert np.all(np.abs(dx.sum(axis=1)) <= 1e-12 * scale * 10)
    _, psi = batch_norm.gradient_statistics(dz, cache)
    left = e / cache.sigma[:, 0] ** 3 * psi * dims.values  # what eps leaves of the component along y
    assert np.all(np.abs((dx * cache.y).sum(axis=1) - left) <= 1e-11 * scale * 10)


@given(dims=dimensions(), seed=seeds, e=eps, factor=st.sampled_from([0.125, 8.0, 1024.0]))
def test_scale_and_shift_of_the_input(dims: Any, seed: int, e: float, factor: float) -> None:
    """f(a x; a^2 eps) = f(x; eps) for both forms, f(x + c) = f(x) for the vanilla one alone.

    eq: bn-normalise, modified-normalise
    """
    rng = np.random.default_rng(seed)
    x, dz, (gamma, beta) = sample(rng, dims.shape), rng.standard_normal(dims.shape), parameters(rng, dims.channels)
    for module in (batch_norm, modified_batch_norm):
        z, dx, *_ = run(module, x, dz, gamma, beta, module.Config(norm_batch=dims.norm_batch, eps=e))
        config = module.Config(norm_batch=dims.norm_batch, eps=e * factor**2)
        z_, dx_, *_ = run(module, x * factor, dz, gamma, beta, config)
        np.testing.assert_allclose(z_, z, rtol=0, atol=1e-12 * np.abs(z).max())
        np.testing.assert_allclose(dx_ * factor, dx, rtol=0, atol=1e-12 * np.abs(dx).max())
    shift = np.abs(x).max(axis=tuple(range(x.ndim - 1)))
    config = batch_norm.Config(norm_batch=dims.norm_batch, eps=e)
    z, *_ = run(batch_norm, x, dz, gamma, beta, config)
    z_, *_ = run(batch_norm, x + shift, dz, gamma, beta, config)
    rounding = 1e-15 * shift / np.sqrt(batch_norm.statistics(x, config)[1].min(axis=0) + e) * np.abs(gamma)
    assert np.all(np.abs(z_ - z) <= 1e-11 + 20 * dims.values * rounding)


@pytest.mark.parametrize("name", NORMS)
@given(data=st.data(), dims=dimensions(), seed=seeds)
def test_order_within_a_normalisation_batch_does_not_matter(name: str, data: Any, dims: Any, seed: int) -> None:
    """eq: bn-statistics, modified-statistics, bn-gradient-statistics"""
    module, rng = NORMS[name], np.random.default_rng(seed)
    config = data.draw(configs(module, dims.norm_batch))
    x, dz, (gamma, beta) = sample(rng, dims.shape), rng.standard_normal(dims.shape), parameters(rng, dims.channels)
    order = np.concatenate([g * dims.norm_batch + rng.permutation(dims.norm_batch) for g in range(dims.groups)])
    z, dx, dgamma, _, cache, _ = run(module, x, dz, gamma, beta, config, calls=2)
    z_, dx_, dgamma_, *_ = run(module, x[order], dz[order], gamma, beta, config, calls=2)
    axes = tuple(range(x.ndim - 1))
    floor = np.abs(dz).sum() * (1 + np.abs(gamma) / np.min(cache[1], axis=0))
    assert np.all(np.abs(z_ - z[order]) <= 1e-12 * (1 + np.abs(z).max(axis=axes)))
    assert np.all(np.abs(dx_ - dx[order]) <= 1e-12 * floor)
    assert np.all(np.abs(dgamma_ - dgamma) <= 1e-12 * np.abs(dz).sum() * (1 + np.abs(cache.y).max()))


@given(dims=dimensions(), seed=seeds, e=eps)
def test_brn_with_closed_bounds_is_bn(dims: Any, seed: int, e: float) -> None:
    """eq: brn-forward, brn-corrections, brn-backward"""
    rng = np.random.default_rng(seed)
    x, dz, (gamma, beta) = sample(rng, dims.shape), rng.standard_normal(dims.shape), parameters(rng, dims.channels)
    keywords: Any = {"norm_batch": dims.norm_batch, "eps": e, "decay": 0.9}
    brn = batch_renorm.Config(**keywords, r_max=1.0, d_max=0.0, ema_of="var")
    ours = run(batch_renorm, x, dz, gamma, beta, brn, calls=3)
    theirs = run(batch_norm, x, dz, gamma, beta, batch_norm.Config(**keywords), calls=3)
    for a, b in zip([*ours[:4], *ours[5][:2]], [*theirs[:4], *theirs[5][:2]], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * np.abs(b).max())


@given(dims=dimensions(), seed=seeds, e=eps)
def test_mabn_with_a_window_of_one_is_modified_bn(dims: Any, seed: int, e: float) -> None:
    """eq: mabn-forward, mabn-backward, modified-normalise, modified-backward"""
    rng = np.random.default_rng(seed)
    x, dz, (gamma, beta) = sample(rng, dims.shape), rng.standard_normal(dims.shape), parameters(rng, dims.channels)
    keywords: Any = {"norm_batch": dims.norm_batch, "eps": e, "decay": 0.9}
    ours = run(mabn, x, dz, gamma, beta, mabn.Config(**keywords, window=1, clip=1.0), calls=3)
    theirs = run(modified_batch_norm, x, dz, gamma, beta, modified_batch_norm.Config(**keywords), calls=3)
    for a, b in zip([*ours[:4], ours[5].chi2], [*theirs[:4], theirs[5].chi2], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * np.abs(b).max())


@pytest.mark.parametrize("name", NORMS)
@given(dims=dimensions(), seed=seeds)
def test_statistics_are_the_moments_of_each_normalisation_batch(name: str, dims: Any, seed: int) -> None:
    """eq: bn-statistics, modified-statistics"""
    module, rng = NORMS[name], np.random.default_rng(seed)
    x = sample(rng, dims.shape)
    batches = x.reshape(dims.groups, dims.values, dims.channels)
    found = module.statistics(x, module.Config(norm_batch=dims.norm_batch))
    if name.endswith("renorm") or name == "batch_norm":
        np.testing.assert_allclose(found[0], batches.mean(axis=1), rtol=0, atol=1e-13 * np.abs(x).max())
        np.testing.assert_allclose(found[1], batches.var(axis=1), rtol=1e-12)
    else:
        np.testing.assert_allclose(found, (batches**2).mean(axis=1), rtol=1e-12)


def test_the_authors_settings() -> None:
    """What the authors' two files do; the docs have the same table."""
    assert mabn_variants.Config.paper(window=4) == mabn_variants.Config(window=4)
    assert mabn_variants.Config.megvii(window=4, norm_batch=2) == mabn_variants.Config(
        window=4, norm_batch=2, warmup=100, renorm_from=1001, partial_window="batch", ema_of="window"
    )
    assert mabn_variants.Config.megvii(warmup=2000).renorm_from == 2001
    assert mabn_variants.Config.megvii(warmup=20, renorm_from=7, decay=0.5).renorm_from == 7
    assert mabn_variants.Config.megvii_grouped(window=8) == mabn_variants.Config(
        window=8, warmup=2, renorm_from=100, ema_of="window", ema_per="call", ema_start="first"
    )


@pytest.mark.parametrize("name", NORMS)
@given(data=st.data(), dims=dimensions(), seed=seeds)
def test_affine_is_infer(name: str, data: Any, dims: Any, seed: int) -> None:
    """eq: bn-infer, modified-infer"""
    module, rng = NORMS[name], np.random.default_rng(seed)
    config = data.draw(configs(module, dims.norm_batch))
    x, dz, (gamma, beta) = sample(rng, dims.shape), rng.standard_normal(dims.shape), parameters(rng, dims.channels)
    state = run(module, x, dz, gamma, beta, config, calls=2)[5]
    scale, shift = module.affine(gamma, beta, state, config)
    z = module.infer(x[:1], gamma, beta, state, config)
    np.testing.assert_allclose(
        scale * x[:1] + shift, z, rtol=0, atol=1e-12 * (np.abs(scale * x[:1]) + np.abs(shift)).max()
    )


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_training_output_tends_to_inference_output(name: str, decay: float) -> None:
    """On one batch again and again the moving statistics become the batch's; with decay 0, at once.

    eq: ema-forward, bn-infer, modified-infer
    """
    module, rng = NORMS[name], np.random.default_rng(3)
    x, dz, (gamma, beta) = sample(rng, (4, 3, 2)), rng.standard_normal((4, 3, 2)), parameters(rng, 2)
    extra = {"batch_renorm": {"r_max": 3.0, "d_max": 5.0}, "mabn": {"window": 2}}.get(name, {})
    config = module.Config(decay=decay, **extra)
    z, *_, state = run(
        module, x, dz, gamma, beta, config, calls=1 if decay == 0 and name.endswith("batch_norm") else 80
    )
    np.testing.assert_allclose(module.infer(x, gamma, beta, state, config), z, rtol=1e-10)


@pytest.mark.parametrize("name", NORMS)
@given(data=st.data(), dims=dimensions(groups=2), seed=seeds)
def test_nothing_is_changed_and_float32_stays(name: str, data: Any, dims: Any, seed: int) -> None:
    module, rng = NORMS[name], np.random.default_rng(seed)
    config = data.draw(configs(module, dims.norm_batch))
    x, dz = (a.astype(np.float32) for a in (sample(rng, dims.shape), rng.standard_normal(dims.shape)))
    gamma, beta = (a.astype(np.float32) for a in parameters(rng, dims.channels))
    state = module.init(dims.channels, config, dtype=np.float32)
    arrays = [x, dz, gamma, beta, *(a for a in state if isinstance(a, np.ndarray))]
    copies = [a.copy() for a in arrays]
    outputs = []
    for _ in range(2):
        z, cache, new = module.forward(x, gamma, beta, state, config)
        kept = [np.copy(a) for a in cache if isinstance(a, np.ndarray)]
        *grads, last = module.backward(dz, cache, new)
        for a, b in zip([a for a in cache if isinstance(a, np.ndarray)], kept, strict=True):
            np.testing.assert_array_equal(a, b)
        outputs.append([z, *grads, *(a for a in (*new, *last) if isinstance(a, np.ndarray))])
    for a, b in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(*outputs, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", NORMS)
def test_nan_is_propagated_forward_in_time_alone(name: str) -> None:
    """It reaches its own normalisation batch and the state, with it what comes later, never what came before."""
    module, rng = NORMS[name], np.random.default_rng(5)
    x, dz, (gamma, beta) = sample(rng, (4, 3, 2)), rng.standard_normal((4, 3, 2)), parameters(rng, 2)
    x[2, 1, 0] = np.nan
    z, dx, dgamma, _, _, state = run(module, x, dz, gamma, beta, module.Config(norm_batch=2))
    for a in (z, dx):
        assert np.isnan(a[2:, :, 0]).all()
        assert np.isfinite(a[:2, :, 0]).all()
        assert np.isfinite(a[..., 1]).all()
    assert np.isnan(dgamma).tolist() == [True, False]
    assert np.isnan(state[0]).tolist() == [True, False]


@pytest.mark.parametrize("name", ["modified_batch_norm", "mabn"])
def test_one_value_a_channel_without_centring(name: str) -> None:
    """One value: y is x / sqrt(x^2 + eps), the sign of x but for eps.

    eq: modified-normalise
    """
    module = NORMS[name]
    x = np.array([[3.0, -2.0]])
    z, *_ = run(module, x, x, np.ones(2), np.zeros(2), module.Config(eps=1.0, norm_batch=1))
    chi = np.sqrt(x**2 + 1)
    r = np.clip(chi / np.sqrt(2.0), 0.2, 5) if name == "mabn" else 1.0
    np.testing.assert_allclose(z, r * x / chi, rtol=1e-14)


def test_two_values_a_channel() -> None:
    """Two values: y is the sign of the difference times sqrt(var / (var + eps)), and dx vanishes with eps.

    eq: bn-normalise, bn-backward
    """
    x, dz = np.array([[1.0], [4.0]]), np.array([[0.3], [-0.9]])
    for e in (1e-5, 0.1, 1.0):
        z, dx, *_ = run(batch_norm, x, dz, np.ones(1), np.zeros(1), batch_norm.Config(eps=e))
        np.testing.assert_allclose(z.ravel(), np.array([-1.0, 1.0]) * np.sqrt(2.25 / (2.25 + e)), rtol=1e-14)
        np.testing.assert_allclose(dx.ravel(), np.array([0.6, -0.6]) * e / (2.25 + e) ** 1.5, rtol=1e-9)

"""Frozen batch norm with statistics that are not those of `init`."""

from __future__ import annotations

import numpy as np
import pytest

from mabn_ref.gradcheck import check
from mabn_ref.norms import batch_norm, batch_renorm, frozen_batch_norm
from tests.strategies import parameters, sample


@pytest.fixture
def drawn():
    rng = np.random.default_rng(0)
    x = sample(rng, (6, 3, 4), low=-1, high=1)
    state = frozen_batch_norm.State(mean=rng.standard_normal(4) * 5, var=rng.uniform(0.1, 9, 4))
    return x, *parameters(rng, 4), state


def test_training_is_inference_and_batch_norms_inference(drawn):
    """eq: bn-infer"""
    x, gamma, beta, state = drawn
    config = frozen_batch_norm.Config(eps=0.1)
    z, _, after = frozen_batch_norm.forward(x, gamma, beta, state, config)
    np.testing.assert_array_equal(z, frozen_batch_norm.infer(x, gamma, beta, state, config))
    theirs = batch_norm.infer(x, gamma, beta, batch_norm.State(*state, 0), batch_norm.Config(eps=0.1))
    np.testing.assert_array_equal(z, theirs)
    scale, shift = frozen_batch_norm.affine(gamma, beta, state, config)
    np.testing.assert_allclose(scale * x + shift, z, rtol=1e-12, atol=1e-12)
    assert all(map(np.array_equal, after, state))
    after.mean[:] = 0
    assert np.all(state.mean != 0)


def test_gradients(drawn):
    """eq: frozen-backward, affine-backward"""
    *inputs, state = drawn
    config = frozen_batch_norm.Config(eps=0.1)
    result = check(
        lambda *arrays: frozen_batch_norm.forward(*arrays, state, config)[:2],
        lambda dz, cache: frozen_batch_norm.backward(dz, cache, state)[:3],
        tuple(inputs),
    )
    result.raise_for_error()
    assert result.worst.error < 1e-9


def test_it_is_batch_renormalization_without_g_and_psi(drawn):
    """With r and d unbounded BRN's forward is this one; its backward has two terms more.

    eq: bn-gradient-statistics (5)
    """
    x, gamma, beta, state = drawn
    unbounded = batch_renorm.Config(r_max=1e9, d_max=1e9, decay=0.0, eps=0.1)
    theirs, brn, after = batch_renorm.forward(x, gamma, beta, batch_renorm.State(*state, 0), unbounded)
    z, cache, _ = frozen_batch_norm.forward(x, gamma, beta, state, frozen_batch_norm.Config(eps=0.1))
    np.testing.assert_allclose(z, theirs, rtol=1e-11, atol=1e-11)
    dz = np.random.default_rng(1).standard_normal(x.shape)
    dx, dgamma, dbeta, _ = frozen_batch_norm.backward(dz, cache, state)
    theirs = batch_renorm.backward(dz, brn, after)
    np.testing.assert_allclose(dgamma, theirs[1], rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(dbeta, theirs[2], rtol=1e-12)
    g, psi = frozen_batch_norm.gradient_statistics(dz, cache)
    dy = dz * gamma
    np.testing.assert_allclose(g[0], dy.mean(axis=(0, 1)), rtol=1e-12)
    np.testing.assert_allclose(psi[0], (dy * cache.y.reshape(x.shape)).mean(axis=(0, 1)), rtol=1e-12)
    assert np.max(np.abs(dx - theirs[0])) > 0.1


def test_statistics_are_those_of_the_call(drawn):
    mu, var = frozen_batch_norm.statistics(drawn[0], frozen_batch_norm.Config())
    np.testing.assert_allclose(mu[0], drawn[0].mean(axis=(0, 1)))
    np.testing.assert_allclose(var[0], drawn[0].var(axis=(0, 1)))
    with pytest.raises(TypeError, match=r"^config is a batch_norm\.Config"):
        frozen_batch_norm.statistics(drawn[0], batch_norm.Config())
    large = np.array([[1e30], [-1e30]], dtype=np.float32)
    with np.errstate(over="ignore"), pytest.raises(OverflowError, match=r"^x reaches 1e\+30 in channel 0"):
        frozen_batch_norm.statistics(large, frozen_batch_norm.Config())

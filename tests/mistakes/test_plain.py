"""The definitions are judged too: by the authors' code as it was recorded, and by numbers worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mabn_ref import nn, norms
from mabn_ref.mistakes import plain
from mabn_ref.mistakes.plain import layers
from mabn_ref.mistakes.random_inputs import RIGHT_DRAWS
from mabn_ref.norms import batch_norm, batch_renorm, mabn_variants, modified_batch_norm

TRACE = Path(__file__).parent.parent / "traces" / "mabn_formal.npz"


def test_plain_mabn_follows_the_authors_code() -> None:
    """eq: mabn-forward, mabn-renormalise, mabn-backward, sma-backward, ema-forward"""
    with np.load(TRACE, allow_pickle=False) as file:
        trace = dict(file)
    theirs = json.loads(str(trace["config"]))
    keywords = {name: theirs[name] for name in ("norm_batch", "window", "decay", "eps", "clip", "renorm_from")}
    config = mabn_variants.Config.megvii(**keywords, warmup=theirs["warmup_iters"])
    ours = plain.MABN(len(trace["gamma"]), config)
    for step in range(len(trace["x"])):
        x, dz, z, dx = (np.ascontiguousarray(np.moveaxis(trace[k][step], 1, -1)) for k in ("x", "dy", "y", "dx"))
        np.testing.assert_allclose(ours.forward(x, trace["gamma"], trace["beta"]), z, rtol=1e-9, atol=1e-11)
        for got, expected in zip(ours.backward(dz), (dx, trace["dgamma"][step], trace["dbeta"][step]), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(ours.state()["chi2"], trace["state_running_var"][step], rtol=1e-12)
    x = np.moveaxis(trace["x_eval"], 1, -1)
    z = ours.infer(x, trace["gamma"], trace["beta"])
    np.testing.assert_allclose(np.moveaxis(z, -1, 1), trace["y_eval"], rtol=1e-9, atol=1e-11)


def test_plain_batch_norm_by_hand() -> None:
    """x = 1, 3 has mean 2 and variance 1; x = 0, 8 mean 4 and variance 16. eq: bn-normalise, ema-forward, bn-infer"""
    ours = plain.BatchNorm(1, batch_norm.Config(eps=0.0, norm_batch=2, decay=0.5))
    z = ours.forward(np.array([[1.0], [3.0], [0.0], [8.0]]), np.array([10.0]), np.array([1.0]))
    assert z.ravel().tolist() == [-9.0, 11.0, -9.0, 11.0]
    assert ours.state() == {"mean": [2.5], "var": [8.5], "iteration": 2}
    assert ours.infer(np.array([[2.5]]), np.array([10.0]), np.array([1.0])).item() == 1.0


def test_plain_batch_norm_backward_by_differences() -> None:
    """eq: bn-backward"""
    x, dz = np.random.default_rng(0).standard_normal((2, 6, 3))
    ours = plain.BatchNorm(3, batch_norm.Config(eps=0.1))
    gamma = np.array([2.0, -0.5, 1.5])
    ours.forward(x, gamma, np.zeros(3))
    dx, dgamma, dbeta = ours.backward(dz)
    step = 1e-6
    for n, c in np.ndindex(x.shape):
        moved = [np.where((np.arange(18) == 3 * n + c).reshape(6, 3), x + h, x) for h in (step, -step)]
        up, down = (plain.BatchNorm(3, ours.config).forward(m, gamma, np.zeros(3)) for m in moved)
        assert np.sum(dz * (up - down)) / (2 * step) == pytest.approx(dx[n, c], rel=1e-6, abs=1e-8)
    y = (x - x.mean(0)) / np.sqrt(x.var(0) + 0.1)
    np.testing.assert_allclose(dgamma, np.sum(dz * y, axis=0))
    np.testing.assert_allclose(dbeta, np.sum(dz, axis=0))


def test_plain_batch_renorm_by_hand() -> None:
    """sigma_B = 1, sigma_hat = 2, mu_B - mu_hat = 1: r = d = 0.5, unless clipped. eq: brn-corrections, brn-forward"""
    x, one, zero = np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1)
    for r_max, d_max, expected in ((3.0, 5.0, [0.0, 1.0]), (1.25, 0.25, [-0.55, 1.05]), (1.0, 0.0, [-1.0, 1.0])):
        ours = plain.BatchRenorm(1, batch_renorm.Config(eps=0.0, r_max=r_max, d_max=d_max, decay=0.75))
        ours.load(batch_renorm.State(np.array([1.0]), np.array([4.0]), 7), 1)
        np.testing.assert_allclose(ours.forward(x, one, zero).ravel(), expected)
        assert ours.state() == {"mean": [1.25], "var": [1.75**2], "iteration": 8}


def test_plain_modified_batch_norm_by_hand() -> None:
    """x = 1, 7 has mean square 25. eq: modified-normalise, modified-backward"""
    ours = plain.ModifiedBatchNorm(1, modified_batch_norm.Config(eps=0.0, decay=0.5))
    np.testing.assert_allclose(ours.forward(np.array([[1.0], [7.0]]), np.ones(1), np.zeros(1)).ravel(), [0.2, 1.4])
    dx, dgamma, dbeta = ours.backward(np.array([[5.0], [15.0]]))
    # Psi = (0.2 * 5 + 1.4 * 15) / 2 = 11, dx = (dz - y * 11) / 5
    np.testing.assert_allclose(dx.ravel(), [0.56, -0.08], atol=1e-15)
    np.testing.assert_allclose([dgamma.item(), dbeta.item(), ours.state()["chi2"].item()], [22.0, 20.0, 13.0])


def test_plain_layers_by_hand() -> None:
    """eq: conv2d-forward, centralize-forward, standardize-forward, softmax-cross-entropy-forward"""
    x = np.arange(16.0).reshape(1, 4, 4, 1)
    out = layers.conv2d(x, np.array([[1.0, 0.0], [0.0, 10.0]])[:, :, None, None], stride=2, padding=0)
    assert out[0, :, :, 0].tolist() == [[50.0, 72.0], [138.0, 160.0]]
    assert layers.conv2d(x, np.ones((2, 2, 1, 1)), stride=3, padding=1)[0, :, :, 0].tolist() == [
        [0.0, 5.0],
        [20.0, 50.0],
    ]
    assert layers.standardize(np.array([1.0, 5.0]).reshape(1, 1, 2, 1), eps=5.0).ravel().tolist() == [-2 / 3, 2 / 3]
    assert layers.centralize(np.array([1.0, 2.0, 6.0]).reshape(1, 1, 3, 1)).ravel().tolist() == [-2.0, -1.0, 3.0]
    loss = layers.softmax_cross_entropy(np.array([[0.0, 0.0], [np.log(3), 0.0]]), labels=np.array([1, 0]))
    assert loss == pytest.approx((np.log(2) + np.log(4 / 3)) / 2)
    assert layers.relu(np.array([-1.0, 0.0, 2.0])).tolist() == [0.0, 0.0, 2.0]
    assert layers.global_average_pool(np.arange(8.0).reshape(1, 2, 2, 2)).tolist() == [[3.0, 4.0]]
    assert layers.linear(np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]]), np.array([0.5])).tolist() == [[11.5]]


STEP = 1e-30j


@pytest.mark.parametrize("name", sorted({*plain.LAYERS} - {"dynamic_erf", "residual"}))
def test_plain_layers_have_the_derivatives_of_the_real_ones_by_the_complex_step(name: str) -> None:
    """But erf of the standard library, which refuses complex numbers, and blocks, which are three layers of ours."""
    rng = np.random.default_rng(0)
    module = getattr(nn, name)
    inputs, options = RIGHT_DRAWS[module](rng)
    for k, given in enumerate(inputs):
        moved = [*inputs[:k], given + STEP * rng.standard_normal(given.shape), *inputs[k + 1 :]]
        slopes = [np.imag(forward(*moved, **options)) for forward in (plain.LAYERS[name], first(module.forward))]
        assert np.any(slopes[1])
        np.testing.assert_allclose(slopes[0], slopes[1], rtol=1e-9, atol=1e-40)


@pytest.mark.parametrize("name", plain.NORMALISERS)
def test_plain_normalisers_have_the_derivatives_of_the_real_ones_by_the_complex_step(name: str) -> None:
    rng = np.random.default_rng(0)
    module = getattr(norms, name)
    config, gamma, beta, xs, _ = RIGHT_DRAWS[module](rng)
    inputs = xs[0], gamma, beta
    for k, given in enumerate(inputs):
        moved = [*inputs[:k], given + STEP * rng.standard_normal(given.shape), *inputs[k + 1 :]]
        state = module.init(len(gamma), config, dtype=np.float64)
        slopes = [
            np.imag(plain.NORMALISERS[name](len(gamma), config).forward(*moved)),
            np.imag(module.forward(*moved, state, config)[0]),
        ]
        assert np.any(slopes[1])
        np.testing.assert_allclose(slopes[0], slopes[1], rtol=1e-9, atol=1e-40)


def first(function: Callable[..., Any]) -> Callable[..., Any]:
    """What it returns before its cache."""
    return lambda *given, **options: function(*given, **options)[0]

"""The simulations of Theorems 1 and 2 against formulas worked out apart from them; every interval here can miss."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mabn_ref.norms import batch_norm, modified_batch_norm
from mabn_ref.paper.theorems import (
    Estimate,
    average_moments,
    dependent_pairs,
    exact_gaps,
    exact_moments,
    expectations,
    gradient_gaps,
)

WINDOW, STEPS = 16, 300
BATCHES = [2, 4, 8, 16, 32]


def _inside(estimate: Estimate, value: object, widths: float = 1.0) -> np.ndarray:
    """Where `value` lies within `widths` half intervals."""
    half = (estimate.high - estimate.low) / 2
    return np.abs(estimate.mean - np.asarray(value)) <= widths * half


def _holds(estimate: Estimate, value: object) -> bool:
    """Every value within two half intervals (about four deviations), which are narrow beside it."""
    return bool(np.all(_inside(estimate, value, widths=2)))


@pytest.mark.parametrize("decay", [0.5, 0.98])
def test_variance_of_a_stationary_sequence(decay: float) -> None:
    """eq: ema-moments, sma-moments"""
    simple, exponential = average_moments(np.ones(STEPS), window=WINDOW, decay=decay, rng=np.random.default_rng(0))
    t = np.arange(1, STEPS + 1)
    claimed = (1 - decay ** (2 * t)) * (1 - decay) / (1 + decay)
    full = t >= WINDOW
    assert _holds(exponential.variance, claimed)
    assert np.all(_inside(simple.variance, 1 / WINDOW, widths=2)[full])
    # Narrow enough to tell the formulas from their like.
    for wrong in (claimed * 1.3, (1 - decay) / (1 + decay) * (1 - decay**t), 1.25 * claimed):
        assert not _holds(exponential.variance, wrong)
    assert not np.any(_inside(simple.variance, 1 / (WINDOW - 4))[full])


def test_a_decay_that_is_off_is_seen() -> None:
    _, exponential = average_moments(np.ones(STEPS), window=WINDOW, decay=0.97, rng=np.random.default_rng(0))
    assert not np.any(_inside(exponential.variance, 0.02 / 1.98, widths=2)[100:])


@pytest.mark.parametrize("kind", ["constant", "settling", "slow", "drift", "jump"])
def test_bias_and_variance_are_the_exact_ones(kind: str) -> None:
    """eq: averages, ema-moments, sma-moments"""
    sequence = expectations(kind, STEPS)
    settings = {"window": WINDOW, "decay": 0.98}
    simulated = average_moments(sequence, **settings, rng=np.random.default_rng(1))
    for moments, (bias, variance) in zip(simulated, exact_moments(sequence, **settings), strict=True):
        assert _holds(moments.bias, bias)
        assert _holds(moments.variance, variance)


def test_both_averages_lag_behind_a_drift_and_by_their_own_lags() -> None:
    """eq: ema-moments, sma-moments"""
    h, m, alpha = 0.01, WINDOW, 0.98
    simple, exponential = average_moments(
        expectations("drift", 600), window=m, decay=alpha, rng=np.random.default_rng(2)
    )
    lags = ((simple, (m - 1) / 2), (exponential, alpha / (1 - alpha)))
    for moments, lag in lags:
        assert _inside(moments.bias, -h * lag, widths=2)[-1]
        assert moments.bias.high[-1] < 0
    equal = (m - 1) / (m + 1)
    (simple_bias, simple_variance), (bias, variance) = exact_moments(
        expectations("drift", 600), window=m, decay=equal
    )
    assert bias[-1] == pytest.approx(simple_bias[-1])
    assert variance[-1] == pytest.approx(simple_variance[-1])


def test_slow_change_leaves_neither_biased() -> None:
    """eq: slow-change, ema-moments, sma-moments"""
    for bias, _ in exact_moments(expectations("slow", 2000), window=WINDOW, decay=0.98):
        early, late = np.max(np.abs(bias[100:400])), np.max(np.abs(bias[1500:]))
        assert late < early / 5


def test_only_the_window_forgets_a_jump() -> None:
    simple, exponential = average_moments(
        expectations("jump", 300), window=WINDOW, decay=0.98, rng=np.random.default_rng(3)
    )
    assert _inside(simple.bias, 0, widths=2)[150 + WINDOW - 1]
    assert not _inside(simple.bias, 0, widths=2)[150 + WINDOW // 2]
    assert exponential.bias.high[-1] < 0


@pytest.fixture(scope="module")
def population() -> tuple[np.ndarray, np.ndarray]:
    return dependent_pairs(20_000, 4, np.random.default_rng(0))


def test_theorem_2_with_centred_values(population: tuple[np.ndarray, np.ndarray]) -> None:
    """eq: theorem-2, theorem-2-repaired, exchangeable"""
    gaps = gradient_gaps(*population, BATCHES, statistics="centred", rng=np.random.default_rng(1))
    var_g, total, noise = exact_gaps(*population, BATCHES, statistics="centred")
    assert _holds(gaps.var_g, var_g)
    assert _holds(gaps.covariance, var_g)
    assert _holds(gaps.total, total)
    assert _holds(gaps.noise, noise)
    # As printed, the total variance falls by at least Var[g]: it rises.
    assert np.all(gaps.total.high < 0)
    # The identity of the noise holds in each batch, to rounding.
    np.testing.assert_allclose(gaps.noise.mean, gaps.var_g.mean, rtol=1e-10)


def test_theorem_2_with_the_populations_mean(population: tuple[np.ndarray, np.ndarray]) -> None:
    """eq: theorem-2, theorem-2-repaired"""
    gaps = gradient_gaps(*population, BATCHES, statistics="frozen", rng=np.random.default_rng(2))
    var_g, total, noise = exact_gaps(*population, BATCHES, statistics="frozen")
    assert _holds(gaps.total, total)
    assert _holds(gaps.noise, noise)
    assert np.all(gaps.noise.low > 0)
    assert np.all(gaps.total.high < var_g)  # (17) asks for at least var_g
    assert not _inside(gaps.noise, var_g, widths=2)[0]  # the term in kappa is seen at |B| = 2
    assert np.all(gaps.total.high[1:] < 0)
    assert gaps.total.low[0] > 0


def test_kappa_is_the_third_moment_of_the_page() -> None:
    """eq: theorem-2-repaired; one position a sample, where the means over positions are the values themselves"""
    x, u = dependent_pairs(5000, 1, np.random.default_rng(4))
    y, size = (x - np.mean(x)) / np.std(x), 8
    kappa = np.mean(y * (u - np.mean(u)) * (y * u - np.mean(y * u)))
    rho = np.corrcoef(x.ravel(), u.ravel())[0, 1]
    var_g, total, noise = exact_gaps(x, u, [size], statistics="frozen")
    s2 = np.var(x)
    assert var_g[0] == pytest.approx(np.var(u) / size / s2)
    assert noise[0] == pytest.approx(var_g[0] + 2 * kappa / size**2 / s2)
    assert total[0] == pytest.approx(-var_g[0] * (1 - 2 * rho**2) + 2 * kappa / size**2 / s2)


def test_with_statistics_of_its_own_the_batch_decides(population: tuple[np.ndarray, np.ndarray]) -> None:
    """What docs/derivations/theorem2.rst says of its figure."""
    var_g = exact_gaps(*population, BATCHES, statistics="centred")[0]
    gaps = gradient_gaps(*population, BATCHES, statistics="batch", rng=np.random.default_rng(3), runs=10_000)
    assert np.all(gaps.total.mean > var_g)
    assert np.all(gaps.noise.low > 0)
    assert np.all(gaps.noise.high[1:] < var_g[1:])
    single = dependent_pairs(20_000, 1, np.random.default_rng(5))
    sizes = [4 * size for size in BATCHES]
    unit = exact_gaps(*single, sizes, statistics="centred")[0]
    gaps = gradient_gaps(*single, sizes, statistics="batch", rng=np.random.default_rng(6), runs=10_000)
    assert np.all(np.abs(gaps.total.mean) < 0.3 * unit)
    assert np.all(gaps.noise.low > 0)


def test_batch_statistics_are_those_of_the_layers() -> None:
    """In batches of 40,000 from two samples every statistic is nearly the population's, and so are the gradients."""
    rng = np.random.default_rng(7)
    x, u = rng.standard_normal((2, 2, 3))
    gaps = gradient_gaps(x, u, [40_000], statistics="batch", rng=rng, runs=40)
    s, chi = np.std(x), math.sqrt(np.mean(x**2))
    y, y_modified = (x - np.mean(x)) / s, x / chi
    vanilla = (u - np.mean(u) - y * np.mean(y * u)) / s
    modified = (u - y_modified * np.mean(y_modified * u)) / chi
    assert gaps.total.mean[0] == pytest.approx(np.var(vanilla) - np.var(modified), abs=0.02)
    assert abs(gaps.noise.mean[0]) < 1e-3


def test_the_same_seed_gives_the_same_numbers(population: tuple[np.ndarray, np.ndarray]) -> None:
    once, again = (
        gradient_gaps(*population, [2, 4], statistics="frozen", rng=np.random.default_rng(8), runs=200)
        for _ in range(2)
    )
    np.testing.assert_array_equal(np.array(once), np.array(again))


def test_arguments_that_do_not_fit_are_refused() -> None:
    rng = np.random.default_rng(0)
    x = np.ones((4, 2))
    with pytest.raises(ValueError, match=r"x has shape \(4, 2\) and u \(4,\), expected one shape \(N, P\)"):
        gradient_gaps(x, np.ones(4), [2], statistics="frozen", rng=rng)
    with pytest.raises(ValueError, match="statistics is 'moving'"):
        gradient_gaps(x, x, [2], statistics="moving", rng=rng)
    with pytest.raises(ValueError, match="runs is 50, expected a multiple of groups=20"):
        average_moments(np.ones(3), window=2, decay=0.5, rng=rng, runs=50)
    with pytest.raises(ValueError, match="kind is 'sine'"):
        expectations("sine", 3)


def test_the_repaired_theorem_holds_in_every_batch_of_any_distribution() -> None:
    """Values that depend on each other and are not alike, a scale of each batch's own, any constants.

    eq: theorem-2-repaired
    """
    rng = np.random.default_rng(9)
    y = np.cumsum(rng.standard_normal((500, 7)), axis=1) * np.arange(1, 8) ** 2
    y -= np.mean(y, axis=1, keepdims=True)
    u = np.sin(y) + rng.exponential(size=(500, 1)) * rng.standard_normal((500, 7))
    s = np.std(y, axis=1, keepdims=True)
    g, psi = (np.mean(part, axis=1, keepdims=True) for part in (u, y * u))
    g_bar, psi_bar = 0.7, -1.3
    vanilla, modified = (u - g - y * psi) / s, (u - y * psi) / s
    error = np.mean((vanilla - (u - g_bar - y * psi_bar) / s) ** 2, axis=1)
    error_modified = np.mean((modified - (u - y * psi_bar) / s) ** 2, axis=1)
    np.testing.assert_allclose(error, error_modified + ((g - g_bar) ** 2 / s**2)[:, 0], rtol=1e-12)


def test_at_one_scale_the_vanilla_gradient_is_the_shorter_one_in_every_batch() -> None:
    """By the layers as they are, and in the simulation by as much as the formula.

    eq: one-scale
    """
    rng = np.random.default_rng(10)
    size, one, zero = 6, np.ones(1), np.zeros(1)
    x, u = rng.standard_normal((2, 50 * size, 1))
    x = x + rng.choice([-2.0, 0.0, 0.3], (50, 1)).repeat(size, axis=0)
    scaled = {}
    for norm, divisor in ((batch_norm, "sigma"), (modified_batch_norm, "chi")):
        config = norm.Config(norm_batch=size, eps=0.0)
        _, cache, state = norm.forward(x, one, zero, norm.init(1, config, dtype=x.dtype), config)
        dx = norm.backward(u, cache, state)[0].reshape(50, size)
        divided_by = getattr(cache, divisor).reshape(50, 1)
        scaled[divisor] = divided_by * dx, divided_by, norm.gradient_statistics(u, cache)
    mu = np.mean(x.reshape(50, size), axis=1, keepdims=True)
    (vanilla, sigma, (g, psi)), (modified, chi, _) = scaled["sigma"], scaled["chi"]
    h = (sigma * g - mu * psi) / chi
    shorter = np.mean(vanilla**2, axis=1)
    np.testing.assert_allclose(np.mean(modified**2, axis=1), shorter + (h**2)[:, 0], rtol=1e-12)
    mean = np.mean(h * sigma / chi)
    total = np.var(vanilla) - np.var(modified)
    assert total == pytest.approx(mean**2 - np.mean(h**2), rel=1e-12)
    assert total < 0


@pytest.mark.parametrize("offset", [0.0, 0.5, 1.0])
def test_brought_to_one_scale_the_total_variance_has_the_sign_of_the_frozen_case(offset: float) -> None:
    """What docs/derivations/theorem2.rst says of its second table.

    eq: theorem-2, one-scale
    """
    x, u = dependent_pairs(20_000, 1, np.random.default_rng(11))
    gaps = {
        kind: gradient_gaps(x + offset, u, [32], statistics=kind, rng=np.random.default_rng(12), runs=4000)
        for kind in ("batch", "scaled")
    }
    var_g = np.var(u) / 32
    assert -1.4 * var_g < gaps["scaled"].total.low[0] < gaps["scaled"].total.high[0] < -0.8 * var_g
    assert gaps["scaled"].noise.low[0] > 0
    assert (gaps["batch"].total.low[0] > 5 * var_g) == (offset > 0)


@pytest.mark.parametrize("size", [2, 8, 32])
@pytest.mark.parametrize("mean", [0.0, 0.5])
def test_the_batch_g_takes_noise_out_of_a_weights_gradient(size: int, mean: float) -> None:
    """eq: weight-gradient-noise"""
    rng = np.random.default_rng(13)
    a, u = mean + rng.uniform(-1, 1, (200_000, size)), 0.4 + rng.standard_normal((200_000, size))
    g = np.mean(u, axis=1, keepdims=True)
    found = np.var(np.sum(a * (u - 0.4), axis=1)) / np.var(np.sum(a * (u - g), axis=1))
    assert found == pytest.approx((1 + 3 * mean**2) * size / (size - 1), rel=0.02)  # Var[a] = 1/3

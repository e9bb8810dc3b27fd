"""Theorems 1 and 2 of the paper by simulation, with confidence bands, beside what the proofs say exactly.

Theorem 1 is about moving averages of a sequence of batch statistics: :doc:`/derivations/moving_averages`. Theorem 2
is about the gradient with and without the batch statistic g: :doc:`/derivations/theorem2`. Everything is drawn from
a generator that the caller seeds, and comes back as plain arrays. NumPy alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from mabn_ref.arrays import check_at_least
from mabn_ref.norms import batch_norm, modified_batch_norm
from mabn_ref.norms.checks import check_choice
from mabn_ref.norms.common import ema, sma
from mabn_ref.train.table_layout import t_quantile

Floats: TypeAlias = npt.NDArray[np.float64]

STATISTICS = ("centred", "frozen", "batch", "scaled")


class Estimate(NamedTuple):
    """Simulated values with their 95 % t intervals over independent groups of runs; three arrays of one shape."""

    mean: Floats
    low: Floats
    high: Floats


class Moments(NamedTuple):
    """Bias (expectation minus E[xi_t]) and variance of a moving average at each iteration, each of shape (T,)."""

    bias: Estimate
    variance: Estimate


class Gaps(NamedTuple):
    """What g does to the gradient of one channel: a value for each |B|, in units of u^2 / x^2."""

    #: Var[g] / s^2, by which the variance falls according to Theorem 2; s is the population's deviation
    var_g: Estimate
    covariance: Estimate  #: Cov(u_1, g) / s^2, u_1 of the first sample alone: o(1) by the second assumption
    total: Estimate  #: Var[dx] of the vanilla form minus that of the modified form
    #: the same of E|dx - dx_population|^2, the squared distance to the gradient with population statistics
    noise: Estimate


def expectations(kind: str, steps: int) -> Floats:
    """Return E[xi_t] for t = 1 ... steps, in units of the deviation of xi_t.

    "constant" is 1. "settling" is 1 + 3 / sqrt(t), which converges (8). "slow" is sin(4 log t), which does not
    converge, but its steps vanish (10). "drift" rises by 0.01 per iteration and does neither. "jump" goes from 0 to 1
    in the middle.
    """
    check_at_least("steps", steps, 1, whole=True)
    t: Floats = np.arange(1.0, steps + 1)
    by_kind: dict[str, Floats] = {
        "constant": np.ones(steps),
        "settling": 1 + 3 / np.sqrt(t),
        "slow": np.sin(4 * np.log(t)),
        "drift": 0.01 * t,
        "jump": (t > steps // 2).astype(np.float64),
    }
    check_choice("kind", kind, tuple(by_kind))
    return by_kind[kind]


def average_moments(
    expectation: Floats, *, window: int, decay: float, rng: np.random.Generator, runs: int = 4000, groups: int = 20
) -> tuple[Moments, Moments]:
    """Simulate bias and variance of both moving averages: :eq:`averages` (7).

    The xi_t are independent and uniform on an interval of variance 1: bounded, with a bounded density, as Theorem 1
    asks. Both averages see the same draws. While there are fewer than m values, the simple one averages those; the
    exponential one starts at 0.

    `expectation` is E[xi_t] of shape (T,), `window` is m and `decay` is alpha. `runs` sequences are drawn, divided
    into `groups` for the intervals.

    Examples
    --------
    >>> simple, _ = average_moments(np.ones(50), window=16, decay=0.98, rng=np.random.default_rng(0))
    >>> bool(simple.variance.low[-1] < 1 / 16 < simple.variance.high[-1])
    True
    """
    each = _runs_a_group(runs, groups)
    steps, half = len(expectation), math.sqrt(3)

    def draw() -> Floats:
        xi = expectation[:, None] + rng.uniform(-half, half, (steps, each))
        simple, _ = sma(np.zeros((window, each)), xi, seen=0)
        _, exponential = ema(np.zeros(each), xi, decay)
        both = np.stack([simple, exponential])
        return np.stack([np.mean(both, axis=2) - expectation, np.var(both, axis=2, ddof=1)], axis=1)

    found = _estimate(draw, groups)
    simple, exponential = (Moments(_part(found, i, 0), _part(found, i, 1)) for i in range(2))
    return simple, exponential


def exact_moments(
    expectation: Floats, *, window: int, decay: float
) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """Return bias and variance of both moving averages, the o(1) terms included, for xi_t of variance 1.

    Each is a pair of arrays of shape (T,), of the simple average and of the exponential one.

    Examples
    --------
    >>> (_, simple), (_, exponential) = exact_moments(np.ones(3), window=2, decay=0.5)
    >>> simple, exponential
    (array([1. , 0.5, 0.5]), array([0.25    , 0.3125  , 0.328125]))
    """
    steps = len(expectation)
    # Averaging the unit sequences gives the matrix of the weights.
    simple, _ = sma(np.zeros((window, steps)), np.eye(steps), seen=0)
    _, exponential = ema(np.zeros(steps), np.eye(steps), decay)
    both = [(w @ expectation - expectation, np.sum(w**2, axis=1)) for w in (simple, exponential)]
    return both[0], both[1]


def dependent_pairs(samples: int, positions: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Draw a made-up population for `gradient_gaps`: values of one channel, and their gradients.

    x is normal with mean 0 and variance 1, half of which belongs to the sample and half to the position, and u =
    0.2 + 0.3 x + 0.1 x^2 + noise of variance 1. Both are of shape (samples, positions).
    """
    own, shared = rng.standard_normal((samples, positions)), rng.standard_normal((samples, 1))
    x = math.sqrt(0.5) * (own + shared)
    return x, 0.2 + 0.3 * x + 0.1 * x**2 + rng.standard_normal(x.shape)


def gradient_gaps(
    x: Floats,
    u: Floats,
    batches: Sequence[int],
    *,
    statistics: str,
    rng: np.random.Generator,
    runs: int = 20_000,
    groups: int = 20,
) -> Gaps:
    """Simulate both sides of Theorem 2, as printed and repaired, over |B|: :eq:`theorem-2` (17).

    The arrays x and u are the population: N samples of P positions each. A batch is |B| samples drawn with
    replacement, for each |B| in `batches`, so that population statistics are known exactly. If the samples were
    recorded in a network, x are the inputs of a normaliser in one channel and u = dL/dy; u stays the same, whatever
    statistics y is made with. For each |B| there are `runs` batches, divided into `groups` for the intervals.

    `statistics` are those of forward. "centred": both forms divide by the population's deviation s, and y is centred
    in the batch, part (i) of the repaired theorem. "frozen": the population's mean and s, part (iii). "batch": each
    batch has its own, by `batch_norm` and `modified_batch_norm` as they are. "scaled": the same, but each gradient is
    multiplied by the divisor of its batch and divided by s, so that both are at one scale: :eq:`one-scale`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> gaps = gradient_gaps(*dependent_pairs(1000, 4, rng), [2, 8], statistics="centred", rng=rng, runs=2000)
    >>> bool(np.allclose(gaps.total.mean, -gaps.var_g.mean, rtol=0.02))  # (17) has it positive
    True
    >>> bool(np.allclose(gaps.noise.mean, gaps.var_g.mean))
    True
    """
    if x.shape != u.shape or x.ndim != 2:
        raise ValueError(f"x has shape {x.shape} and u {u.shape}, expected one shape (N, P)")
    check_choice("statistics", statistics, STATISTICS)
    each = _runs_a_group(runs, groups)
    mean, s, chi = np.mean(x), np.std(x), np.sqrt(np.mean(x**2))
    g_bar, psi_bar = np.mean(u), np.mean((x - mean) * u) / s

    def draw(size: int) -> Floats:
        index = rng.integers(len(x), size=(each, size))
        xs, us = (part[index].reshape(each, -1) for part in (x, u))
        g = np.mean(us, axis=1, keepdims=True)
        if statistics in ("batch", "scaled"):
            vanilla, sigma_batch = _package(batch_norm, "sigma", xs, us)
            modified, chi_batch = _package(modified_batch_norm, "chi", xs, us)
            y, y_modified, scale = (xs - mean) / s, xs / chi, chi
            if statistics == "scaled":
                vanilla, modified, scale = vanilla * sigma_batch / s, modified * chi_batch / s, s
            psi_bar_modified = np.mean(x * u) / chi
        else:
            y = (xs - (np.mean(xs, axis=1, keepdims=True) if statistics == "centred" else mean)) / s
            psi = np.mean(y * us, axis=1, keepdims=True)
            vanilla, modified = (us - g - y * psi) / s, (us - y * psi) / s
            y_modified, psi_bar_modified, scale = y, psi_bar, s
        noise = vanilla - (us - g_bar - y * psi_bar) / s
        noise_modified = modified - (us - y_modified * psi_bar_modified) / scale
        first = np.mean(us[:, : x.shape[1]], axis=1, keepdims=True)
        gaps = (
            np.mean((g - g_bar) ** 2) / s**2,
            np.mean((first - g_bar) * (g - g_bar)) / s**2,
            np.var(vanilla) - np.var(modified),
            np.mean(noise**2) - np.mean(noise_modified**2),
        )
        return np.array(gaps)

    found = _estimate(lambda: np.stack([draw(size) for size in batches], axis=1), groups)
    return Gaps(*(_part(found, i) for i in range(4)))


def exact_gaps(x: Floats, u: Floats, batches: Sequence[int], *, statistics: str) -> tuple[Floats, Floats, Floats]:
    """Return Var[g] / s^2 and the gaps in total variance and in noise that the repaired Theorem 2 proves.

    The arguments are as for `gradient_gaps`, with "centred" or "frozen" statistics; the results are arrays of shape
    (len(batches),).
    """
    check_choice("statistics", statistics, STATISTICS[:2])
    s, size = np.std(x), np.asarray(batches, np.float64)
    y = (x - np.mean(x)) / s
    psi_bar = np.mean(y * u)
    # A batch's means are means of |B| independent values: each sample's mean over its positions.
    y_i, u_i, yu_i = (np.mean(part, axis=1) for part in (y, u - np.mean(u), y * u - psi_bar))
    var_g = np.mean(u_i**2) / size
    if statistics == "centred":
        return var_g / s**2, -var_g / s**2, var_g / s**2
    third = np.mean(y_i * u_i * yu_i) / size**2
    total = -var_g + 2 * psi_bar * np.mean(y_i * u_i) / size + 2 * third
    return var_g / s**2, total / s**2, (var_g + 2 * third) / s**2


def _package(norm: Any, divisor: str, x: Floats, u: Floats) -> tuple[Floats, Floats]:
    """Return gradients (runs, M) of a package normaliser, each run a normalisation batch, and their divisors."""
    config, one, column = norm.Config(norm_batch=x.shape[1]), np.ones(1), (-1, 1)
    state = norm.init(1, config, dtype=x.dtype)
    _, cache, state = norm.forward(x.reshape(column), one, 0 * one, state, config)
    dx: Floats = norm.backward(u.reshape(column), cache, state)[0].reshape(x.shape)
    divided_by: Floats = getattr(cache, divisor).reshape(-1, 1)
    return dx, divided_by


def _runs_a_group(runs: int, groups: int) -> int:
    check_at_least("groups", groups, 2, whole=True)
    check_at_least("runs", runs, 2 * groups, whole=True)
    if runs % groups:
        raise ValueError(f"runs is {runs}, expected a multiple of groups={groups}")
    return runs // groups


def _estimate(draw: Callable[[], Floats], groups: int) -> Estimate:
    """Return the mean and t interval of what `draw` returns, called once per group."""
    found = np.stack([draw() for _ in range(groups)])
    mean, half = np.mean(found, axis=0), t_quantile(groups - 1) * np.std(found, axis=0, ddof=1) / math.sqrt(groups)
    return Estimate(mean, mean - half, mean + half)


def _part(estimate: Estimate, *index: int) -> Estimate:
    return Estimate(*(values[index] for values in estimate))

r"""Unified Normalization: MABN with a geometric mean, and with r only in backward.

Yang et al., "Unified Normalization for Accelerating and Stabilizing Transformers", 2022. Once the window is full,
forward divides by the root of the geometric mean of the last mean squares, which a single large batch moves less than
MABN's arithmetic mean. Backward multiplies dy by r, which forward leaves out, and subtracts an exponential average of
the window's mean of Psi. **backward is not the derivative of forward.** With `outliers`, a batch far from the others
in the window uses its own statistics in both passes. In the example the second batch is divided by 2, the root of
sqrt(1 * 16).

Examples
--------
>>> x, one, zero = np.array([[1.0], [-1.0], [4.0], [-4.0]]), np.ones(1), np.zeros(1)
>>> config = Config(eps=0.0, norm_batch=2, window=2)
>>> state = init(1, config, dtype=x.dtype)._replace(chi2_window=np.ones((2, 1)), iteration=2)
>>> z, cache, state = forward(x, one, zero, state, config)
>>> z.ravel(), state.chi2_window.ravel()
(array([ 1., -1.,  2., -2.]), array([ 1., 16.]))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array, copied, namespace, total
from mabn_ref.norms import checks
from mabn_ref.norms.checks import Settings, setting
from mabn_ref.norms.common import clip, gradient_means, mean_square, merge, root, split, sums, switched
from mabn_ref.norms.modified_batch_norm import statistics as statistics


@dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """Hyper-parameters. In the first `window` iterations, batch statistics take the place of the window's means."""

    decay: float = setting(0.9, at_least=0, below=1, note="weight of the old value in both exponential averages")
    window: int = setting(4, at_least=1, whole=True, note="m, the number of batches in a mean; 1: batch statistics")
    clip: float = setting(5.0, at_least=1, note="r is clipped to [1 / clip, clip]")
    outliers: bool = setting(
        False, note="whether a batch that is far from the others in the window is left out of it"
    )
    warmup: int = setting(0, at_least=0, whole=True, imitation=True, note="batch statistics while iteration < warmup")
    renorm_from: int = setting(1, at_least=1, whole=True, imitation=True, note="first iteration with r other than 1")

    @classmethod
    def authors(cls) -> Config:
        """Return the defaults of the authors' code."""
        return cls(warmup=4000, renorm_from=4001)


class State(NamedTuple):
    """Moving statistics; `backward` changes only `psi`, `psi_window` and its own count."""

    chi2: Array  #: (C,): the exponential average of what forward divides by, squared; initially 1
    chi2_window: Array  #: (m, C): the last m batch values of chi^2, oldest first, initially 0
    psi: Array  #: (C,): the exponential average of the window's mean of Psi, initially 0
    psi_window: Array  #: (m, C): the last m batch values of Psi, oldest first, initially 0
    iteration: int = 0  #: normalisation batches so far
    backward_iteration: int = 0  #: iteration of the last batch that went through backward


class Cache(NamedTuple):
    """What backward needs, in the canonical form (G, M, C)."""

    y: Array  #: (G, M, C): the normalised values
    chi: Array  #: (G, 1, C): what x was divided by
    r: Array  #: (G, 1, C): the clipped ratio of chi to its exponential average
    alone: tuple[bool, ...]  #: for each of the G batches, whether it uses its own statistics in both passes
    gamma: Array  #: (C,)
    iteration: int  #: iterations before this call
    shape: tuple[int, ...]  #: the shape of x
    config: Config


def init(channels: int, config: Config, *, dtype: Any, xp: Any = np) -> State:
    """The state before the first batch."""
    checks.init(channels, (config, Config), dtype, xp)
    chi2_window, psi_window = (xp.zeros((config.window, channels), dtype=dtype) for _ in range(2))
    return State(xp.ones((channels,), dtype=dtype), chi2_window, xp.zeros((channels,), dtype=dtype), psi_window)


def geometric_mean(window: Array) -> Array:
    """The geometric mean of each column: a product of roots, so that nothing overflows and a zero gives zero."""
    return namespace(window).prod(window ** (1 / window.shape[0]), axis=0)


def forward(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
    """Divide by the root of the window's geometric mean: :eq:`unified-mean`, :eq:`unified-normalise`."""
    checks.forward(x, gamma, beta, (state, State), (config, Config), init)
    xp, shape, x, t = namespace(x), tuple(x.shape), split(x, config.norm_batch), state.iteration
    chi2_batch = mean_square(x)  # eq: modified-statistics (15)
    moving, window, used, before, alone = state.chi2, state.chi2_window, [], [], []
    for g in range(x.shape[0]):
        now, batch = t + 1 + g, chi2_batch[g, 0, :]
        far = config.outliers and config.window > 1 and now >= config.warmup and _outlier(batch, window)
        window = xp.concat([window[1:, :], (moving if far else batch)[None, :]])
        alone.append(config.window == 1 or far)
        own = alone[g] or now <= config.window or now < config.warmup
        used.append(batch if own else geometric_mean(window))  # eq: unified-mean
        before.append(used[g] if alone[g] else moving)  # alone: r is 1
        moving = config.decay * moving + (1 - config.decay) * used[g]  # eq: ema-forward (12)
    chi, chi_before = (root(xp.stack(chi2)[:, None, :] + config.eps) for chi2 in (used, before))
    r = clip(chi / chi_before, 1 / config.clip, config.clip)  # eq: unified-backward
    r = switched(1, r, config.renorm_from, t)
    y = x / chi  # eq: unified-normalise
    z = gamma * y + beta  # eq: affine (3)
    cache = Cache(y, chi, r, tuple(alone), copied(gamma), t, shape, config)
    kept = copied(state.psi), copied(state.psi_window)
    return merge(z, shape), cache, State(moving, window, *kept, t + x.shape[0], state.backward_iteration)


def _outlier(batch: Array, window: Array) -> bool:
    """Whether the two means of the window that includes the batch are in any channel further apart than its spread.

    The spread is the variance, over channels as well, of the roots of the previous window, times the window's length.
    """
    xp, roots = namespace(window), root(window)
    spread = xp.sum((roots - xp.mean(roots)) ** 2) / (window.shape[0] * window.shape[1] - 1)
    window = xp.concat([window[1:, :], batch[None, :]])
    apart = xp.mean(window, axis=0) - geometric_mean(window)
    return bool(xp.any(apart > spread * window.shape[0]))


def gradient_statistics(dz: Array, cache: Cache) -> tuple[Array, Array]:
    """The batch means g and Psi of dy and y * dy: :eq:`bn-gradient-statistics` (5)."""
    checks.gradient_statistics(dz, (cache, Cache))
    return gradient_means(split(dz, cache.config.norm_batch), cache.y, cache.gamma * cache.r)


def backward(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """Gradients with r and the exponential average of the mean of Psi: :eq:`unified-psi`, :eq:`unified-backward`."""
    checks.backward(dz, (cache, Cache), (state, State), init)
    xp, dz, values = namespace(dz), split(dz, cache.config.norm_batch), cache.y.shape[1]
    y, chi, r, alone, gamma, t, shape, config = cache
    dz_sum, dzy_sum = sums(dz), sums(dz * y)
    dbeta = total(dz_sum)  # eq: affine-backward
    dgamma = total(r * dzy_sum)  # eq: mabn-affine-backward
    dy = dz * (gamma * r)  # eq: unified-backward
    psi_batch = gamma * r * dzy_sum / values  # eq: bn-gradient-statistics (5)
    average, window, subtracted = state.psi, state.psi_window, []
    for g in range(y.shape[0]):
        now, batch = t + 1 + g, psi_batch[g, 0, :]
        window = xp.concat([window[1:, :], (average if alone[g] else batch)[None, :]])
        own = alone[g] or now <= config.window or now < config.warmup
        mean = batch if own else xp.mean(window, axis=0)  # eq: unified-psi
        average = config.decay * average + (1 - config.decay) * mean  # eq: unified-psi
        subtracted.append(mean if alone[g] else average)
    dx = (dy - y * xp.stack(subtracted)[:, None, :]) / chi  # eq: unified-backward
    state = state._replace(psi=average, psi_window=window, backward_iteration=t + y.shape[0])
    return merge(dx, shape), dgamma, dbeta, state


def affine(gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Array]:
    """Inference as one map per channel, ``z = scale * x + shift``, which a convolution can absorb: :eq:`fold`."""
    checks.affine(gamma, beta, (state, State), (config, Config), init)
    scale = gamma / root(state.chi2 + config.eps)  # eq: modified-infer
    return scale, beta


def infer(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> Array:
    """Divide by the moving root mean square: :eq:`modified-infer`."""
    checks.infer(x, gamma, beta, (state, State), (config, Config), init)
    y = x / root(state.chi2 + config.eps)  # eq: modified-infer
    return gamma * y + beta  # eq: affine (3)

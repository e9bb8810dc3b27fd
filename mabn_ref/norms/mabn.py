r"""Moving Average Batch Normalization: equations (19) and (20).

Yan et al., "Towards Stabilizing Batch Statistics in Backward Propagation of Batch Normalization", ICLR 2020. Forward
uses a moving average of chi^2, backward one of Psi. So backward is **not the derivative of forward**, unless r is
held and the window is one batch long. See `mabn_ref.norms.mabn_variants` for what the paper leaves open. In the
example the second batch is divided by sqrt((25 + 73) / 2) = 7, the root of the mean of both mean squares.

Examples
--------
>>> x, one, zero = np.array([[1.0], [7.0], [5.0], [11.0]]), np.ones(1), np.zeros(1)
>>> config = Config(eps=0.0, norm_batch=2)
>>> z, cache, state = forward(x, one, zero, init(1, config, dtype=x.dtype), config)
>>> dx, dgamma, dbeta, state = backward(np.ones((4, 1)), cache, state)
>>> cache.y.ravel() * [5, 5, 7, 7], dx.ravel().round(2), state.chi2
(array([ 1.,  7.,  5., 11.]), array([ 0.84, -0.12,  0.22, -0.38]), array([2.9104]))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array, copied, total
from mabn_ref.norms import checks
from mabn_ref.norms.checks import Settings, setting
from mabn_ref.norms.common import clip, ema, gradient_means, mean_square, merge, root, sma, split, sums, switched


@dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """Hyper-parameters."""

    decay: float = setting(0.98, at_least=0, below=1, note="alpha, weight of the old value in the moving chi^2")
    window: int = setting(16, at_least=1, whole=True, note="m, the number of batches in a simple moving average")
    clip: float = setting(5.0, at_least=1, note="lambda: r is clipped to [1 / lambda, lambda]; 1: no renormalisation")
    warmup: int = setting(0, at_least=0, whole=True, imitation=True, note="batch statistics while iteration < warmup")
    renorm_from: int = setting(1, at_least=1, whole=True, imitation=True, note="first iteration with r other than 1")


class State(NamedTuple):
    """Moving statistics."""

    chi2: Array  #: (C,): the exponential moving average of chi^2, for r and for inference; initially 1
    chi2_window: Array  #: (m, C): the last m batch values of chi^2, oldest first, zero where there is none yet
    psi_window: Array  #: (m, C): the same for Psi; `backward` changes only this and its own count
    iteration: int  #: normalisation batches so far
    backward_iteration: int = 0  #: iteration of the last batch that went through backward


class Cache(NamedTuple):
    """What backward needs, in the canonical form (G, M, C)."""

    y: Array  #: (G, M, C): the normalised values
    chi: Array  #: (G, 1, C): sqrt(chi2 + eps), where chi2 is the average or, in warm-up, the batch's own value
    r: Array  #: (G, 1, C): the clipped ratio of chi to its exponential average, by which y is multiplied
    gamma: Array  #: (C,)
    iteration: int  #: iterations before this call
    shape: tuple[int, ...]  #: the shape of x
    config: Config


def init(channels: int, config: Config, *, dtype: Any, xp: Any = np) -> State:
    """The state before the first batch."""
    checks.init(channels, (config, Config), dtype, xp)
    chi2_window, psi_window = (xp.zeros((config.window, channels), dtype=dtype) for _ in range(2))
    return State(xp.ones((channels,), dtype=dtype), chi2_window, psi_window, 0)


def statistics(x: Array, config: Settings) -> Array:
    """Mean square chi^2 of each normalisation batch, (G, C): :eq:`modified-statistics` (15)."""
    checks.statistics(config)
    x = split(x, config.norm_batch)
    return mean_square(x)[:, 0, :]  # eq: modified-statistics (15)


def forward(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
    """Divide by the averaged root mean square, then renormalise: :eq:`mabn-forward`, :eq:`mabn-renormalise` (19)."""
    checks.forward(x, gamma, beta, (state, State), (config, Config), init)
    shape, x, t = tuple(x.shape), split(x, config.norm_batch), state.iteration
    chi2_batch = mean_square(x)  # eq: modified-statistics (15)
    average, chi2_window = sma(state.chi2_window, chi2_batch, seen=t)  # eq: sma-backward (13)
    before, after = ema(state.chi2, chi2_batch, config.decay)  # eq: ema-forward (12)
    chi = root(switched(chi2_batch, average, config.warmup, t) + config.eps)  # eq: mabn-forward (19)
    r = clip(chi / root(before + config.eps), 1 / config.clip, config.clip)  # eq: mabn-renormalise (19)
    r = switched(1, r, config.renorm_from, t)
    y = x / chi  # eq: mabn-forward (19)
    z = gamma * r * y + beta  # eq: mabn-forward (19)
    cache = Cache(y, chi, r, copied(gamma), t, shape, config)
    state = State(after[-1, 0, :], chi2_window, copied(state.psi_window), t + x.shape[0], state.backward_iteration)
    return merge(z, shape), cache, state


def gradient_statistics(dz: Array, cache: Cache) -> tuple[Array, Array]:
    """The batch means g and Psi of dy and y * dy: :eq:`bn-gradient-statistics` (5)."""
    checks.gradient_statistics(dz, (cache, Cache))
    return gradient_means(split(dz, cache.config.norm_batch), cache.y, cache.gamma * cache.r)


def backward(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """Gradients with the averaged Psi: :eq:`mabn-backward` (20), :eq:`mabn-affine-backward`."""
    checks.backward(dz, (cache, Cache), (state, State), init)
    dz, values = split(dz, cache.config.norm_batch), cache.y.shape[1]
    y, chi, r, gamma, t, shape, config = cache  # t is that of forward: both passes are in the same phase
    dz_sum, dzy_sum = sums(dz), sums(dz * y)
    dbeta = total(dz_sum)  # eq: affine-backward
    dgamma = total(r * dzy_sum)  # eq: mabn-affine-backward
    dy = dz * (gamma * r)  # eq: mabn-backward (20)
    psi_batch = gamma * r * dzy_sum / values  # eq: bn-gradient-statistics (5)
    average, psi_window = sma(state.psi_window, psi_batch, seen=t)  # eq: sma-backward (13)
    psi = switched(psi_batch, average, config.warmup, t)
    dx = (dy - y * psi) / chi  # eq: mabn-backward (20)
    state = state._replace(psi_window=psi_window, backward_iteration=t + y.shape[0])
    return merge(dx, shape), dgamma, dbeta, state


def backward_graph(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """The same, step by step back through the graph, with Psi averaged where chi^2 was: :eq:`mabn-graph`."""
    checks.backward(dz, (cache, Cache), (state, State), init)
    dz, values = split(dz, cache.config.norm_batch), cache.y.shape[1]
    y, chi, r, gamma, t, shape, config = cache
    x = y * chi
    # z = gamma * (r * y) + beta
    dbeta = total(dz)  # eq: affine-backward
    dgamma = total(dz * (r * y))  # eq: mabn-affine-backward
    dy = dz * gamma * r  # eq: mabn-graph
    # y = x / chi
    dx = dy / chi  # eq: mabn-graph
    ell = -sums(dy * y) / values  # eq: mabn-graph
    # the batch's own share of the gradient of log chi, -M Psi, is replaced by the average over the window
    ell_average, window = sma(-state.psi_window, ell, seen=t)  # eq: mabn-graph
    dlog_chi = values * switched(ell, ell_average, config.warmup, t)  # eq: mabn-graph
    # chi = sqrt(chi2 + eps)
    dchi2 = dlog_chi / (2 * chi**2)  # eq: mabn-graph
    # chi2 = mean of x^2
    dx = dx + 2 * x * dchi2 / values  # eq: mabn-graph
    state = state._replace(psi_window=-window, backward_iteration=t + y.shape[0])
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

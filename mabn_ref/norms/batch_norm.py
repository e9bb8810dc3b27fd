r"""Batch normalisation: equations (1) to (5).

Ioffe and Szegedy, "Batch Normalization", 2015; equations numbered as in Yan et al., ICLR 2020. PyTorch's momentum is
1 - decay, or None where decay is None. In the example each normalisation batch is centred and divided by its standard
deviation, 3. A gradient that is the same for every sample becomes zero, so a gradient check with ones proves nothing.

Examples
--------
>>> x, one, zero = np.array([[1.0], [7.0], [5.0], [11.0]]), np.ones(1), np.zeros(1)
>>> config = Config(eps=0.0, norm_batch=2)
>>> z, cache, state = forward(x, one, zero, init(1, config, dtype=x.dtype), config)
>>> dx, dgamma, dbeta, state = backward(np.ones((4, 1)), cache, state)
>>> cache.y.ravel(), dx.ravel(), state
(array([-1.,  1., -1.,  1.]), array([0., 0., 0., 0.]), State(mean=array([1.16]), var=array([2.52]), iteration=2))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array, copied, total
from mabn_ref.norms import checks
from mabn_ref.norms.checks import Settings, setting
from mabn_ref.norms.common import centre, ema, gradient_means, mean_square, merge, root, split, sums


@dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """Hyper-parameters."""

    decay: float | None = setting(0.9, at_least=0, below=1, or_none=True, note="old value's weight; None: plain mean")


class State(NamedTuple):
    """Moving statistics."""

    mean: Array  #: (C,), initially 0
    var: Array  #: (C,), biased, initially 1
    iteration: int = 0  #: normalisation batches so far


class Cache(NamedTuple):
    """What backward needs, in the canonical form (G, M, C)."""

    y: Array  #: (G, M, C): the normalised values
    sigma: Array  #: (G, 1, C): sqrt(var + eps)
    gamma: Array  #: (C,)
    iteration: int  #: iterations before this call
    shape: tuple[int, ...]  #: the shape of x
    config: Config


def init(channels: int, config: Config, *, dtype: Any, xp: Any = np) -> State:
    """The state before the first batch."""
    checks.init(channels, (config, Config), dtype, xp)
    return State(mean=xp.zeros((channels,), dtype=dtype), var=xp.ones((channels,), dtype=dtype))


def statistics(x: Array, config: Settings) -> tuple[Array, Array]:
    """Mean and biased variance of each normalisation batch: :eq:`bn-statistics` (2)."""
    checks.statistics(config)
    x = split(x, config.norm_batch)
    mu, centred = centre(x)  # eq: bn-statistics (2)
    var = mean_square(centred, x)  # eq: bn-statistics (2)
    return mu[:, 0, :], var[:, 0, :]


def forward(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
    """Normalise by the batch's own mean and variance: :eq:`bn-normalise` (1), :eq:`affine` (3)."""
    checks.forward(x, gamma, beta, (state, State), (config, Config), init, centred=True)
    shape, x, t = tuple(x.shape), split(x, config.norm_batch), state.iteration
    mu, centred = centre(x)  # eq: bn-statistics (2)
    var = mean_square(centred, x)  # eq: bn-statistics (2), in two passes: E[x^2] - E[x]^2 cancels
    _, moving_mean = ema(state.mean, mu, config.decay, t)  # eq: ema-forward (12)
    _, moving_var = ema(state.var, var, config.decay, t)  # eq: ema-forward (12)
    sigma = root(var + config.eps)  # eq: bn-normalise (1)
    y = centred / sigma  # eq: bn-normalise (1)
    z = gamma * y + beta  # eq: affine (3)
    cache = Cache(y, sigma, copied(gamma), t, shape, config)
    state = State(moving_mean[-1, 0, :], moving_var[-1, 0, :], t + x.shape[0])
    return merge(z, shape), cache, state


def gradient_statistics(dz: Array, cache: Cache) -> tuple[Array, Array]:
    """The batch means g and Psi of dy and y * dy: :eq:`bn-gradient-statistics` (5)."""
    checks.gradient_statistics(dz, (cache, Cache))
    return gradient_means(split(dz, cache.config.norm_batch), cache.y, cache.gamma)


def backward(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """Gradients in closed form: :eq:`bn-backward` (4)."""
    checks.backward(dz, (cache, Cache), (state, State), init)
    dz, values = split(dz, cache.config.norm_batch), cache.y.shape[1]
    y, sigma, gamma, _, shape, _ = cache
    dz_sum, dzy_sum = sums(dz), sums(dz * y)
    dbeta = total(dz_sum)  # eq: affine-backward
    dgamma = total(dzy_sum)  # eq: affine-backward
    dy = dz * gamma
    g = gamma * dz_sum / values  # eq: bn-gradient-statistics (5), gamma being the same for the whole batch
    psi = gamma * dzy_sum / values  # eq: bn-gradient-statistics (5)
    dx = (dy - g - y * psi) / sigma  # eq: bn-backward (4)
    return merge(dx, shape), dgamma, dbeta, state


def backward_graph(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """The same gradients, step by step back through the computation graph: :eq:`bn-graph`."""
    checks.backward(dz, (cache, Cache), (state, State), init)
    dz, values = split(dz, cache.config.norm_batch), cache.y.shape[1]
    y, sigma, gamma, _, shape, _ = cache
    centred = y * sigma
    # z = gamma * y + beta
    dbeta = total(dz)  # eq: affine-backward
    dgamma = total(dz * y)  # eq: affine-backward
    dy = dz * gamma  # eq: bn-graph
    # y = centred / sigma
    dcentred = dy / sigma  # eq: bn-graph
    dsigma = -sums(dy * centred) / sigma**2  # eq: bn-graph
    # sigma = sqrt(var + eps)
    dvar = dsigma / (2 * sigma)  # eq: bn-graph
    # var = mean of centred^2
    dcentred = dcentred + 2 * centred * dvar / values  # eq: bn-graph
    # centred = x - mu, and mu = mean of x
    dmu = -sums(dcentred)  # eq: bn-graph
    dx = dcentred + dmu / values  # eq: bn-graph
    return merge(dx, shape), dgamma, dbeta, state


def affine(gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Array]:
    """Inference as one map per channel, ``z = scale * x + shift``, which a convolution can absorb: :eq:`fold`."""
    checks.affine(gamma, beta, (state, State), (config, Config), init)
    scale = gamma / root(state.var + config.eps)  # eq: bn-infer
    return scale, beta - scale * state.mean  # eq: bn-infer


def infer(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> Array:
    """Normalise by the moving statistics: :eq:`bn-infer`, the stand-in for :eq:`population` (6)."""
    checks.infer(x, gamma, beta, (state, State), (config, Config), init)
    y = (x - state.mean) / root(state.var + config.eps)  # eq: bn-infer
    return gamma * y + beta  # eq: affine (3)

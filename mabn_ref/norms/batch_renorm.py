r"""Batch Renormalization: equation (14) of Yan et al., ICLR 2020.

Ioffe, "Batch Renormalization", 2017. The corrections r and d, unless clipped, make training normalise by the moving
statistics: in the example by mean 0 and sigma 1, then by 0.4 and 1.2. Backward treats r and d as constants, so
**backward is not the derivative of forward** unless they are held fixed.

Examples
--------
>>> x, one, zero = np.array([[1.0], [7.0], [5.0], [11.0]]), np.ones(1), np.zeros(1)
>>> config = Config(eps=0.0, norm_batch=2, decay=0.9, r_max=9.0, d_max=9.0)
>>> z, cache, state = forward(x, one, zero, init(1, config, dtype=x.dtype), config)
>>> dx, dgamma, dbeta, state = backward(np.ones((4, 1)), cache, state)
>>> z.ravel() * [1, 1, 1.2, 1.2] + [0, 0, 0.4, 0.4], dx.ravel(), state.iteration
(array([ 1.,  7.,  5., 11.]), array([0., 0., 0., 0.]), 2)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array, copied, total
from mabn_ref.norms import checks
from mabn_ref.norms.checks import Ramp as Ramp
from mabn_ref.norms.checks import Settings, setting
from mabn_ref.norms.common import centre, clip, ema, gradient_means, in_force, mean_square, merge, root, split, sums

_R_MAX = Ramp(start=5_000, stop=40_000, first=1.0, last=3.0)
_D_MAX = Ramp(start=5_000, stop=25_000, first=0.0, last=5.0)


@dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """Hyper-parameters; the defaults are Ioffe's."""

    decay: float = setting(0.99, at_least=0, below=1, note="weight of the old value in the moving statistics")
    r_max: float | Ramp = setting(_R_MAX, at_least=1, note="r is clipped to [1 / r_max, r_max]")
    d_max: float | Ramp = setting(_D_MAX, at_least=0, note="d is clipped to [-d_max, d_max]")
    ema_of: str = setting("sigma", choices=("sigma", "var"), note="what is averaged: sqrt(var + eps), or var")

    @classmethod
    def crossq(cls, *, warmup: int = 100_000) -> Config:
        """Return the settings of CrossQ and its ports: batch statistics in warm-up, then the full bounds at once."""
        r_max, d_max = (Ramp(start=warmup, stop=warmup + 1, first=a, last=b) for a, b in ((1.0, 3.0), (0.0, 5.0)))
        return cls(eps=1e-3, decay=0.99, r_max=r_max, d_max=d_max, ema_of="var")


class State(NamedTuple):
    """Moving statistics."""

    mean: Array  #: (C,), initially 0
    var: Array  #: (C,), initially 1; with ``ema_of="sigma"`` sigma is averaged, and this is its square minus eps
    iteration: int  #: normalisation batches so far


class Cache(NamedTuple):
    """What backward needs, in the canonical form (G, M, C)."""

    y: Array  #: (G, M, C): the normalised values, before r and d
    sigma: Array  #: (G, 1, C): sqrt(var + eps)
    r: Array  #: (G, 1, C): the clipped ratio of batch sigma to moving sigma
    d: Array  #: (G, 1, C): the clipped shift, in units of the moving sigma
    gamma: Array  #: (C,)
    iteration: int  #: iterations before this call
    shape: tuple[int, ...]  #: the shape of x
    config: Config


def init(channels: int, config: Config, *, dtype: Any, xp: Any = np) -> State:
    """The state before the first batch."""
    checks.init(channels, (config, Config), dtype, xp)
    return State(mean=xp.zeros((channels,), dtype=dtype), var=xp.ones((channels,), dtype=dtype), iteration=0)


def statistics(x: Array, config: Settings) -> tuple[Array, Array]:
    """Mean and biased variance of each normalisation batch: :eq:`bn-statistics` (2)."""
    checks.statistics(config)
    x = split(x, config.norm_batch)
    mu, centred = centre(x)  # eq: bn-statistics (2)
    var = mean_square(centred, x)  # eq: bn-statistics (2)
    return mu[:, 0, :], var[:, 0, :]


def forward(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
    """Normalise by the batch, then correct by r and d: :eq:`brn-forward` (14), :eq:`brn-corrections` (14)."""
    checks.forward(x, gamma, beta, (state, State), (config, Config), init, centred=True)
    shape, x, t = tuple(x.shape), split(x, config.norm_batch), state.iteration
    mu, centred = centre(x)  # eq: bn-statistics (2)
    var = mean_square(centred, x)  # eq: bn-statistics (2)
    sigma = root(var + config.eps)  # eq: bn-normalise (1)
    moving_mu, new_mu = ema(state.mean, mu, config.decay)  # eq: ema-forward (12)
    if config.ema_of == "sigma":
        moving_sigma, new_sigma = ema(root(state.var + config.eps), sigma, config.decay)
        new_var = new_sigma**2 - config.eps
    else:
        moving_var, new_var = ema(state.var, var, config.decay)  # eq: ema-forward (12)
        moving_sigma = root(moving_var + config.eps)
    r_max, d_max = (in_force(bound, mu, t) for bound in (config.r_max, config.d_max))
    r = clip(sigma / moving_sigma, 1 / r_max, r_max)  # eq: brn-corrections (14)
    d = clip((mu - moving_mu) / moving_sigma, -d_max, d_max)  # eq: brn-corrections (14)
    y = centred / sigma  # eq: bn-normalise (1)
    scale, shift = gamma * r, gamma * d + beta  # z = gamma * (r * y + d) + beta in half the passes over y
    z = scale * y + shift  # eq: brn-forward (14)
    cache = Cache(y, sigma, r, d, copied(gamma), t, shape, config)
    state = State(new_mu[-1, 0, :], new_var[-1, 0, :], t + x.shape[0])
    return merge(z, shape), cache, state


def gradient_statistics(dz: Array, cache: Cache) -> tuple[Array, Array]:
    """The batch means g and Psi of dy and y * dy: :eq:`bn-gradient-statistics` (5)."""
    checks.gradient_statistics(dz, (cache, Cache))
    return gradient_means(split(dz, cache.config.norm_batch), cache.y, cache.gamma * cache.r)


def backward(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """Gradients in closed form, with r and d held constant: :eq:`brn-backward`."""
    checks.backward(dz, (cache, Cache), (state, State), init)
    dz, values = split(dz, cache.config.norm_batch), cache.y.shape[1]
    y, sigma, r, d, gamma, _, shape, _ = cache
    dz_sum, dzy_sum = sums(dz), sums(dz * y)
    dbeta = total(dz_sum)  # eq: affine-backward
    dgamma = total(r * dzy_sum + d * dz_sum)  # eq: brn-backward
    dy = dz * (gamma * r)
    g = gamma * r * dz_sum / values  # eq: bn-gradient-statistics (5)
    psi = gamma * r * dzy_sum / values  # eq: bn-gradient-statistics (5)
    dx = (dy - g - y * psi) / sigma  # eq: brn-backward
    return merge(dx, shape), dgamma, dbeta, state


def backward_graph(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """The same gradients, step by step back through the graph, which is cut at r and d: :eq:`brn-graph`."""
    checks.backward(dz, (cache, Cache), (state, State), init)
    dz, values = split(dz, cache.config.norm_batch), cache.y.shape[1]
    y, sigma, r, d, gamma, _, shape, _ = cache
    centred = y * sigma
    # z = gamma * (r * y + d) + beta
    dbeta = total(dz)  # eq: affine-backward
    dgamma = total(dz * (r * y + d))  # eq: brn-graph
    dy = dz * gamma * r  # eq: brn-graph
    # y = centred / sigma
    dcentred = dy / sigma  # eq: brn-graph
    dsigma = -sums(dy * centred) / sigma**2  # eq: brn-graph
    # sigma = sqrt(var + eps)
    dvar = dsigma / (2 * sigma)  # eq: brn-graph
    # var = mean of centred^2
    dcentred = dcentred + 2 * centred * dvar / values  # eq: brn-graph
    # centred = x - mu, and mu = mean of x
    dmu = -sums(dcentred)  # eq: brn-graph
    dx = dcentred + dmu / values  # eq: brn-graph
    return merge(dx, shape), dgamma, dbeta, state


def affine(gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Array]:
    """Inference as one map per channel, ``z = scale * x + shift``, which a convolution can absorb: :eq:`fold`."""
    checks.affine(gamma, beta, (state, State), (config, Config), init)
    scale = gamma / root(state.var + config.eps)  # eq: bn-infer
    return scale, beta - scale * state.mean  # eq: bn-infer


def infer(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> Array:
    """Normalise by the moving statistics: :eq:`bn-infer`."""
    checks.infer(x, gamma, beta, (state, State), (config, Config), init)
    y = (x - state.mean) / root(state.var + config.eps)  # eq: bn-infer
    return gamma * y + beta  # eq: affine (3)

r"""Modified batch normalisation, which only divides by the root mean square: equations (15) and (16).

Yan et al., ICLR 2020, section 4.2. Without the mean, each pass has one batch statistic: chi^2 in forward and Psi in
backward. The weights of the layer before should be centralised (`mabn_ref.nn.centralize`), so that the mean is small.
In the example the first normalisation batch is divided by 5, the root of its mean square, and a gradient proportional
to y becomes zero.

Examples
--------
>>> x, one, zero = np.array([[1.0], [7.0], [5.0], [11.0]]), np.ones(1), np.zeros(1)
>>> config = Config(eps=0.0, norm_batch=2)
>>> z, cache, state = forward(x, one, zero, init(1, config, dtype=x.dtype), config)
>>> dx, dgamma, dbeta, state = backward(z, cache, state)
>>> cache.y.ravel()[:2], bool(np.allclose(dx, 0)), state
(array([0.2, 1.4]), True, State(chi2=array([10.36]), iteration=2))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array, copied, total
from mabn_ref.norms import checks
from mabn_ref.norms.checks import Settings, setting
from mabn_ref.norms.common import ema, gradient_means, mean_square, merge, root, split, sums


@dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """Hyper-parameters."""

    decay: float = setting(0.9, at_least=0, below=1, note="weight of the old value in the moving mean square")


class State(NamedTuple):
    """Moving statistics."""

    chi2: Array  #: (C,): the mean square, initially 1
    iteration: int = 0  #: normalisation batches so far


class Cache(NamedTuple):
    """What backward needs, in the canonical form (G, M, C)."""

    y: Array  #: (G, M, C): the normalised values
    chi: Array  #: (G, 1, C): sqrt(chi2 + eps)
    gamma: Array  #: (C,)
    iteration: int  #: iterations before this call
    shape: tuple[int, ...]  #: the shape of x
    config: Config


def init(channels: int, config: Config, *, dtype: Any, xp: Any = np) -> State:
    """The state before the first batch."""
    checks.init(channels, (config, Config), dtype, xp)
    return State(chi2=xp.ones((channels,), dtype=dtype))


def statistics(x: Array, config: Settings) -> Array:
    """Mean square chi^2 of each normalisation batch, (G, C): :eq:`modified-statistics` (15)."""
    checks.statistics(config)
    x = split(x, config.norm_batch)
    return mean_square(x)[:, 0, :]  # eq: modified-statistics (15)


def forward(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
    """Divide by the batch's own root mean square: :eq:`modified-normalise` (15), :eq:`affine` (3)."""
    checks.forward(x, gamma, beta, (state, State), (config, Config), init)
    shape, x, t = tuple(x.shape), split(x, config.norm_batch), state.iteration
    chi2 = mean_square(x)  # eq: modified-statistics (15)
    _, moving_chi2 = ema(state.chi2, chi2, config.decay)  # eq: ema-forward (12)
    chi = root(chi2 + config.eps)  # eq: modified-normalise (15)
    y = x / chi  # eq: modified-normalise (15)
    z = gamma * y + beta  # eq: affine (3)
    cache = Cache(y, chi, copied(gamma), t, shape, config)
    state = State(moving_chi2[-1, 0, :], t + x.shape[0])
    return merge(z, shape), cache, state


def gradient_statistics(dz: Array, cache: Cache) -> tuple[Array, Array]:
    """The batch means g and Psi of dy and y * dy; backward uses only Psi: :eq:`bn-gradient-statistics` (5)."""
    checks.gradient_statistics(dz, (cache, Cache))
    return gradient_means(split(dz, cache.config.norm_batch), cache.y, cache.gamma)


def backward(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """Gradients in closed form: :eq:`modified-backward` (16)."""
    checks.backward(dz, (cache, Cache), (state, State), init)
    dz, values = split(dz, cache.config.norm_batch), cache.y.shape[1]
    y, chi, gamma, _, shape, _ = cache
    dz_sum, dzy_sum = sums(dz), sums(dz * y)
    dbeta = total(dz_sum)  # eq: affine-backward
    dgamma = total(dzy_sum)  # eq: affine-backward
    dy = dz * gamma
    psi = gamma * dzy_sum / values  # eq: bn-gradient-statistics (5)
    dx = (dy - y * psi) / chi  # eq: modified-backward (16)
    return merge(dx, shape), dgamma, dbeta, state


def backward_graph(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """The same gradients, step by step back through the computation graph: :eq:`modified-graph`."""
    checks.backward(dz, (cache, Cache), (state, State), init)
    dz, values = split(dz, cache.config.norm_batch), cache.y.shape[1]
    y, chi, gamma, _, shape, _ = cache
    x = y * chi
    # z = gamma * y + beta
    dbeta = total(dz)  # eq: affine-backward
    dgamma = total(dz * y)  # eq: affine-backward
    dy = dz * gamma  # eq: modified-graph
    # y = x / chi
    dx = dy / chi  # eq: modified-graph
    dchi = -sums(dy * x) / chi**2  # eq: modified-graph
    # chi = sqrt(chi2 + eps)
    dchi2 = dchi / (2 * chi)  # eq: modified-graph
    # chi2 = mean of x^2
    dx = dx + 2 * x * dchi2 / values  # eq: modified-graph
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

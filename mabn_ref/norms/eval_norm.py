r"""EvalNorm: batch normalisation in training; at inference, moving statistics corrected by those of each sample.

Singh and Shrivastava, "EvalNorm: Estimating Batch Normalization Statistics for Evaluation", 2019. In a small batch a
sample contributes much to the mean and variance it is normalised by, and the trained network relies on that. So
inference mixes the sample's statistics into the moving ones. It is then no affine map of x, and this module has no
`affine`. In the example a sample has mean 4 and variance 1, and the moving statistics are 0 and 1. With a = b = 1/2,
the mixed mean is 2 and the mixed variance 1 + 4.

Examples
--------
>>> x, one, zero, config = np.array([[[3.0], [5.0]]]), np.ones(1), np.zeros(1), Config(norm_batch=2, eps=0.0)
>>> infer(x, one, zero, init(1, config, dtype=x.dtype), config).ravel() * np.sqrt(5)
array([1., 3.])
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array, check_squares, copied, namespace
from mabn_ref.norms import batch_norm, checks
from mabn_ref.norms.batch_norm import statistics as statistics
from mabn_ref.norms.checks import setting
from mabn_ref.norms.common import centre, ema, mean_square, merge, root, split


@dataclass(frozen=True, kw_only=True)
class Config(batch_norm.Config):
    """Hyper-parameters; `norm_batch`, n, is required: a and b start from the rule of thumb 1 / n."""

    estimated: bool = setting(False, note="whether a and b, one each for the layer, are estimated in training")
    rate: float = setting(0.01, at_least=0, note="step size of a and b down their gradient, per normalisation batch")
    merged: bool = setting(True, note="whether the mixed variance has the term for the distance of the means")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.norm_batch is None:
            raise ValueError("norm_batch is None, expected an integer of at least 1: inference depends on it")


class State(NamedTuple):
    """Moving statistics, and the weights of a sample's own statistics at inference."""

    mean: Array  #: (C,), initially 0
    var: Array  #: (C,), biased, initially 1
    a: Array  #: (1,): the weight of the sample's mean, initially 1 / n
    b: Array  #: (1,): the weight of the sample's variance, initially 1 / n
    iteration: int = 0  #: normalisation batches so far


class Cache(batch_norm.Cache):
    """What backward needs: the fields of `mabn_ref.norms.batch_norm.Cache`, with a `Config` of this module."""

    __slots__ = ()


def init(channels: int, config: Config, *, dtype: Any, xp: Any = np) -> State:
    """The state before the first batch."""
    checks.init(channels, (config, Config), dtype, xp)
    share = xp.ones((1,), dtype=dtype) / (config.norm_batch or 1)  # eq: eval-rule
    mean, var, _ = batch_norm.init(channels, _training(config), dtype=dtype, xp=xp)
    return State(mean, var, share, copied(share))


def _training(config: batch_norm.Config) -> batch_norm.Config:
    """The settings that training reads."""
    return batch_norm.Config(eps=config.eps, norm_batch=config.norm_batch, decay=config.decay)


def forward(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
    """Normalise as `mabn_ref.norms.batch_norm.forward` does; if `estimated`, a and b move: :eq:`eval-estimate`."""
    checks.forward(x, gamma, beta, (state, State), (config, Config), init, centred=True)
    z, cache, (mean, var, t) = batch_norm.forward(x, gamma, beta, _moving(state), _training(config))
    a, b = _estimated(x, state, config) if config.estimated else (copied(state.a), copied(state.b))
    return z, Cache(*cache[:-1], config), State(mean, var, a, b, t)


def _estimated(x: Array, state: State, config: Config) -> tuple[Array, Array]:
    """a and b after one step per normalisation batch; only the samples' statistics are work of the size of x."""
    xp, a, b = namespace(x), state.a, state.b
    mu, var = statistics(x, config)
    means, _ = ema(state.mean, mu, config.decay, state.iteration)
    variances, _ = ema(state.var, var, config.decay, state.iteration)
    sample_mean, sample_var, _ = _of_samples(x)
    each = config.norm_batch or 1
    for g in range(mu.shape[0]):
        mine = slice(g * each, (g + 1) * each)
        m, v = sample_mean[mine, 0, :], sample_var[mine, 0, :]
        distance = m - means[g, :]
        mixed_mean, mixed_var = mixture(m, v, means[g, :], variances[g, :], a, b, config)
        inverse, target = 1 / root(mixed_var + config.eps), 1 / root(var[g, :] + config.eps)
        # The outputs of inference and training differ by a multiple of x - m, whose mean square is v, and by `off`.
        off = (m - mixed_mean) * inverse - (m - mu[g, :]) * target
        slope = ((inverse - target) * v + off * (m - mixed_mean)) * (-(inverse**3) / 2)  # by the mixed variance
        by_a = -off * inverse * distance + slope * ((1 - 2 * a) * distance**2 if config.merged else 0)
        by_b = slope * (v - variances[g, :])
        count = m.shape[0] * m.shape[1]
        a = xp.clip(a - config.rate * xp.sum(by_a) / count, 0, 1)  # eq: eval-estimate
        b = xp.clip(b - config.rate * xp.sum(by_b) / count, 0, 1)  # eq: eval-estimate
    return a, b


def _of_samples(x: Array) -> tuple[Array, Array, Array]:
    """Mean, variance and centred values of each sample."""
    x = split(x, 1)
    mu, centred = centre(x)
    return mu, mean_square(centred, x), centred


def mixture(
    sample_mean: Array, sample_var: Array, mean: Array, var: Array, a: Array, b: Array, config: Config
) -> tuple[Array, Array]:
    """Mean and variance to normalise samples by, with weights a and b for their own: :eq:`eval-mixture`."""
    distance = sample_mean - mean
    mixed = b * sample_var + (1 - b) * var  # eq: eval-mixture
    if config.merged:
        mixed = mixed + a * (1 - a) * distance**2  # eq: eval-mixture
        check_squares("the mean of x, less the moving mean,", distance, mixed)
    return mean + a * distance, mixed  # eq: eval-mixture


def gradient_statistics(dz: Array, cache: Cache) -> tuple[Array, Array]:
    """The batch means g and Psi of dy and y * dy: :eq:`bn-gradient-statistics` (5)."""
    checks.gradient_statistics(dz, (cache, Cache))
    return batch_norm.gradient_statistics(dz, batch_norm.Cache(*cache))


def backward(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """Gradients of batch normalisation, :eq:`bn-backward` (4); the estimates of a and b add nothing to them."""
    checks.backward(dz, (cache, Cache), (state, State), init)
    dx, dgamma, dbeta, _ = batch_norm.backward(dz, *_trained(cache, state))
    return dx, dgamma, dbeta, state


def backward_graph(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """The same gradients, step by step back through the graph of batch normalisation: :eq:`bn-graph`."""
    checks.backward(dz, (cache, Cache), (state, State), init)
    dx, dgamma, dbeta, _ = batch_norm.backward_graph(dz, *_trained(cache, state))
    return dx, dgamma, dbeta, state


def _moving(state: State) -> batch_norm.State:
    return batch_norm.State(state.mean, state.var, state.iteration)


def _trained(cache: Cache, state: State) -> tuple[batch_norm.Cache, batch_norm.State]:
    return batch_norm.Cache(*cache[:-1], _training(cache.config)), _moving(state)


def infer(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> Array:
    """Normalise each sample by a mixture of its own statistics and the moving ones: :eq:`eval-mixture`."""
    checks.infer(x, gamma, beta, (state, State), (config, Config), init)
    checks.check_state(state, init(x.shape[-1], config, dtype=np.float64), x)
    sample_mean, sample_var, centred = _of_samples(x)
    _, var = mixture(sample_mean, sample_var, state.mean, state.var, state.a, state.b, config)
    off = (1 - state.a) * (sample_mean - state.mean)  # the sample's mean less the mixture's, without their rounding
    y = (centred + off) / root(var + config.eps)  # eq: eval-infer
    return merge(gamma * y + beta, x.shape)  # eq: affine (3)

r"""EvalNorm: batch normalisation in training; at inference, statistics corrected by those of the one sample.

Singh and Shrivastava, "EvalNorm: Estimating Batch Normalization Statistics for Evaluation", 2019. In a small batch a
sample is a good part of its own mean and variance, and a network that was trained so expects it. Inference then mixes
the sample's statistics into the moving ones. That makes it no affine map of x, so that this module has no `affine`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array, check_own, check_squares, copied, namespace
from mabn_ref.norms import batch_norm
from mabn_ref.norms.batch_norm import moments
from mabn_ref.norms.batch_norm import statistics as statistics
from mabn_ref.norms.checks import check_affine, check_at_least, check_inputs, check_state
from mabn_ref.norms.micro_batches import merge, split
from mabn_ref.norms.moving import ema


@dataclass(frozen=True, kw_only=True)
class Config(batch_norm.Config):
    r"""Hyper-parameters of EvalNorm: those of batch normalisation, of which `norm_batch` has to be given.

    Parameters
    ----------
    eps, decay : float
        As in `mabn_ref.norms.batch_norm.Config`.
    norm_batch : int
        n = \|B\|. The rule of thumb is a = b = 1 / n.
    estimated : bool
        Whether a and b, one each for the layer, are estimated in training. They start at the rule of thumb.
    rate : float
        The step of the estimate along minus its gradient, once a normalisation batch.
    merged : bool
        Whether the variance of the mixture has the term a (1 - a) (mu_s - mu_ema)^2, by which the two means differ.

    Raises
    ------
    TypeError, ValueError
        If a value is not of the kind or in the range above.

    Examples
    --------
    >>> Config(norm_batch=2).estimated
    False
    """

    estimated: bool = False
    rate: float = 0.01
    merged: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.norm_batch is None:
            raise ValueError("norm_batch is None, expected an integer of at least 1: inference depends on it")
        check_at_least("rate", self.rate, 0)
        for name in ("estimated", "merged"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} is {getattr(self, name)!r}, expected True or False")


class State(NamedTuple):
    """Moving mean and (biased) variance, and how much of its own statistics a sample brings to inference."""

    mean: Array
    """(C,)."""
    var: Array
    """(C,)."""
    a: Array
    """(1,): the weight of the sample's mean."""
    b: Array
    """(1,): the weight of the sample's variance."""


class Cache(batch_norm.Cache):
    """What backward needs: that of `mabn_ref.norms.batch_norm`, with a `Config` of this module."""

    __slots__ = ()


def init(channels: int, config: Config, *, dtype: Any, xp: Any = np) -> State:
    """Return the state before the first batch: mean 0, variance 1, a = b = 1 / n.

    Parameters
    ----------
    channels, config
        C, and the hyper-parameters.
    dtype, xp
        float32 or float64, and the array library that makes the arrays.

    Examples
    --------
    >>> init(1, Config(norm_batch=4), dtype=np.float64)
    State(mean=array([0.]), var=array([1.]), a=array([0.25]), b=array([0.25]))
    """
    check_own((config, Config))
    mean, var = batch_norm.init(channels, _training(config), dtype=dtype, xp=xp)
    share = xp.ones((1,), dtype=dtype) / (config.norm_batch or 1)  # eq: eval-rule
    return State(mean, var, share, copied(share))


def _training(config: batch_norm.Config) -> batch_norm.Config:
    """The part that training reads."""
    return batch_norm.Config(eps=config.eps, norm_batch=config.norm_batch, decay=config.decay)


def _trained(cache: Cache, state: State) -> tuple[batch_norm.Cache, batch_norm.State]:
    check_own((cache, Cache), (state, State))
    return batch_norm.Cache(*cache[:-1], _training(cache.config)), batch_norm.State(state.mean, state.var)


def forward(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
    """Batch normalisation, `mabn_ref.norms.batch_norm.forward`; a and b may take a step, :eq:`eval-estimate`.

    Parameters
    ----------
    x : array, shape (N, ..., C), float32 or float64, channels last
    gamma, beta : array, shape (C,), of the dtype of `x`
    state : State
        The moving statistics.
    config : Config

    Returns
    -------
    z : array, shape (N, ..., C), of the dtype of `x`
    cache : Cache
    state : State
        The new moving statistics, a and b.

    Raises
    ------
    TypeError, ValueError
        As batch normalisation does.
    OverflowError
        If the squares of finite values of `x` sum up to more than its dtype holds.

    Examples
    --------
    >>> x, one, zero, config = np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1), Config(norm_batch=2, eps=0.0)
    >>> z, cache, state = forward(x, one, zero, init(1, config, dtype=x.dtype), config)
    >>> z.ravel(), state.a
    (array([-1.,  1.]), array([0.5]))
    """
    check_own((state, State), (config, Config))
    check_inputs(x, gamma, beta, config.norm_batch, centred=True)
    check_state(state, "a", (1,), x)
    check_state(state, "b", (1,), x)
    moving = batch_norm.State(state.mean, state.var)
    z, cache, (mean, var) = batch_norm.forward(x, gamma, beta, moving, _training(config))
    a, b = _estimated(x, state, config) if config.estimated else (copied(state.a), copied(state.b))
    return z, Cache(*cache[:-1], config), State(mean, var, a, b)


def _estimated(x: Array, state: State, config: Config) -> tuple[Array, Array]:
    """The weights after a step for each normalisation batch; all x-sized work is in the statistics of the samples."""
    xp, (_, _, a, b) = namespace(x), state
    mu, var = statistics(x, config)
    means, _ = ema(state.mean, mu, config.decay)
    variances, _ = ema(state.var, var, config.decay)
    sample_mean, sample_var, _ = moments(split(x, 1))
    each = config.norm_batch or 1
    for g in range(mu.shape[0]):
        mine = slice(g * each, (g + 1) * each)
        m, v = sample_mean[mine, :], sample_var[mine, :]
        distance = m - means[g, :]
        mixed_mean, mixed_var = mixture(m, v, means[g, :], variances[g, :], a, b, config)
        inverse, target = 1 / xp.sqrt(mixed_var + config.eps), 1 / xp.sqrt(var[g, :] + config.eps)
        # The outputs of inference and training differ by a multiple of x - m, whose mean square is v, and by `off`.
        off = (m - mixed_mean) * inverse - (m - mu[g, :]) * target
        slope = ((inverse - target) * v + off * (m - mixed_mean)) * (-(inverse**3) / 2)  # by the mixed variance
        by_a = -off * inverse * distance + slope * ((1 - 2 * a) * distance**2 if config.merged else 0)
        by_b = slope * (v - variances[g, :])
        count = m.shape[0] * m.shape[1]
        a = xp.clip(a - config.rate * xp.sum(by_a) / count, 0, 1)  # eq: eval-estimate
        b = xp.clip(b - config.rate * xp.sum(by_b) / count, 0, 1)  # eq: eval-estimate
    return a, b


def mixture(
    sample_mean: Array, sample_var: Array, mean: Array, var: Array, a: Array, b: Array, config: Config
) -> tuple[Array, Array]:
    """Mean and variance that a sample is normalised by at inference: :eq:`eval-mixture`.

    Parameters
    ----------
    sample_mean, sample_var : array, shape (N, C)
        Those of each sample over its positions.
    mean, var : array, shape (C,)
        The moving statistics.
    a, b : array, shape (1,)
        The weights of the sample's.
    config : Config
        Its `merged` counts.

    Returns
    -------
    mean, var : array, shape (N, C)

    Examples
    --------
    Two halves with variance 1 and means 0 and 2 have the variance 2 about their common mean:

    >>> one, half, config = np.ones(1), np.full(1, 0.5), Config(norm_batch=2)
    >>> mixture(2 * one, one, 0 * one, one, half, half, config)
    (array([1.]), array([2.]))
    """
    distance = sample_mean - mean
    mixed = b * sample_var + (1 - b) * var  # eq: eval-mixture
    if config.merged:
        mixed = mixed + a * (1 - a) * distance**2  # eq: eval-mixture
        check_squares("the mean of x, less the moving mean,", distance, mixed)
    return mean + a * distance, mixed  # eq: eval-mixture


def gradient_statistics(dz: Array, cache: Cache) -> tuple[Array, Array]:
    """The two batch statistics of backward: takes and returns what `mabn_ref.norms.batch_norm` does.

    Examples
    --------
    >>> x, one, zero, config = np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1), Config(norm_batch=2, eps=0.0)
    >>> _, cache, _ = forward(x, one, zero, init(1, config, dtype=x.dtype), config)
    >>> gradient_statistics(np.array([[1.0], [2.0]]), cache)
    (array([[1.5]]), array([[0.5]]))
    """
    check_own((cache, Cache))
    return batch_norm.gradient_statistics(dz, batch_norm.Cache(*cache))


def backward(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """Gradients of batch normalisation, :eq:`bn-backward` (4): what estimates a and b sends nothing back.

    Takes and returns what `mabn_ref.norms.batch_norm.backward` does; the state is returned as it is.

    Examples
    --------
    >>> x, one, zero, config = np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1), Config(norm_batch=2, eps=0.0)
    >>> _, cache, state = forward(x, one, zero, init(1, config, dtype=x.dtype), config)
    >>> backward(np.array([[5.0], [7.0]]), cache, state)[1]
    array([2.])
    """
    dx, dgamma, dbeta, _ = batch_norm.backward(dz, *_trained(cache, state))
    return dx, dgamma, dbeta, state


def backward_graph(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """The same gradients, step by step back through the graph of batch normalisation: :eq:`bn-graph`.

    Takes and returns what `backward` does, equal to rounding.

    Examples
    --------
    >>> x, one, zero, config = np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1), Config(norm_batch=2, eps=0.0)
    >>> _, cache, state = forward(x, one, zero, init(1, config, dtype=x.dtype), config)
    >>> backward_graph(np.array([[5.0], [7.0]]), cache, state)[1]
    array([2.])
    """
    dx, dgamma, dbeta, _ = batch_norm.backward_graph(dz, *_trained(cache, state))
    return dx, dgamma, dbeta, state


def infer(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> Array:
    """Normalise each sample by the mixture of its own and the moving statistics: :eq:`eval-mixture`.

    Parameters
    ----------
    x : array, shape (N, ..., C)
        Any N: samples do not see each other.
    gamma, beta, state, config
        As in `forward`.

    Returns
    -------
    z : array, shape (N, ..., C)

    Examples
    --------
    The sample has mean 4 and variance 1. With a = b = 1/2, the mean is 2 and the variance 1 + 4:

    >>> config = Config(norm_batch=2, eps=0.0)
    >>> x = np.array([[[3.0], [5.0]]])
    >>> infer(x, np.ones(1), np.zeros(1), init(1, config, dtype=x.dtype), config).ravel() * np.sqrt(5)
    array([1., 3.])
    """
    check_own((state, State), (config, Config))
    check_inputs(x, gamma, beta, None)
    check_affine(gamma, beta, state, "mean", "var")
    check_state(state, "a", (1,), x)
    check_state(state, "b", (1,), x)
    xs = split(x, 1)
    sample_mean, sample_var, centred = moments(xs)
    _, var = mixture(sample_mean, sample_var, state.mean, state.var, state.a, state.b, config)
    off = (1 - state.a) * (sample_mean - state.mean)  # the sample's mean less the mixture's, without their rounding
    y = (centred + off[:, None, :]) / namespace(x).sqrt(var + config.eps)[:, None, :]  # eq: eval-infer
    return merge(gamma * y + beta, x.shape)  # eq: affine (3)

r"""Online Normalization: moving statistics in both passes, updated sample by sample.

Chiley et al., "Online Normalization for Training Neural Networks", 2019. Forward normalises each sample by averages
over the samples before it, so no sample sees the rest of its batch, and the order of samples matters. Backward uses
two control variables: v subtracts what has built up along y, and u what has built up along a constant. **backward is
not the derivative of forward**, except for a single sample with u = v = 0: the docs say what it is. dgamma and dbeta
are true derivatives. In the example every gradient is 1: the more backward has let through, the more it holds back.

Examples
--------
>>> one, zero = np.ones(1), np.zeros(1)
>>> config = Config(eps=0.0, decay_forward=0.0, decay_backward=0.5, layer_scaling=False)
>>> x = np.zeros((4, 2, 1)) + np.array([[1.0], [-1.0]])
>>> _, cache, state = forward(x, one, zero, init(1, config, dtype=x.dtype), config)
>>> dx, dgamma, dbeta, state = backward(np.ones(x.shape), cache, state)
>>> dx[:, 0, 0], state.u
(array([1.   , 0.5  , 0.25 , 0.125]), array([1.875]))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array, check_own, check_squares, copied, namespace, total
from mabn_ref.norms import batch_norm, checks
from mabn_ref.norms.checks import Checked, setting
from mabn_ref.norms.common import accumulated, centre, ema, gradient_means, mean_square, merge, root, split, sums


@dataclass(frozen=True, kw_only=True)
class Config(Checked):
    """Hyper-parameters; the defaults are the paper's. Each sample is a normalisation batch."""

    eps: float = setting(
        1e-5, at_least=0, note="added inside both roots, to the variance and to layer scaling's mean square"
    )
    decay_forward: float = setting(0.999, at_least=0, below=1, note="weight of the old mean and variance, per sample")
    decay_backward: float = setting(0.99, at_least=0, below=1, note="1 minus the strength of the control variables")
    layer_scaling: bool = setting(True, note="whether each sample is divided by its root mean square at the end")


class State(NamedTuple):
    """Moving statistics, all of shape (C,); `backward` changes only `u`, `v` and its own count."""

    mean: Array  #: initially 0, moved by :eq:`online-mean`
    var: Array  #: initially 1, moved by :eq:`online-variance`
    u: Array  #: the sum of the mean gradients that `backward` has let through
    v: Array  #: the sum of the means of y times gradient that it has let through
    iteration: int = 0  #: samples so far
    backward_iteration: int = 0  #: number of the last sample that went through backward


class Cache(NamedTuple):
    """What backward needs, in the form (N, M, C): M values per channel of each of N samples."""

    y: Array  #: (N, M, C): normalised by the statistics before each sample
    sigma: Array  #: (N, 1, C): sqrt(var + eps) before each sample
    z: Array  #: (N, M, C): a copy of the output, which the caller may change in place
    scale: Array | None  #: (N, 1, 1): the root mean square that layer scaling divides each sample by; None without it
    gamma: Array  #: (C,)
    iteration: int  #: samples before this call
    shape: tuple[int, ...]  #: the shape of x
    config: Config


def init(channels: int, config: Config, *, dtype: Any, xp: Any = np) -> State:
    """The state before the first sample."""
    checks.init(channels, (config, Config), dtype, xp)
    mean, u, v = (xp.zeros((channels,), dtype=dtype) for _ in range(3))
    return State(mean, xp.ones((channels,), dtype=dtype), u, v)


def statistics(x: Array, config: Config) -> tuple[Array, Array]:
    """Mean and biased variance of each sample, which the averages take in: :eq:`bn-statistics` (2) with G = N."""
    check_own((config, Config))
    x = split(x, 1)
    mu, centred = centre(x)
    return mu[:, 0, :], mean_square(centred, x)[:, 0, :]


def forward(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
    """Normalise each sample by the averages before it: :eq:`online-normalise`, then :eq:`layer-scaling`."""
    checks.forward(x, gamma, beta, (state, State), (config, Config), init)
    shape, x, t, decay = tuple(x.shape), split(x, 1), state.iteration, config.decay_forward
    mu, centred = centre(x)
    var = mean_square(centred, x)
    moving_mu, new_mu = ema(state.mean, mu, decay)  # eq: online-mean
    fed = var + decay * (mu - moving_mu) ** 2
    check_squares("x, less the moving mean,", mu - moving_mu, fed)
    moving_var, new_var = ema(state.var, fed, decay)  # eq: online-variance
    sigma = root(moving_var + config.eps)  # eq: online-normalise
    y = (x - moving_mu) / sigma  # eq: online-normalise
    z, scale = _scaled(gamma * y + beta, config)
    cache = Cache(y, sigma, copied(z), scale, copied(gamma), t, shape, config)
    kept = copied(state.u), copied(state.v)
    state = State(new_mu[-1, 0, :], new_var[-1, 0, :], *kept, t + x.shape[0], state.backward_iteration)
    return merge(z, shape), cache, state


def _scaled(a: Array, config: Config) -> tuple[Array, Array | None]:
    """`a`, (N, M, C), after layer scaling, and the root mean square of each sample."""
    if not config.layer_scaling:
        return a, None
    squares = _mean_of_sample(a * a)
    check_squares("gamma * y + beta", a, squares)
    scale = root(squares + config.eps)
    return a / scale, scale  # eq: layer-scaling


def _mean_of_sample(a: Array) -> Array:
    return namespace(a).sum(a, axis=(1, 2), keepdims=True) / (a.shape[1] * a.shape[2])


def _unscaled(dz: Array, cache: Cache) -> Array:
    """The gradient with respect to the input of layer scaling, (N, M, C)."""
    dz = split(dz, 1)
    if cache.scale is None:
        return dz
    return (dz - cache.z * _mean_of_sample(dz * cache.z)) / cache.scale  # eq: layer-scaling-backward


def gradient_statistics(dz: Array, cache: Cache) -> tuple[Array, Array]:
    """The means of dy and y * dy over each sample, which move u and v: :eq:`bn-gradient-statistics` (5), G = N."""
    checks.gradient_statistics(dz, (cache, Cache))
    return gradient_means(_unscaled(dz, cache), cache.y, cache.gamma)


def backward(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """Gradients controlled by u and v: :eq:`online-control-v`, :eq:`online-control-u`, :eq:`online-backward`."""
    checks.backward(dz, (cache, Cache), (state, State), init)
    y, sigma, gamma, held = cache.y, cache.sigma, cache.gamma, 1 - cache.config.decay_backward
    dz, values = _unscaled(dz, cache), y.shape[1]
    dz_sum, dzy_sum = sums(dz), sums(dz * y)
    dbeta = total(dz_sum)  # eq: affine-backward
    dgamma = total(dzy_sum)  # eq: affine-backward
    g, psi = gamma * dz_sum / values, gamma * dzy_sum / values
    # Only numbers per channel depend on the previous sample; work of the size of x is done for all samples at once.
    v, v_after = accumulated(state.v, psi, held * sums(y * y) / values)  # eq: online-control-v
    dy = dz * gamma - held * v * y  # eq: online-control-v
    through = (g - held * v * sums(y) / values) / sigma
    u, u_after = accumulated(state.u, through, held * namespace(dz).ones_like(through))  # eq: online-control-u
    dx = dy / sigma - held * u  # eq: online-backward
    state = state._replace(u=u_after, v=v_after, backward_iteration=cache.iteration + y.shape[0])
    return merge(dx, cache.shape), dgamma, dbeta, state


def affine(gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Array]:
    """Inference as one map per channel, ``z = scale * x + shift``, which it is only without layer scaling."""
    checks.affine(gamma, beta, (state, State), (config, Config), init)
    if config.layer_scaling:
        raise ValueError("layer_scaling is True, expected False: with it inference is not an affine map of x")
    return batch_norm.affine(gamma, beta, batch_norm.State(state.mean, state.var), batch_norm.Config(eps=config.eps))


def infer(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> Array:
    """Normalise by the averages as they are, :eq:`bn-infer`, then :eq:`layer-scaling`."""
    checks.infer(x, gamma, beta, (state, State), (config, Config), init)
    y = (x - state.mean) / root(state.var + config.eps)  # eq: bn-infer
    return merge(_scaled(split(gamma * y + beta, 1), config)[0], x.shape)

r"""Online Normalization: moving statistics in both passes, updated sample by sample.

Chiley et al., "Online Normalization for Training Neural Networks", 2019. Forward normalises a sample by averages over
the samples before it, so that no sample sees another of its batch. Backward takes off what has built up along y and
along the constant, with two control variables u and v. **backward is not the derivative of forward**: the docs say
what it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array, check_float_array, check_own, check_squares, copied, namespace, sums, total
from mabn_ref.norms import batch_norm
from mabn_ref.norms.batch_norm import gradient_means, moments
from mabn_ref.norms.checks import (
    check_at_least,
    check_decay,
    check_dz,
    check_inputs,
    check_state,
    unwrap_numbers,
)
from mabn_ref.norms.micro_batches import merge, split
from mabn_ref.norms.moving import ema


@dataclass(frozen=True, kw_only=True)
class Config:
    r"""Hyper-parameters of Online Normalization; the defaults are the paper's. A sample is a normalisation batch.

    Parameters
    ----------
    eps : float
        Added to the variance inside the square root, and to the mean square of layer scaling inside its root.
    decay_forward : float in [0, 1)
        The weight of the old value in the moving mean and variance, once a sample.
    decay_backward : float in [0, 1)
        1 minus the strength with which the control variables act.
    layer_scaling : bool
        Whether the output of each sample is divided by its root mean square over all positions and channels.

    Raises
    ------
    TypeError, ValueError
        If a value is not of the kind or in the range above.

    Examples
    --------
    >>> Config()
    Config(eps=1e-05, decay_forward=0.999, decay_backward=0.99, layer_scaling=True)
    """

    eps: float = 1e-5
    decay_forward: float = 0.999
    decay_backward: float = 0.99
    layer_scaling: bool = True

    def __post_init__(self) -> None:
        check_at_least("eps", self.eps, 0)
        check_decay("decay_forward", self.decay_forward)
        check_decay("decay_backward", self.decay_backward)
        if not isinstance(self.layer_scaling, bool):
            raise TypeError(f"layer_scaling is {self.layer_scaling!r}, expected True or False")
        unwrap_numbers(self)


class State(NamedTuple):
    """Moving statistics, all of shape (C,); `forward` changes `mean` and `var`, `backward` changes `u` and `v`."""

    mean: Array
    var: Array
    u: Array
    """The sum of the mean gradients that `backward` has let through."""
    v: Array
    """The sum of the mean products of y and gradient that it has let through."""


class Cache(NamedTuple):
    """What backward needs, in the form (N, M, C): M values a channel of each of N samples."""

    y: Array
    """(N, M, C): normalised by the statistics before each sample."""
    sigma: Array
    """(N, C): sqrt(var + eps) before each sample."""
    z: Array
    """(N, M, C): a copy of the output, which the caller may change in place."""
    scale: Array | None
    """(N, 1, 1): the root mean square that layer scaling divides each sample by; None without it."""
    gamma: Array
    """(C,)."""
    shape: tuple[int, ...]
    """The shape of x."""
    config: Config


def init(channels: int, config: Config, *, dtype: Any, xp: Any = np) -> State:
    """Return the state before the first sample: mean 0, variance 1, u and v 0.

    Parameters
    ----------
    channels, config
        C, and the hyper-parameters.
    dtype, xp
        float32 or float64, and the array library that makes the arrays.

    Examples
    --------
    >>> init(1, Config(), dtype=np.float64)
    State(mean=array([0.]), var=array([1.]), u=array([0.]), v=array([0.]))
    """
    check_own((config, Config))
    check_at_least("channels", channels, 1, whole=True)
    zero = xp.zeros((channels,), dtype=dtype)
    check_float_array("the state", zero, real=True)
    return State(zero, zero + 1, 0 * zero, 0 * zero)


def statistics(x: Array, config: Config) -> tuple[Array, Array]:
    """Mean and biased variance of every sample, which the averages are fed: :eq:`bn-statistics` (2) with G = N.

    Parameters
    ----------
    x : array, shape (N, ..., C), float32 or float64

    Returns
    -------
    mu, var : array, shape (N, C)

    Examples
    --------
    >>> statistics(np.array([[[1.0], [3.0]], [[10.0], [30.0]]]), Config())
    (array([[ 2.],
           [20.]]), array([[  1.],
           [100.]]))
    """
    check_own((config, Config))
    mu, var, _ = moments(split(x, 1))
    return mu, var


def forward(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
    """Normalise each sample by the averages before it: :eq:`online-normalise`, then :eq:`layer-scaling`.

    Parameters
    ----------
    x : array, shape (N, ..., C), float32 or float64, channels last
        The order of the samples counts.
    gamma, beta : array, shape (C,), of the dtype of `x`
    state : State
        The moving statistics, updated once a sample by :eq:`online-mean` and :eq:`online-variance`.
    config : Config

    Returns
    -------
    z : array, shape (N, ..., C), of the dtype of `x`
    cache : Cache
    state : State
        The new moving statistics; `u` and `v` are as they were.

    Raises
    ------
    TypeError, ValueError
        If `state` or `config` is that of another normaliser. If an array is not plain, or not float32 or float64,
        dtypes differ, or shapes do not fit.
    OverflowError
        If the squares of finite values of `x`, or of the output before layer scaling, sum up to more than the dtype
        holds.

    Examples
    --------
    The first sample is normalised by mean 0 and variance 1, and moves the mean half-way to 2, where the second is:

    >>> one, zero, config = np.ones(1), np.zeros(1), Config(eps=0.0, decay_forward=0.5, layer_scaling=False)
    >>> x = np.array([[2.0], [1.0]])
    >>> z, cache, state = forward(x, one, zero, init(1, config, dtype=x.dtype), config)
    >>> z.ravel(), state.mean, state.var
    (array([2., 0.]), array([1.]), array([0.75]))
    """
    check_own((state, State), (config, Config))
    check_inputs(x, gamma, beta, None)
    for name in State._fields:
        check_state(state, name, (x.shape[-1],), x)
    xs, decay = split(x, 1), config.decay_forward
    mu, var, _ = moments(xs)
    mean_before, mean_after = ema(state.mean, mu, decay)  # eq: online-mean
    fed = var + decay * (mu - mean_before) ** 2
    check_squares("x, less the moving mean,", mu - mean_before, fed)
    var_before, var_after = ema(state.var, fed, decay)  # eq: online-variance
    sigma = namespace(x).sqrt(var_before + config.eps)
    y = (xs - mean_before[:, None, :]) / sigma[:, None, :]  # eq: online-normalise
    z, scale = _scaled(gamma * y + beta, config)
    cache = Cache(y, sigma, copied(z), scale, copied(gamma), tuple(x.shape), config)
    return merge(z, x.shape), cache, State(mean_after[-1, :], var_after[-1, :], copied(state.u), copied(state.v))


def _scaled(a: Array, config: Config) -> tuple[Array, Array | None]:
    """Layer scaling of (N, M, C), and the root mean square of each sample."""
    if not config.layer_scaling:
        return a, None
    xp = namespace(a)
    mean_square = _mean_of_sample(a * a)
    check_squares("gamma * y + beta", a, mean_square)
    scale = xp.sqrt(mean_square + config.eps)
    return a / scale, scale  # eq: layer-scaling


def _mean_of_sample(a: Array) -> Array:
    return namespace(a).sum(a, axis=(1, 2), keepdims=True) / (a.shape[1] * a.shape[2])


def _unscaled(dz: Array, cache: Cache) -> Array:
    """From dz (N, M, C) to the gradient before layer scaling."""
    if cache.scale is None:
        return dz
    return (dz - cache.z * _mean_of_sample(dz * cache.z)) / cache.scale  # eq: layer-scaling-backward


def gradient_statistics(dz: Array, cache: Cache) -> tuple[Array, Array]:
    """The means over each sample of dy and of y * dy, by which u and v move: :eq:`bn-gradient-statistics` (5), G = N.

    Parameters
    ----------
    dz : array, shape (N, ..., C)
        Gradient of the loss with respect to z.
    cache : Cache

    Returns
    -------
    g, psi : array, shape (N, C)

    Examples
    --------
    >>> x, one, zero, config = np.array([[[1.0], [3.0]]]), np.ones(1), np.zeros(1), Config(layer_scaling=False, eps=0)
    >>> _, cache, _ = forward(x, one, zero, init(1, config, dtype=x.dtype), config)
    >>> gradient_statistics(np.array([[[1.0], [2.0]]]), cache)
    (array([[1.5]]), array([[3.5]]))
    """
    check_own((cache, Cache))
    check_dz(dz, cache.y, cache.shape)
    return gradient_means(_unscaled(split(dz, 1), cache), cache.y, cache.gamma)[:2]


def backward(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """Gradients under control of u and v: :eq:`online-control-v`, :eq:`online-control-u`, :eq:`online-backward`.

    Parameters
    ----------
    dz : array, shape (N, ..., C)
        Gradient of the loss with respect to z, of the dtype of the forward pass.
    cache : Cache
    state : State
        Its `u` and `v` alone are read.

    Returns
    -------
    dx : array, shape (N, ..., C)
        What goes back to x; the derivative of `forward` only for a single sample with u = v = 0.
    dgamma, dbeta : array, shape (C,)
        The true derivatives, through layer scaling, summed over all samples.
    state : State
        `state` with its new `u` and `v`.

    Raises
    ------
    TypeError, ValueError
        If `dz` is not of the shape and dtype of the forward pass, or `cache` or `state` is that of another
        normaliser.

    Examples
    --------
    Every gradient is 1. The more of it has come through, the more is held back:

    >>> one, zero = np.ones(1), np.zeros(1)
    >>> config = Config(eps=0.0, decay_forward=0.0, decay_backward=0.5, layer_scaling=False)
    >>> x = np.zeros((4, 2, 1)) + np.array([[1.0], [-1.0]])
    >>> _, cache, state = forward(x, one, zero, init(1, config, dtype=x.dtype), config)
    >>> dx, dgamma, dbeta, state = backward(np.ones(x.shape), cache, state)
    >>> dx[:, 0, 0], state.u
    (array([1.   , 0.5  , 0.25 , 0.125]), array([1.875]))
    """
    check_own((cache, Cache), (state, State))
    check_dz(dz, cache.y, cache.shape)
    check_state(state, "u", (cache.shape[-1],), dz)
    check_state(state, "v", (cache.shape[-1],), dz)
    xp, y, held = namespace(dz), cache.y, 1 - cache.config.decay_backward
    values, sigma = y.shape[1], cache.sigma
    dz = _unscaled(split(dz, 1), cache)
    g, psi, dz_sum, dzy_sum = gradient_means(dz, y, cache.gamma)
    dbeta = total(dz_sum)  # eq: affine-backward
    dgamma = total(dzy_sum)  # eq: affine-backward
    # All that depends on the sample before is a number a channel; what is of the size of x is done at once.
    v, v_after = _accumulated(state.v, psi, held * sums(y * y) / values)  # eq: online-control-v
    dy = dz * cache.gamma - held * v[:, None, :] * y  # eq: online-control-v
    through = (g - held * v * sums(y) / values) / sigma
    u, u_after = _accumulated(state.u, through, held * xp.ones_like(through))  # eq: online-control-u
    dx = dy / sigma[:, None, :] - held * u[:, None, :]  # eq: online-backward
    return merge(dx, cache.shape), dgamma, dbeta, state._replace(u=u_after, v=v_after)


def _accumulated(start: Array, added: Array, held: Array) -> tuple[Array, Array]:
    """``s + added_t - held_t * s`` for each t of (N, C): s before each of them, and after the last."""
    before, s = [], start
    for t in range(added.shape[0]):
        before.append(s)
        s = s + (added[t, :] - held[t, :] * s)
    return namespace(added).stack(before), s


def affine(gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Array]:
    """Inference as one map a channel, ``z = scale * x + shift``, which it is without layer scaling alone.

    Returns
    -------
    scale, shift : array, shape (C,)

    Raises
    ------
    ValueError
        With layer scaling, which divides by a statistic of the sample.

    Examples
    --------
    >>> config = Config(eps=0.0, layer_scaling=False)
    >>> state = init(1, config, dtype=float)._replace(mean=np.array([2.0]), var=np.array([4.0]))
    >>> affine(np.array([3.0]), np.array([1.0]), state, config)
    (array([1.5]), array([-2.]))
    """
    check_own((state, State), (config, Config))
    if config.layer_scaling:
        raise ValueError("layer_scaling is True, expected False: with it inference is no affine map of x")
    return batch_norm.affine(gamma, beta, batch_norm.State(state.mean, state.var), batch_norm.Config(eps=config.eps))


def infer(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> Array:
    """Normalise by the averages as they are, :eq:`bn-infer`, then :eq:`layer-scaling`.

    Parameters
    ----------
    x : array, shape (N, ..., C)
    gamma, beta, state, config
        As in `forward`.

    Returns
    -------
    z : array, shape (N, ..., C)

    Examples
    --------
    >>> config = Config(eps=0.0)
    >>> state = init(2, config, dtype=float)
    >>> infer(np.array([[3.0, 4.0]]), np.ones(2), np.zeros(2), state, config) * np.sqrt(12.5)
    array([[3., 4.]])
    """
    check_own((state, State), (config, Config))
    check_inputs(x, gamma, beta, None)
    check_state(state, "mean", (x.shape[-1],), x)
    check_state(state, "var", (x.shape[-1],), x)
    y = (x - state.mean) / namespace(x).sqrt(state.var + config.eps)  # eq: bn-infer
    return merge(_scaled(split(gamma * y + beta, 1), config)[0], x.shape)

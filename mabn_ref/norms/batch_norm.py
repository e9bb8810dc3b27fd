r"""Batch normalisation: equations (1) to (5).

Ioffe and Szegedy, "Batch Normalization", 2015; equations as numbered in Yan et al., ICLR 2020.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array, check_float_array, check_own, check_squares, copied, less, namespace, sums, total
from mabn_ref.norms.checks import (
    Shared,
    check_affine,
    check_at_least,
    check_decay,
    check_dz,
    check_inputs,
    check_shared,
    check_state,
    unwrap_numbers,
)
from mabn_ref.norms.micro_batches import merge, split
from mabn_ref.norms.moving import ema


@dataclass(frozen=True, kw_only=True)
class Config:
    r"""Hyper-parameters of batch normalisation.

    Parameters
    ----------
    eps : float
        Added to the variance inside the square root, once.
    norm_batch : int or None
        \|B\|, the number of samples that share statistics; None: all of a call.
    decay : float in [0, 1)
        The weight of the old value in the moving statistics (PyTorch's momentum is 1 - decay).

    Raises
    ------
    TypeError, ValueError
        If a value is not of the kind or in the range above.

    Examples
    --------
    >>> Config(norm_batch=2).decay
    0.9
    """

    eps: float = 1e-5
    norm_batch: int | None = None
    decay: float = 0.9

    def __post_init__(self) -> None:
        check_at_least("eps", self.eps, 0)
        if self.norm_batch is not None:
            check_at_least("norm_batch", self.norm_batch, 1, whole=True)
        check_decay("decay", self.decay)
        unwrap_numbers(self)


class State(NamedTuple):
    """Moving statistics, for inference: `mean` and (biased) `var`, each of shape (C,)."""

    mean: Array
    var: Array


class Cache(NamedTuple):
    """What backward needs, in the canonical form (G, M, C) of `split`."""

    y: Array
    """(G, M, C): the normalised values of :eq:`bn-normalise` (1)."""
    sigma: Array
    """(G, C): sqrt(var + eps)."""
    gamma: Array
    """(C,)."""
    shape: tuple[int, ...]
    """The shape of x."""
    config: Config


def init(channels: int, config: Config, *, dtype: Any, xp: Any = np) -> State:
    """Return the state before the first batch: mean 0, variance 1.

    Parameters
    ----------
    channels, config
        C, and the hyper-parameters.
    dtype, xp
        float32 or float64, and the array library that makes the arrays.

    Examples
    --------
    >>> init(2, Config(), dtype=np.float64)
    State(mean=array([0., 0.]), var=array([1., 1.]))
    """
    check_own((config, Config))
    check_at_least("channels", channels, 1, whole=True)
    mean = xp.zeros((channels,), dtype=dtype)
    check_float_array("the state", mean, real=True)
    return State(mean=mean, var=mean + 1)


def statistics(x: Array, config: Shared) -> tuple[Array, Array]:
    """Batch mean and biased batch variance of every normalisation batch: :eq:`bn-statistics` (2).

    Parameters
    ----------
    x : array, shape (N, ..., C), float32 or float64

    Returns
    -------
    mu, var : array, shape (G, C)

    Examples
    --------
    >>> statistics(np.array([[1.0], [3.0], [10.0], [30.0]]), Config(norm_batch=2))
    (array([[ 2.],
           [20.]]), array([[  1.],
           [100.]]))
    """
    check_shared(config)
    mu, var, _ = moments(split(x, config.norm_batch))
    return mu, var


def moments(x: Array, *, place: str = "channel") -> tuple[Array, Array, Array]:
    """Mean, variance and centred values of (G, M, C); two passes, since E[x^2] - E[x]^2 cancels.

    The mean is taken of the distances from one of the values, and subtracted from these: the rounding of a large mean
    is in `mu` alone, and values that are all alike are exactly 0 when centred.
    """
    start = one_of(x)
    centred = less(x, start)
    off = sums(centred) / x.shape[1]
    mu = start + off  # eq: bn-statistics (2)
    centred = less(centred, off)
    var = sums(centred * centred) / x.shape[1]  # eq: bn-statistics (2)
    check_squares("x", x, var, place=place)
    return mu, var, centred


def one_of(x: Array) -> Array:
    """One value (G, C) of (G, M, C): the second largest of the first, the middle and the last, lest it be far off."""
    xp, first, middle, last = namespace(x), x[:, 0, :], x[:, x.shape[1] // 2, :], x[:, -1, :]
    return xp.maximum(xp.minimum(first, last), xp.minimum(xp.maximum(first, last), middle))


def forward(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
    """Normalise by the batch's own mean and variance: :eq:`bn-normalise` (1), :eq:`affine` (3).

    Parameters
    ----------
    x : array, shape (N, ..., C), float32 or float64, channels last
    gamma, beta : array, shape (C,), of the dtype of `x`
    state : State
        The moving statistics, updated by :eq:`ema-forward` (12), once a normalisation batch.
    config : Config

    Returns
    -------
    z : array, shape (N, ..., C), of the dtype of `x`
    cache : Cache
    state : State
        The new moving statistics.

    Raises
    ------
    TypeError, ValueError
        If `state` or `config` is that of another normaliser. If an array is not plain, or not float32 or float64,
        dtypes differ, shapes do not fit, `norm_batch` does not
        divide N, or there is one value a channel.
    OverflowError
        If the squares of finite values of `x` sum up to more than its dtype holds.

    Examples
    --------
    >>> x, one, zero = np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1)
    >>> z, cache, state = forward(x, one, zero, init(1, Config(), dtype=x.dtype), Config(eps=0.0))
    >>> z.ravel(), state
    (array([-1.,  1.]), State(mean=array([0.2]), var=array([1.])))
    """
    check_own((state, State), (config, Config))
    check_inputs(x, gamma, beta, config.norm_batch, centred=True)
    check_state(state, "mean", (x.shape[-1],), x)
    check_state(state, "var", (x.shape[-1],), x)
    xp = namespace(x)
    mu, var, centred = moments(split(x, config.norm_batch))
    sigma = xp.sqrt(var + config.eps)
    y = centred / sigma[:, None, :]  # eq: bn-normalise (1)
    z = gamma * y + beta  # eq: affine (3)
    _, mean_after = ema(state.mean, mu, config.decay)  # eq: ema-forward (12)
    _, var_after = ema(state.var, var, config.decay)  # eq: ema-forward (12)
    cache = Cache(y, sigma, copied(gamma), tuple(x.shape), config)
    return merge(z, x.shape), cache, State(mean_after[-1, :], var_after[-1, :])


def gradient_statistics(dz: Array, cache: Cache) -> tuple[Array, Array]:
    """The two batch statistics of backward, g and Psi: :eq:`bn-gradient-statistics` (5).

    Parameters
    ----------
    dz : array, shape (N, ..., C)
        Gradient of the loss with respect to z.
    cache : Cache

    Returns
    -------
    g, psi : array, shape (G, C)
        Means over the normalisation batch of dy and of y * dy, with dy = gamma * dz.

    Examples
    --------
    >>> x, one, zero = np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1)
    >>> _, cache, _ = forward(x, one, zero, init(1, Config(), dtype=x.dtype), Config(eps=0.0))
    >>> gradient_statistics(np.array([[1.0], [2.0]]), cache)
    (array([[1.5]]), array([[0.5]]))
    """
    check_own((cache, Cache))
    check_dz(dz, cache.y, cache.shape)
    return gradient_means(split(dz, cache.config.norm_batch), cache.y, cache.gamma)[:2]


def gradient_means(dz: Array, y: Array, scale: Array) -> tuple[Array, Array, Array, Array]:
    """From dz and y, both (G, M, C): g and psi of dy = scale * dz, and the sums of dz and of y * dz; all (G, C)."""
    dz_sum, dzy_sum = sums(dz), sums(dz * y)
    g = scale * dz_sum / dz.shape[1]  # eq: bn-gradient-statistics (5), the scale being the same for the whole batch
    psi = scale * dzy_sum / dz.shape[1]  # eq: bn-gradient-statistics (5)
    return g, psi, dz_sum, dzy_sum


def backward(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """Gradients in closed form: :eq:`bn-backward` (4).

    Parameters
    ----------
    dz : array, shape (N, ..., C)
        Gradient of the loss with respect to z, of the dtype of the forward pass.
    cache : Cache
    state : State
        Returned as it is; MABN is the normaliser that updates its state here.

    Returns
    -------
    dx : array, shape (N, ..., C)
    dgamma, dbeta : array, shape (C,)
        Summed over all samples.
    state : State

    Raises
    ------
    TypeError, ValueError
        If `dz` is not of the shape and dtype of the forward pass, or `cache` or `state` is that of another
        normaliser.

    Examples
    --------
    A gradient that is the same for every sample is annihilated, which is why a check with ones proves nothing:

    >>> x, one, zero = np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1)
    >>> state = init(1, Config(), dtype=x.dtype)
    >>> _, cache, state = forward(x, one, zero, state, Config(eps=0.0))
    >>> backward(np.ones((2, 1)), cache, state)[0].ravel()
    array([0., 0.])
    """
    check_own((cache, Cache), (state, State))
    check_dz(dz, cache.y, cache.shape)
    y, sigma, gamma, shape, config = cache
    dz = split(dz, config.norm_batch)
    g, psi, dz_sum, dzy_sum = gradient_means(dz, y, gamma)
    dbeta = total(dz_sum)  # eq: affine-backward
    dgamma = total(dzy_sum)  # eq: affine-backward
    dy = dz * gamma
    dx = (dy - g[:, None, :] - y * psi[:, None, :]) / sigma[:, None, :]  # eq: bn-backward (4)
    return merge(dx, shape), dgamma, dbeta, state


def backward_graph(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """The same gradients, step by step back through the computation graph: :eq:`bn-graph`.

    Takes and returns what `backward` does, equal to rounding.

    Examples
    --------
    >>> x, one, zero = np.array([[1.0], [3.0], [5.0]]), np.ones(1), np.zeros(1)
    >>> state = init(1, Config(), dtype=x.dtype)
    >>> _, cache, state = forward(x, one, zero, state, Config())
    >>> dz = np.array([[1.0], [0.0], [0.0]])
    >>> bool(np.allclose(backward(dz, cache, state)[0], backward_graph(dz, cache, state)[0]))
    True
    """
    check_own((cache, Cache), (state, State))
    check_dz(dz, cache.y, cache.shape)
    y, sigma, gamma, shape, config = cache
    dz = split(dz, config.norm_batch)
    values, sigma = dz.shape[1], sigma[:, None, :]
    centred = y * sigma
    # z = gamma * y + beta
    dbeta = total(dz)  # eq: affine-backward
    dgamma = total(dz * y)  # eq: affine-backward
    dy = dz * gamma  # eq: bn-graph
    # y = centred / sigma
    dcentred = dy / sigma  # eq: bn-graph
    dsigma = -sums(dy * centred)[:, None, :] / sigma**2  # eq: bn-graph
    # sigma = sqrt(var + eps)
    dvar = dsigma / (2 * sigma)  # eq: bn-graph
    # var = mean of centred^2
    dcentred = dcentred + 2 * centred * dvar / values  # eq: bn-graph
    # centred = x - mu, and mu = mean of x
    dmu = -sums(dcentred)[:, None, :]  # eq: bn-graph
    dx = dcentred + dmu / values  # eq: bn-graph
    return merge(dx, shape), dgamma, dbeta, state


def affine(gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Array]:
    """Inference as one map a channel, ``z = scale * x + shift``, to be folded: :eq:`bn-infer`, :eq:`fold`.

    Returns
    -------
    scale, shift : array, shape (C,)

    Examples
    --------
    >>> state = State(mean=np.array([2.0]), var=np.array([4.0]))
    >>> affine(np.array([3.0]), np.array([1.0]), state, Config(eps=0.0))
    (array([1.5]), array([-2.]))
    """
    check_own((state, State), (config, Config))
    check_affine(gamma, beta, state, "mean", "var")
    scale = gamma / namespace(gamma).sqrt(state.var + config.eps)  # eq: bn-infer
    return scale, beta - scale * state.mean  # eq: bn-infer


def infer(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> Array:
    """Normalise by the moving statistics: :eq:`bn-infer`, the stand-in for :eq:`population` (6).

    Parameters
    ----------
    x : array, shape (N, ..., C)
        N need not be a multiple of `norm_batch`.
    gamma, beta, state, config
        As in `forward`.

    Returns
    -------
    z : array, shape (N, ..., C)

    Examples
    --------
    >>> state = State(mean=np.array([2.0]), var=np.array([4.0]))
    >>> infer(np.array([[4.0]]), np.ones(1), np.zeros(1), state, Config(eps=0.0))
    array([[1.]])
    """
    check_own((state, State), (config, Config))
    check_inputs(x, gamma, beta, None)
    check_affine(gamma, beta, state, "mean", "var")
    y = (x - state.mean) / namespace(x).sqrt(state.var + config.eps)  # eq: bn-infer
    return gamma * y + beta  # eq: affine (3)

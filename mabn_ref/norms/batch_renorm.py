r"""Batch Renormalization: equation (14).

Ioffe, "Batch Renormalization", 2017; equations as numbered in Yan et al., ICLR 2020. Training normalises, up to a
clip, by the moving statistics. The corrections r and d that do it count as constants in backward, so **backward is
not the derivative of forward**: hold r and d of the cache fixed, and it is. Batch statistics and inference are batch
norm's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array, check_float_array, check_own, copied, like, namespace, sums, total
from mabn_ref.norms import batch_norm
from mabn_ref.norms.batch_norm import gradient_means, moments
from mabn_ref.norms.batch_norm import statistics as statistics
from mabn_ref.norms.checks import (
    check_at_least,
    check_choice,
    check_decay,
    check_dz,
    check_inputs,
    check_order,
    check_state,
    unwrap_numbers,
)
from mabn_ref.norms.micro_batches import merge, split
from mabn_ref.norms.moving import ema


@dataclass(frozen=True, kw_only=True)
class Ramp:
    """A bound that is `first` up to iteration `start`, `last` from iteration `stop` on, and linear between.

    Parameters
    ----------
    start, stop : int
        Iterations, that is normalisation batches counted from 1.
    first, last : float
        The bound before and after.

    Raises
    ------
    TypeError, ValueError
        If start > stop or a value is not a finite number of at least 0.

    Examples
    --------
    >>> Ramp(start=100, stop=200, first=1.0, last=3.0).at(150)
    2.0
    """

    start: int
    stop: int
    first: float
    last: float

    def __post_init__(self) -> None:
        check_at_least("start", self.start, 0, whole=True)
        check_at_least("stop", self.stop, self.start, whole=True)
        check_at_least("first", self.first, 0)
        check_at_least("last", self.last, 0)
        unwrap_numbers(self)

    def at(self, iteration: int) -> float:
        """Return the bound in force at `iteration`."""
        if iteration >= self.stop:
            return self.last
        if iteration <= self.start:
            return self.first
        done = (iteration - self.start) / (self.stop - self.start)
        return self.first + done * (self.last - self.first)


@dataclass(frozen=True, kw_only=True)
class Config:
    r"""Hyper-parameters of Batch Renormalization; the defaults are Ioffe's.

    Parameters
    ----------
    eps : float
        Added to the variance inside the square root, once.
    norm_batch : int or None
        \|B\|, the number of samples that share statistics; None: all of a call.
    decay : float in [0, 1)
        The weight of the old value in the moving statistics.
    r_max : float or Ramp
        r is clipped to [1 / r_max, r_max]; at least 1.
    d_max : float or Ramp
        d is clipped to [-d_max, d_max]; at least 0.
    ema_of : "sigma" or "var"
        What is averaged: sqrt(var + eps), as Ioffe does, or the variance, as :eq:`ema-forward` (12) does.

    Raises
    ------
    TypeError, ValueError
        If a value is not of the kind or in the range above.

    Examples
    --------
    With these bounds it is batch normalisation:

    >>> Config(r_max=1.0, d_max=0.0).ema_of
    'sigma'
    """

    eps: float = 1e-5
    norm_batch: int | None = None
    decay: float = 0.99
    r_max: float | Ramp = Ramp(start=5_000, stop=40_000, first=1.0, last=3.0)
    d_max: float | Ramp = Ramp(start=5_000, stop=25_000, first=0.0, last=5.0)
    ema_of: str = "sigma"

    def __post_init__(self) -> None:
        check_at_least("eps", self.eps, 0)
        if self.norm_batch is not None:
            check_at_least("norm_batch", self.norm_batch, 1, whole=True)
        check_decay("decay", self.decay)
        for name, bound, lowest in (("r_max", self.r_max, 1), ("d_max", self.d_max, 0)):
            for value in (bound.first, bound.last) if isinstance(bound, Ramp) else (bound,):
                check_at_least(name, value, lowest)
        check_choice("ema_of", self.ema_of, ("sigma", "var"))
        unwrap_numbers(self)


class State(NamedTuple):
    """Moving statistics and the count of normalisation batches."""

    mean: Array
    """(C,)."""
    var: Array
    """(C,): the moving sigma is sqrt(var + eps). With ``ema_of="sigma"`` that is the average of sigma, and `var` is
    its square less eps: not the average of the variance, and rounded where it is far below eps."""
    iteration: int
    """Normalisation batches so far."""


class Cache(NamedTuple):
    """What backward needs, in the canonical form (G, M, C) of `split`."""

    y: Array
    """(G, M, C): (x - mu) / sigma, the values before r and d."""
    sigma: Array
    """(G, C): sqrt(var + eps)."""
    r: Array
    """(G, C): the clipped ratio of batch sigma to moving sigma."""
    d: Array
    """(G, C): the clipped shift, in units of the moving sigma."""
    gamma: Array
    """(C,)."""
    iteration: int
    """Iterations before this call."""
    shape: tuple[int, ...]
    """The shape of x."""
    config: Config


def init(channels: int, config: Config, *, dtype: Any, xp: Any = np) -> State:
    """Return the state before the first batch: mean 0, variance 1, iteration 0.

    Parameters
    ----------
    channels, config
        C, and the hyper-parameters.
    dtype, xp
        float32 or float64, and the array library that makes the arrays.

    Examples
    --------
    >>> init(2, Config(), dtype=np.float64)
    State(mean=array([0., 0.]), var=array([1., 1.]), iteration=0)
    """
    check_own((config, Config))
    check_at_least("channels", channels, 1, whole=True)
    mean = xp.zeros((channels,), dtype=dtype)
    check_float_array("the state", mean, real=True)
    return State(mean=mean, var=mean + 1, iteration=0)


def forward(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
    """Normalise by the batch, then correct by r and d: :eq:`brn-forward` (14), :eq:`brn-corrections` (14).

    Parameters
    ----------
    x : array, shape (N, ..., C), float32 or float64, channels last
    gamma, beta : array, shape (C,), of the dtype of `x`
    state : State
        The moving statistics, read for r and d, then updated, once a normalisation batch.
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
    Within its bounds it normalises by the moving statistics:

    >>> x, one, zero = np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1)
    >>> state = State(mean=np.array([1.5]), var=np.array([4.0]), iteration=0)
    >>> z, cache, state = forward(x, one, zero, state, Config(eps=0.0, r_max=3.0, d_max=5.0))
    >>> z.ravel()
    array([-0.25,  0.75])
    """
    check_own((state, State), (config, Config))
    check_inputs(x, gamma, beta, config.norm_batch, centred=True)
    check_state(state, "mean", (x.shape[-1],), x)
    check_state(state, "var", (x.shape[-1],), x)
    xp = namespace(x)
    mu, var, centred = moments(split(x, config.norm_batch))
    sigma = xp.sqrt(var + config.eps)
    mean_before, mean_after = ema(state.mean, mu, config.decay)  # eq: ema-forward (12)
    if config.ema_of == "sigma":
        sigma_before, sigma_after = ema(xp.sqrt(state.var + config.eps), sigma, config.decay)
        var_now = sigma_after[-1, :] ** 2 - config.eps
    else:
        var_before, var_after = ema(state.var, var, config.decay)  # eq: ema-forward (12)
        sigma_before, var_now = xp.sqrt(var_before + config.eps), var_after[-1, :]
    groups = mu.shape[0]
    r_max, d_max = (_bound(b, mu, state.iteration) for b in (config.r_max, config.d_max))
    r = xp.clip(sigma / sigma_before, 1 / r_max, r_max)  # eq: brn-corrections (14)
    d = xp.clip((mu - mean_before) / sigma_before, -d_max, d_max)  # eq: brn-corrections (14)
    y = centred / sigma[:, None, :]  # eq: bn-normalise (1)
    scale, shift = gamma * r, gamma * d + beta  # of (G, C): z = gamma * (r * y + d) + beta in half the passes over y
    z = scale[:, None, :] * y + shift[:, None, :]  # eq: brn-forward (14)
    cache = Cache(y, sigma, r, d, copied(gamma), state.iteration, tuple(x.shape), config)
    return merge(z, x.shape), cache, State(mean_after[-1, :], var_now, state.iteration + groups)


def _bound(bound: float | Ramp, mu: Array, iteration: int) -> Any:
    """The bound of each of a call's normalisation batches: a number, or (G, 1) on a ramp."""
    if not isinstance(bound, Ramp):
        return float(bound)
    values = [bound.at(iteration + 1 + g) for g in range(mu.shape[0])]
    return values[0] if values[0] == values[-1] else like(mu, values)[:, None]


def gradient_statistics(dz: Array, cache: Cache) -> tuple[Array, Array]:
    """The two batch statistics of backward, g and Psi: :eq:`bn-gradient-statistics` (5) with dy = gamma * r * dz.

    Parameters
    ----------
    dz : array, shape (N, ..., C)
        Gradient of the loss with respect to z.
    cache : Cache

    Returns
    -------
    g, psi : array, shape (G, C)
        Means over the normalisation batch of dy and of y * dy.

    Examples
    --------
    >>> x, one, zero = np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1)
    >>> config = Config(eps=0.0, r_max=1.0, d_max=0.0)
    >>> _, cache, _ = forward(x, one, zero, init(1, config, dtype=x.dtype), config)
    >>> gradient_statistics(np.array([[1.0], [2.0]]), cache)
    (array([[1.5]]), array([[0.5]]))
    """
    check_own((cache, Cache))
    check_dz(dz, cache.y, cache.shape)
    return gradient_means(split(dz, cache.config.norm_batch), cache.y, cache.gamma * cache.r)[:2]


def backward(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """Gradients in closed form, r and d held constant: :eq:`brn-backward`.

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
        Gradient with respect to x; not the derivative of `forward`, whose r and d depend on x.
    dgamma, dbeta : array, shape (C,)
        Summed over all samples.
    state : State
        `state`.

    Raises
    ------
    TypeError, ValueError
        If `dz` is not of the shape and dtype of the forward pass, `cache` or `state` is that of another normaliser,
        or `state` is from before the forward pass.

    Examples
    --------
    >>> x, one, zero = np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1)
    >>> config = Config(eps=0.0, r_max=3.0, d_max=5.0)
    >>> state = State(mean=np.array([1.5]), var=np.array([4.0]), iteration=0)
    >>> _, cache, state = forward(x, one, zero, state, config)
    >>> [a.item() for a in backward(np.array([[1.0], [0.0]]), cache, state)[1:3]]
    [-0.25, 1.0]
    """
    check_own((cache, Cache), (state, State))
    check_dz(dz, cache.y, cache.shape)
    y, sigma, r, d, gamma, iteration, shape, config = cache
    check_order(state, iteration, r.shape[0], counts_backward=False)
    dz = split(dz, config.norm_batch)
    g, psi, dz_sum, dzy_sum = gradient_means(dz, y, gamma * r)
    dbeta = total(dz_sum)  # eq: affine-backward
    dgamma = total(r * dzy_sum + d * dz_sum)  # eq: brn-backward
    dy = dz * (gamma * r)[:, None, :]
    dx = (dy - g[:, None, :] - y * psi[:, None, :]) / sigma[:, None, :]  # eq: brn-backward
    return merge(dx, shape), dgamma, dbeta, state


def backward_graph(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """The same gradients, step by step back through the graph, which is cut at r and d: :eq:`brn-graph`.

    Takes and returns what `backward` does, equal to rounding.

    Examples
    --------
    >>> x, one, zero = np.array([[1.0], [3.0], [5.0]]), np.ones(1), np.zeros(1)
    >>> config = Config(r_max=3.0, d_max=5.0)
    >>> _, cache, state = forward(x, one, zero, init(1, config, dtype=x.dtype), config)
    >>> dz = np.array([[1.0], [0.0], [0.0]])
    >>> bool(np.allclose(backward(dz, cache, state)[0], backward_graph(dz, cache, state)[0]))
    True
    """
    check_own((cache, Cache), (state, State))
    check_dz(dz, cache.y, cache.shape)
    y, sigma, r, d, gamma, iteration, shape, config = cache
    check_order(state, iteration, r.shape[0], counts_backward=False)
    dz = split(dz, config.norm_batch)
    values, sigma, r, d = dz.shape[1], sigma[:, None, :], r[:, None, :], d[:, None, :]
    centred = y * sigma
    # z = gamma * (r * y + d) + beta
    dbeta = total(dz)  # eq: affine-backward
    dgamma = total(dz * (r * y + d))  # eq: brn-graph
    dy = dz * gamma * r  # eq: brn-graph
    # y = centred / sigma
    dcentred = dy / sigma  # eq: brn-graph
    dsigma = -sums(dy * centred)[:, None, :] / sigma**2  # eq: brn-graph
    # sigma = sqrt(var + eps)
    dvar = dsigma / (2 * sigma)  # eq: brn-graph
    # var = mean of centred^2
    dcentred = dcentred + 2 * centred * dvar / values  # eq: brn-graph
    # centred = x - mu, and mu = mean of x
    dmu = -sums(dcentred)[:, None, :]  # eq: brn-graph
    dx = dcentred + dmu / values  # eq: brn-graph
    return merge(dx, shape), dgamma, dbeta, state


def affine(gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Array]:
    """Inference as one map a channel: takes and returns what `mabn_ref.norms.batch_norm.affine` does.

    Examples
    --------
    >>> state = State(mean=np.array([2.0]), var=np.array([4.0]), iteration=1)
    >>> affine(np.array([3.0]), np.array([1.0]), state, Config(eps=0.0))
    (array([1.5]), array([-2.]))
    """
    check_own((state, State), (config, Config))
    return batch_norm.affine(gamma, beta, *_moving(state, config))


def infer(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> Array:
    """Normalise by the moving statistics: takes and returns what `mabn_ref.norms.batch_norm.infer` does.

    Examples
    --------
    >>> state = State(mean=np.array([2.0]), var=np.array([4.0]), iteration=1)
    >>> infer(np.array([[4.0]]), np.ones(1), np.zeros(1), state, Config(eps=0.0))
    array([[1.]])
    """
    check_own((state, State), (config, Config))
    return batch_norm.infer(x, gamma, beta, *_moving(state, config))


def _moving(state: State, config: Config) -> tuple[batch_norm.State, batch_norm.Config]:
    """What inference reads, as batch normalisation has it."""
    return batch_norm.State(state.mean, state.var), batch_norm.Config(eps=config.eps)

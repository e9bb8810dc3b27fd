r"""Modified batch normalisation, which divides by the root mean square alone: equations (15) and (16).

Yan et al., ICLR 2020, section 4.2. Dropping the mean leaves one batch statistic in each direction, chi^2 and Psi; the
weights before it are to be centralised (`mabn_ref.nn.centralize`) so that the mean is small.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array, check_float_array, check_own, check_squares, copied, namespace, sums, total
from mabn_ref.norms import batch_norm
from mabn_ref.norms.batch_norm import gradient_means
from mabn_ref.norms.checks import (
    Shared,
    check_affine,
    check_at_least,
    check_dz,
    check_inputs,
    check_shared,
    check_state,
)
from mabn_ref.norms.micro_batches import merge, split
from mabn_ref.norms.moving import ema


@dataclass(frozen=True, kw_only=True)
class Config(batch_norm.Config):
    """Hyper-parameters of modified batch normalisation: those of `mabn_ref.norms.batch_norm.Config`."""


class State(NamedTuple):
    """Moving mean square `chi2`, for inference, of shape (C,)."""

    chi2: Array


class Cache(NamedTuple):
    """What backward needs, in the canonical form (G, M, C) of `split`."""

    y: Array
    """(G, M, C): the normalised values of :eq:`modified-normalise` (15)."""
    chi: Array
    """(G, C): sqrt(chi2 + eps)."""
    gamma: Array
    """(C,)."""
    shape: tuple[int, ...]
    """The shape of x."""
    config: Config


def init(channels: int, config: Config, *, dtype: Any, xp: Any = np) -> State:
    """Return the state before the first batch: mean square 1.

    Parameters
    ----------
    channels, config
        C, and the hyper-parameters.
    dtype, xp
        float32 or float64, and the array library that makes the arrays.

    Examples
    --------
    >>> init(2, Config(), dtype=np.float64)
    State(chi2=array([1., 1.]))
    """
    check_own((config, Config))
    check_at_least("channels", channels, 1, whole=True)
    chi2 = xp.ones((channels,), dtype=dtype)
    check_float_array("the state", chi2, real=True)
    return State(chi2)


def statistics(x: Array, config: Shared) -> Array:
    """Batch mean square of every normalisation batch: :eq:`modified-statistics` (15).

    Parameters
    ----------
    x : array, shape (N, ..., C), float32 or float64

    Returns
    -------
    chi2 : array, shape (G, C)

    Examples
    --------
    >>> statistics(np.array([[1.0], [7.0]]), Config())
    array([[25.]])
    """
    check_shared(config)
    return mean_square(split(x, config.norm_batch))


def mean_square(x: Array) -> Array:
    """Mean square (G, C) of the canonical form (G, M, C)."""
    chi2 = sums(x * x) / x.shape[1]  # eq: modified-statistics (15)
    check_squares("x", x, chi2)
    return chi2


def forward(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
    """Divide by the batch's own root mean square: :eq:`modified-normalise` (15), :eq:`affine` (3).

    Parameters
    ----------
    x : array, shape (N, ..., C), float32 or float64, channels last
    gamma, beta : array, shape (C,), of the dtype of `x`
    state : State
        The moving mean square, updated by :eq:`ema-forward` (12), once a normalisation batch.
    config : Config

    Returns
    -------
    z : array, shape (N, ..., C), of the dtype of `x`
    cache : Cache
    state : State
        The new moving mean square.

    Raises
    ------
    TypeError, ValueError
        If `state` or `config` is that of another normaliser. If an array is not plain, or not float32 or float64,
        dtypes differ, shapes do not fit, or `norm_batch` does not divide N.
    OverflowError
        If the squares of finite values of `x` sum up to more than its dtype holds.

    Examples
    --------
    >>> x, one, zero = np.array([[1.0], [7.0]]), np.ones(1), np.zeros(1)
    >>> z, cache, state = forward(x, one, zero, init(1, Config(), dtype=x.dtype), Config(eps=0.0))
    >>> z.ravel(), state
    (array([0.2, 1.4]), State(chi2=array([3.4])))
    """
    check_own((state, State), (config, Config))
    check_inputs(x, gamma, beta, config.norm_batch)
    check_state(state, "chi2", (x.shape[-1],), x)
    xs = split(x, config.norm_batch)
    chi2 = mean_square(xs)
    chi = namespace(x).sqrt(chi2 + config.eps)
    y = xs / chi[:, None, :]  # eq: modified-normalise (15)
    z = gamma * y + beta  # eq: affine (3)
    _, after = ema(state.chi2, chi2, config.decay)  # eq: ema-forward (12)
    return merge(z, x.shape), Cache(y, chi, copied(gamma), tuple(x.shape), config), State(after[-1, :])


def gradient_statistics(dz: Array, cache: Cache) -> tuple[Array, Array]:
    """The batch statistics g and Psi: :eq:`bn-gradient-statistics` (5); the backward pass uses Psi alone.

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
    >>> x, one, zero = np.array([[1.0], [7.0]]), np.ones(1), np.zeros(1)
    >>> _, cache, _ = forward(x, one, zero, init(1, Config(), dtype=x.dtype), Config(eps=0.0))
    >>> gradient_statistics(np.array([[5.0], [15.0]]), cache)
    (array([[10.]]), array([[11.]]))
    """
    check_own((cache, Cache))
    check_dz(dz, cache.y, cache.shape)
    return gradient_means(split(dz, cache.config.norm_batch), cache.y, cache.gamma)[:2]


def backward(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """Gradients in closed form: :eq:`modified-backward` (16).

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
    A gradient along y is annihilated, since stretching x does not change y:

    >>> x, one, zero = np.array([[1.0], [7.0]]), np.ones(1), np.zeros(1)
    >>> state = init(1, Config(), dtype=x.dtype)
    >>> z, cache, state = forward(x, one, zero, state, Config(eps=0.0))
    >>> bool(np.allclose(backward(z, cache, state)[0], 0))
    True
    """
    check_own((cache, Cache), (state, State))
    check_dz(dz, cache.y, cache.shape)
    y, chi, gamma, shape, config = cache
    dz = split(dz, config.norm_batch)
    _, psi, dz_sum, dzy_sum = gradient_means(dz, y, gamma)
    dbeta = total(dz_sum)  # eq: affine-backward
    dgamma = total(dzy_sum)  # eq: affine-backward
    dy = dz * gamma
    dx = (dy - y * psi[:, None, :]) / chi[:, None, :]  # eq: modified-backward (16)
    return merge(dx, shape), dgamma, dbeta, state


def backward_graph(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """The same gradients, step by step back through the computation graph: :eq:`modified-graph`.

    Takes and returns what `backward` does, equal to rounding.

    Examples
    --------
    >>> x, one, zero = np.array([[1.0], [7.0]]), np.ones(1), np.zeros(1)
    >>> state = init(1, Config(), dtype=x.dtype)
    >>> _, cache, state = forward(x, one, zero, state, Config())
    >>> dz = np.array([[1.0], [0.0]])
    >>> bool(np.allclose(backward(dz, cache, state)[0], backward_graph(dz, cache, state)[0]))
    True
    """
    check_own((cache, Cache), (state, State))
    check_dz(dz, cache.y, cache.shape)
    y, chi, gamma, shape, config = cache
    dz = split(dz, config.norm_batch)
    values, chi = dz.shape[1], chi[:, None, :]
    x = y * chi
    # z = gamma * y + beta
    dbeta = total(dz)  # eq: affine-backward
    dgamma = total(dz * y)  # eq: affine-backward
    dy = dz * gamma  # eq: modified-graph
    # y = x / chi
    dx = dy / chi  # eq: modified-graph
    dchi = -sums(dy * x)[:, None, :] / chi**2  # eq: modified-graph
    # chi = sqrt(chi2 + eps)
    dchi2 = dchi / (2 * chi)  # eq: modified-graph
    # chi2 = mean of x^2
    dx = dx + 2 * x * dchi2 / values  # eq: modified-graph
    return merge(dx, shape), dgamma, dbeta, state


def affine(gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Array]:
    """Inference as one map a channel, ``z = scale * x + shift``, to be folded: :eq:`modified-infer`, :eq:`fold`.

    Returns
    -------
    scale, shift : array, shape (C,)

    Examples
    --------
    >>> affine(np.array([3.0]), np.array([1.0]), State(chi2=np.array([4.0])), Config(eps=0.0))
    (array([1.5]), array([1.]))
    """
    check_own((state, State), (config, Config))
    check_affine(gamma, beta, state, "chi2")
    scale = gamma / namespace(gamma).sqrt(state.chi2 + config.eps)  # eq: modified-infer
    return scale, beta


def infer(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> Array:
    """Divide by the moving root mean square: :eq:`modified-infer`.

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
    >>> infer(np.array([[4.0]]), np.ones(1), np.zeros(1), State(chi2=np.array([4.0])), Config(eps=0.0))
    array([[2.]])
    """
    check_own((state, State), (config, Config))
    check_inputs(x, gamma, beta, None)
    check_affine(gamma, beta, state, "chi2")
    y = x / namespace(x).sqrt(state.chi2 + config.eps)  # eq: modified-infer
    return gamma * y + beta  # eq: affine (3)

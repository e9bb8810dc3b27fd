r"""Synchronised batch normalisation: equations (1) to (5), the batch spread over several workers.

Peng et al., "MegDet: A Large Mini-Batch Object Detector", 2018. Every rank holds a part of the batch; sums over
ranks, two in forward and one in backward, make the statistics those of the whole. `mabn_ref.norms.batch_norm` on the
union gives the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import (
    Array,
    check_float_array,
    check_own,
    check_squares,
    copied,
    less,
    like,
    namespace,
    sums,
    total,
)
from mabn_ref.norms import batch_norm
from mabn_ref.norms.batch_norm import one_of
from mabn_ref.norms.checks import check_at_least, check_decay, check_dz, check_inputs, check_state, unwrap_numbers
from mabn_ref.norms.communicators import Alone, Communicator
from mabn_ref.norms.micro_batches import merge, split
from mabn_ref.norms.moving import ema


@dataclass(frozen=True, kw_only=True)
class Config:
    r"""Hyper-parameters of synchronised batch normalisation.

    Parameters
    ----------
    eps : float
        Added to the variance inside the square root, once.
    norm_batch : int or None
        The number of **this rank's** samples that share statistics, with as many groups on every rank; None: all of a
        call, however many each rank has. \|B\| is their sum over the ranks.
    decay : float in [0, 1)
        The weight of the old value in the moving statistics.
    communicator : object with ``allreduce(value)``
        Adds arrays up over the ranks: ``MPI.COMM_WORLD`` of mpi4py, or one of `mabn_ref.norms.communicators`. The
        default is a single rank, which makes this plain batch normalisation.

    Raises
    ------
    TypeError, ValueError
        If a value is not of the kind or in the range above, or `communicator` has no ``allreduce``.

    Examples
    --------
    >>> Config(norm_batch=2).communicator.size
    1
    """

    eps: float = 1e-5
    norm_batch: int | None = None
    decay: float = 0.9
    communicator: Communicator = field(default_factory=Alone)

    def __post_init__(self) -> None:
        check_at_least("eps", self.eps, 0)
        if self.norm_batch is not None:
            check_at_least("norm_batch", self.norm_batch, 1, whole=True)
        check_decay("decay", self.decay)
        if not callable(getattr(self.communicator, "allreduce", None)):
            raise TypeError(
                f"communicator is {self.communicator!r}, which has no allreduce; expected an object whose "
                "allreduce(value) returns the sum over all ranks, such as MPI.COMM_WORLD of mpi4py"
            )
        unwrap_numbers(self)


class State(NamedTuple):
    """Moving statistics, for inference: `mean` and (biased) `var`, each of shape (C,)."""

    mean: Array
    var: Array


class Cache(NamedTuple):
    """What backward needs of this rank's part, in the canonical form (G, M, C) of `split`."""

    y: Array
    """(G, M, C): this rank's normalised values of (1)."""
    sigma: Array
    """(G, C): sqrt(var + eps) of the whole batch, the same on every rank."""
    values: float
    """Values a channel in one normalisation batch, over all ranks."""
    gamma: Array
    """(C,)."""
    shape: tuple[int, ...]
    """The shape of this rank's x."""
    config: Config


def init(channels: int, config: Config, *, dtype: Any, xp: Any = np) -> State:
    """Return the state before the first batch: takes what `mabn_ref.norms.batch_norm.init` does.

    Examples
    --------
    >>> init(2, Config(), dtype=np.float64)
    State(mean=array([0., 0.]), var=array([1., 1.]))
    """
    check_own((config, Config))
    return State(*batch_norm.init(channels, batch_norm.Config(), dtype=dtype, xp=xp))


def statistics(x: Array, config: Config) -> tuple[Array, Array]:
    """Mean and biased variance over all ranks: :eq:`sync-mean`, :eq:`sync-variance`. All ranks call it.

    Parameters
    ----------
    x : array, shape (N, ..., C), float32 or float64
        This rank's part.

    Returns
    -------
    mu, var : array, shape (G, C)
        The same on every rank.

    Examples
    --------
    >>> from mabn_ref.norms.communicators import run
    >>> parts = [np.array([[1.0]]), np.array([[3.0], [8.0]])]
    >>> run(2, lambda ranks: statistics(parts[ranks.rank], Config(communicator=ranks))[0].item())
    [4.0, 4.0]
    """
    check_own((config, Config))
    mu, var, _, _ = _moments(split(x, config.norm_batch), config)
    return mu, var


def _moments(x: Array, config: Config) -> tuple[Array, Array, Array, float]:
    """Mean, variance, this rank's centred values of (G, M, C), and the values a channel over all ranks."""
    ranks, values = _agreed(x, config)
    start = _near_all(one_of(x), ranks, config)
    centred = less(x, start)
    off = _summed(sums(centred), config) / values
    mu = start + off  # eq: sync-mean
    centred = less(centred, off)
    var = _summed(sums(centred * centred), config) / values  # eq: sync-variance
    if bool(namespace(x).all(var == var)):  # a NaN may be another rank's
        check_squares("x", x, var)
    return mu, var, centred, values


def _near_all(value: Array, ranks: float, config: Config) -> Array:
    """The mean over ranks of a value of each, which is exactly that value if it is the same on all of them.

    The second round takes out the rounding of the first.
    """
    mean = _summed(value, config) / ranks
    return mean + _summed(value - mean, config) / ranks


def _agreed(x: Array, config: Config) -> tuple[float, float]:
    """How many ranks, and how many values a channel of a batch over all of them, if they agree on everything else.

    What is added up here is of one size on every rank, so that ranks which disagree all find out, and none waits for
    an array that never comes. A number is the same on all ranks if the square of its sum is the sum of its squares
    times the number of ranks.
    """
    groups, values, channels = x.shape
    mine = like(x, [1, values, groups, groups**2, channels, channels**2], namespace(x).float64)
    added_up = _summed(mine, config)
    ranks, values_sum, group_sum, group_squares, channel_sum, channel_squares = (float(added_up[i]) for i in range(6))
    for what, own, added, squares in (
        ("channels", channels, channel_sum, channel_squares),
        ("normalisation batches in x", groups, group_sum, group_squares),
    ):
        if added * added != ranks * squares:
            raise ValueError(
                f"ranks differ in {what}: this one has {own}, the mean over {ranks:g} ranks is {added / ranks:g}"
            )
    if values_sum == 1:
        raise ValueError("one value a channel over all ranks: its variance is 0 by construction; expected at least 2")
    return ranks, values_sum


def _summed(value: Array, config: Config) -> Array:
    """The sum over all ranks, of the dtype that this rank has."""
    added_up = config.communicator.allreduce(value)
    check_float_array("the sum over all ranks", added_up, like=value, like_name="this rank's x")
    return added_up


def forward(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
    """Normalise by mean and variance of the whole batch: :eq:`bn-normalise` (1), :eq:`affine` (3). All ranks call it.

    Parameters
    ----------
    x : array, shape (N, ..., C), float32 or float64, channels last
        This rank's part. N and the axes between may differ from rank to rank, C may not.
    gamma, beta : array, shape (C,), of the dtype of `x`
        The same on every rank.
    state : State
        The moving statistics, the same on every rank, updated by :eq:`ema-forward` (12).
    config : Config

    Returns
    -------
    z : array, shape (N, ..., C), of the dtype of `x`
    cache : Cache
    state : State
        The new moving statistics, the same on every rank.

    Raises
    ------
    TypeError, ValueError
        If `state` or `config` is that of another normaliser. If an array is not plain, or not float32 or float64,
        dtypes differ, shapes do not fit, `norm_batch` does not divide N, ranks
        differ in their channels, groups or dtypes, or there is one value a channel over all ranks. The other ranks
        may be left waiting: see `mabn_ref.norms.communicators.run` and `mabn_ref.train.mpi.world`.
    OverflowError
        If the squares of finite values of `x` sum up to more than its dtype holds.

    Examples
    --------
    Two ranks with one sample each, 1 and 3; a rank alone would have nothing to divide by:

    >>> from mabn_ref.norms.communicators import run
    >>> def work(ranks):
    ...     x, config = np.array([[1.0 + 2.0 * ranks.rank]]), Config(eps=0.0, communicator=ranks)
    ...     return forward(x, np.ones(1), np.zeros(1), init(1, config, dtype=x.dtype), config)[0].item()
    >>> run(2, work)
    [-1.0, 1.0]
    """
    check_own((state, State), (config, Config))
    check_inputs(x, gamma, beta, config.norm_batch)
    check_state(state, "mean", (x.shape[-1],), x)
    check_state(state, "var", (x.shape[-1],), x)
    mu, var, centred, values = _moments(split(x, config.norm_batch), config)
    sigma = namespace(x).sqrt(var + config.eps)
    y = centred / sigma[:, None, :]  # eq: bn-normalise (1)
    z = gamma * y + beta  # eq: affine (3)
    _, mean_after = ema(state.mean, mu, config.decay)  # eq: ema-forward (12)
    _, var_after = ema(state.var, var, config.decay)  # eq: ema-forward (12)
    cache = Cache(y, sigma, values, copied(gamma), tuple(x.shape), config)
    return merge(z, x.shape), cache, State(mean_after[-1, :], var_after[-1, :])


def gradient_statistics(dz: Array, cache: Cache) -> tuple[Array, Array]:
    """The two statistics of backward, over all ranks: :eq:`sync-gradient-statistics`. All ranks call it.

    Parameters
    ----------
    dz : array, shape (N, ..., C)
        Gradient of the loss, summed over ranks, with respect to this rank's z.
    cache : Cache

    Returns
    -------
    g, psi : array, shape (G, C)
        The same on every rank.

    Examples
    --------
    >>> x, one, zero, config = np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1), Config(eps=0.0)
    >>> _, cache, _ = forward(x, one, zero, init(1, config, dtype=x.dtype), config)
    >>> gradient_statistics(np.array([[1.0], [2.0]]), cache)
    (array([[1.5]]), array([[0.5]]))
    """
    check_own((cache, Cache))
    check_dz(dz, cache.y, cache.shape)
    return _gradient_means(split(dz, cache.config.norm_batch), cache)[:2]


def _gradient_means(dz: Array, cache: Cache) -> tuple[Array, Array, Array, Array]:
    """From dz (G, M, C): g and psi over all ranks, this rank's sums of dz and of y * dz; all (G, C)."""
    dz_sum, dzy_sum = sums(dz), sums(dz * cache.y)
    both = _summed(namespace(dz).stack([dz_sum, dzy_sum]), cache.config)
    g = cache.gamma * both[0, ...] / cache.values  # eq: sync-gradient-statistics
    psi = cache.gamma * both[1, ...] / cache.values  # eq: sync-gradient-statistics
    return g, psi, dz_sum, dzy_sum


def backward(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """Gradients in closed form: :eq:`bn-backward` (4), with g and Psi over all ranks. All ranks call it.

    Parameters
    ----------
    dz : array, shape (N, ..., C)
        Gradient of the loss, summed over ranks, with respect to this rank's z, of the dtype of the forward pass.
    cache : Cache
    state : State
        Returned as it is.

    Returns
    -------
    dx : array, shape (N, ..., C)
    dgamma, dbeta : array, shape (C,)
        **This rank's share**, as of every parameter in data-parallel training: those of the whole batch are the sums
        over ranks, which the optimiser's side adds up with all other gradients.
    state : State

    Raises
    ------
    TypeError, ValueError
        If `dz` is not of the shape and dtype of the forward pass, or `cache` or `state` is that of another
        normaliser.

    Examples
    --------
    >>> x, one, zero, config = np.array([[1.0], [3.0], [8.0]]), np.ones(1), np.zeros(1), Config(eps=0.0)
    >>> _, cache, state = forward(x, one, zero, init(1, config, dtype=x.dtype), config)
    >>> dx, dgamma, dbeta, _ = backward(np.array([[1.0], [0.0], [0.0]]), cache, state)
    >>> abs(dx.sum().item()) < 1e-15, dbeta.item()
    (True, 1.0)
    """
    check_own((cache, Cache), (state, State))
    check_dz(dz, cache.y, cache.shape)
    y, sigma, _, gamma, shape, config = cache
    dz = split(dz, config.norm_batch)
    g, psi, dz_sum, dzy_sum = _gradient_means(dz, cache)
    dbeta = total(dz_sum)  # eq: affine-backward
    dgamma = total(dzy_sum)  # eq: affine-backward
    dy = dz * gamma
    dx = (dy - g[:, None, :] - y * psi[:, None, :]) / sigma[:, None, :]  # eq: bn-backward (4)
    return merge(dx, shape), dgamma, dbeta, state


def backward_graph(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """The same gradients, step by step back through the graph, a sum over ranks where it joins: :eq:`sync-graph`.

    Takes and returns what `backward` does, equal to rounding.

    Examples
    --------
    >>> x, one, zero, config = np.array([[1.0], [3.0], [5.0]]), np.ones(1), np.zeros(1), Config()
    >>> _, cache, state = forward(x, one, zero, init(1, config, dtype=x.dtype), config)
    >>> dz = np.array([[1.0], [0.0], [0.0]])
    >>> bool(np.allclose(backward(dz, cache, state)[0], backward_graph(dz, cache, state)[0]))
    True
    """
    check_own((cache, Cache), (state, State))
    check_dz(dz, cache.y, cache.shape)
    y, sigma, values, gamma, shape, config = cache
    dz = split(dz, config.norm_batch)
    sigma = sigma[:, None, :]
    centred = y * sigma
    # z = gamma * y + beta
    dbeta = total(dz)  # eq: affine-backward
    dgamma = total(dz * y)  # eq: affine-backward
    dy = dz * gamma  # eq: sync-graph
    # y = centred / sigma, one sigma for all ranks
    dcentred = dy / sigma  # eq: sync-graph
    dsigma = -_summed(sums(dy * centred)[:, None, :], config) / sigma**2  # eq: sync-graph
    # sigma = sqrt(var + eps)
    dvar = dsigma / (2 * sigma)  # eq: sync-graph
    # var = mean of centred^2
    dcentred = dcentred + 2 * centred * dvar / values  # eq: sync-graph
    # centred = x - mu, and mu = mean of x, one mu for all ranks
    dmu = -_summed(sums(dcentred)[:, None, :], config)  # eq: sync-graph
    dx = dcentred + dmu / values  # eq: sync-graph
    return merge(dx, shape), dgamma, dbeta, state


def affine(gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Array]:
    """Inference as one map a channel: takes and returns what `mabn_ref.norms.batch_norm.affine` does.

    Examples
    --------
    >>> state = State(mean=np.array([2.0]), var=np.array([4.0]))
    >>> affine(np.array([3.0]), np.array([1.0]), state, Config(eps=0.0))
    (array([1.5]), array([-2.]))
    """
    check_own((state, State), (config, Config))
    return batch_norm.affine(gamma, beta, *_moving(state, config))


def infer(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> Array:
    """Normalise by the moving statistics: takes and returns what `mabn_ref.norms.batch_norm.infer` does.

    Examples
    --------
    >>> state = State(mean=np.array([2.0]), var=np.array([4.0]))
    >>> infer(np.array([[4.0]]), np.ones(1), np.zeros(1), state, Config(eps=0.0))
    array([[1.]])
    """
    check_own((state, State), (config, Config))
    return batch_norm.infer(x, gamma, beta, *_moving(state, config))


def _moving(state: State, config: Config) -> tuple[batch_norm.State, batch_norm.Config]:
    """What inference reads, as batch normalisation has it."""
    return batch_norm.State(state.mean, state.var), batch_norm.Config(eps=config.eps)

r"""Synchronised batch normalisation: equations (1) to (5), the batch spread over several workers.

Peng et al., "MegDet: A Large Mini-Batch Object Detector", 2018. Every rank holds a part of the batch. Sums over
ranks, in forward and in backward, make the statistics those of the whole batch: `mabn_ref.norms.batch_norm` on the
union gives the same numbers. All ranks call `statistics`, `forward`, `gradient_statistics`, `backward` and
`backward_graph` together, each on its own part. N and the axes between N and C may differ from rank to rank, C may
not. A rank without samples, N = 0, has to take part as well.

gamma, beta and the state are the same on every rank. dz is the gradient of the loss summed over ranks, and dgamma and
dbeta are **this rank's share**, like all parameter gradients in data-parallel training. If ranks differ in channels,
groups or dtypes, an error is raised, and other ranks may be left waiting: see `mabn_ref.norms.communicators.run` and
`mabn_ref.train.mpi.world`. In the example each rank has a single value, whose variance alone would be 0.

Examples
--------
>>> from mabn_ref.norms.communicators import run
>>> def work(ranks):
...     x, config = np.array([[1.0 + 2.0 * ranks.rank]]), Config(eps=0.0, communicator=ranks)
...     return forward(x, np.ones(1), np.zeros(1), init(1, config, dtype=x.dtype), config)[0].item()
>>> run(2, work)
[-1.0, 1.0]
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array, check_float_array, check_own, check_squares, copied, less, like, namespace, total
from mabn_ref.norms import batch_norm, checks
from mabn_ref.norms.checks import setting
from mabn_ref.norms.common import ema, merge, one_of, root, split, sums
from mabn_ref.norms.communicators import Alone, Communicator


@dataclass(frozen=True, kw_only=True)
class Config(batch_norm.Config):
    """Hyper-parameters; `norm_batch` counts **this rank's** samples. Ranks with samples have equally many batches."""

    communicator: Communicator = setting(
        Alone(), note="sums arrays over the ranks: MPI.COMM_WORLD of mpi4py, or one of `mabn_ref.norms.communicators`"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(getattr(self.communicator, "allreduce", None)):
            raise TypeError(
                f"communicator is {self.communicator!r}, which has no allreduce; expected an object whose "
                "allreduce(value) returns the sum over all ranks, such as MPI.COMM_WORLD of mpi4py"
            )


class State(batch_norm.State):
    """Moving statistics: the fields of `mabn_ref.norms.batch_norm.State`, the same on every rank."""

    __slots__ = ()


class Cache(NamedTuple):
    """What backward needs for this rank's part, in the canonical form (G, M, C)."""

    y: Array  #: (G, M, C): this rank's normalised values
    sigma: Array  #: (G, 1, C): sqrt(var + eps) of the whole batch, the same on every rank
    values: float  #: values per channel in one normalisation batch, over all ranks
    gamma: Array  #: (C,)
    iteration: int  #: iterations before this call
    shape: tuple[int, ...]  #: the shape of this rank's x
    config: Config


def init(channels: int, config: Config, *, dtype: Any, xp: Any = np) -> State:
    """The state before the first batch."""
    check_own((config, Config))
    return State(*batch_norm.init(channels, batch_norm.Config(), dtype=dtype, xp=xp))


def statistics(x: Array, config: Config) -> tuple[Array, Array]:
    """Mean and biased variance over all ranks, the same on every rank: :eq:`sync-mean`, :eq:`sync-variance`."""
    check_own((config, Config))
    mu, var, _, _ = _moments(x, config)
    return mu[:, 0, :], var[:, 0, :]


def _moments(x: Array, config: Config) -> tuple[Array, Array, Array, float]:
    """Mean, variance, this rank's centred values (G, M, C), and the values per channel over all ranks."""
    canonical = _split(x, config)
    shape, x = tuple(x.shape), canonical
    groups, ranks, values = _agreed(x, config)
    if values == 0:
        raise ValueError(f"x has shape {shape}, and no other rank has samples, expected some on at least one rank")
    checks.check_varied(values, f"x has shape {shape}", "channel over all ranks")
    x = merge(x, (groups, *x.shape[1:]))
    start = _near_all(x, ranks, config)
    centred = less(x, start[:, 0, :])
    off = _summed(sums(centred), config) / values
    mu = start + off  # eq: sync-mean
    centred = less(centred, off[:, 0, :])
    var = _summed(sums(centred * centred), config) / values  # eq: sync-variance
    _check_squares(x, var, config)
    return mu, var, centred, values


def _check_squares(x: Array, var: Array, config: Config) -> None:
    """Refuse squares that overflow although x is finite on every rank. All see the same `var`: all sum, or none."""
    xp = namespace(x)
    if bool(xp.all(xp.abs(var) < math.inf)):
        return
    finite = bool(xp.all(xp.abs(x) < math.inf))
    if float(_summed(like(x, [not finite], xp.float64), config)[0]) == 0:
        if x.shape[1]:
            check_squares("x", x, var)
        raise OverflowError("squares of x overflow on another rank")


def _split(x: Array, config: Config) -> Array:
    """This rank's part as (G, M, C), or (0, 0, C) without samples: G is then known only to the other ranks."""
    check_float_array("x", x)
    checks.check_shape(x, samples=0)
    return split(x, config.norm_batch) if x.shape[0] else merge(x, (0, 0, x.shape[-1]))


def _near_all(x: Array, ranks: float, config: Config) -> Array:
    """The mean of one value from each rank with samples; if all have the same value, exactly that.

    The second round takes out the rounding of the first. A rank without samples contributes 0.
    """
    value = one_of(x)
    mean = _summed(sums(value), config) / ranks
    return mean + _summed(sums(value - mean), config) / ranks


def _agreed(x: Array, config: Config) -> tuple[int, float, float]:
    """Numbers of normalisation batches, of ranks with samples, and of values per channel in a batch over all ranks.

    All ranks must have the same number of channels, and those with samples the same number of normalisation batches.
    The array that is summed here has the same size on every rank, so that if ranks disagree they all find out, and
    none waits for an array that never comes. A number is the same on all ranks if the square of its sum is the sum of
    its squares times the number of ranks.
    """
    groups, values, channels = x.shape
    mine = like(x, [1, channels, channels**2, values > 0, groups, groups**2, values], namespace(x).float64)
    found = _summed(mine, config)
    ranks, channel_sum, channel_squares, full, group_sum, group_squares, count = (float(found[i]) for i in range(7))
    for what, own, of, added, squares in (
        ("channels", channels, ranks, channel_sum, channel_squares),
        ("normalisation batches in x", groups, full, group_sum, group_squares),
    ):
        if added * added != of * squares:
            raise ValueError(
                f"ranks differ in {what}: this one has {own}, the mean over {of:g} ranks is {added / of:g}"
            )
    return round(group_sum / max(full, 1)), full, count


def _summed(value: Array, config: Config) -> Array:
    """The sum over all ranks; refuses one whose dtype is not that of this rank."""
    added_up = config.communicator.allreduce(value)
    check_float_array("the sum over all ranks", added_up, like=value, like_name="this rank's x")
    return added_up


def forward(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
    """Normalise by the mean and variance of the whole batch: :eq:`bn-normalise` (1), :eq:`affine` (3)."""
    check_own((state, State), (config, Config))
    checks.check_inputs(x, gamma, beta, samples=0)
    checks.check_state(state, init(x.shape[-1], config, dtype=np.float64), x)
    shape, t = tuple(x.shape), state.iteration
    mu, var, centred, values = _moments(x, config)
    _, moving_mean = ema(state.mean, mu, config.decay, t)  # eq: ema-forward (12)
    _, moving_var = ema(state.var, var, config.decay, t)  # eq: ema-forward (12)
    sigma = root(var + config.eps)
    y = centred / sigma  # eq: bn-normalise (1)
    z = gamma * y + beta  # eq: affine (3)
    cache = Cache(y, sigma, values, copied(gamma), t, shape, config)
    state = State(moving_mean[-1, 0, :], moving_var[-1, 0, :], t + mu.shape[0])
    return merge(z, shape), cache, state


def gradient_statistics(dz: Array, cache: Cache) -> tuple[Array, Array]:
    """The means g and Psi of dy and y * dy over all ranks: :eq:`sync-gradient-statistics`."""
    checks.gradient_statistics(dz, (cache, Cache))
    g, psi, _, _ = _gradient_means(merge(dz, cache.y.shape), cache)
    return g[:, 0, :], psi[:, 0, :]


def _gradient_means(dz: Array, cache: Cache) -> tuple[Array, Array, Array, Array]:
    """g and psi over all ranks, and this rank's sums of dz and of y * dz; all (G, 1, C)."""
    dz_sum, dzy_sum = sums(dz), sums(dz * cache.y)
    both = _summed(namespace(dz).stack([dz_sum, dzy_sum]), cache.config)
    g = cache.gamma * both[0, ...] / cache.values  # eq: sync-gradient-statistics
    psi = cache.gamma * both[1, ...] / cache.values  # eq: sync-gradient-statistics
    return g, psi, dz_sum, dzy_sum


def backward(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """Gradients in closed form: :eq:`bn-backward` (4), with g and Psi over all ranks."""
    checks.backward(dz, (cache, Cache), (state, State), init)
    dz, (y, sigma, _, gamma, _, shape, _) = merge(dz, cache.y.shape), cache
    g, psi, dz_sum, dzy_sum = _gradient_means(dz, cache)
    dbeta = total(dz_sum)  # eq: affine-backward
    dgamma = total(dzy_sum)  # eq: affine-backward
    dy = dz * gamma
    dx = (dy - g - y * psi) / sigma  # eq: bn-backward (4)
    return merge(dx, shape), dgamma, dbeta, state


def backward_graph(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """The same gradients, step by step back through the graph, with sums over ranks: :eq:`sync-graph`."""
    checks.backward(dz, (cache, Cache), (state, State), init)
    dz, (y, sigma, values, gamma, _, shape, config) = merge(dz, cache.y.shape), cache
    centred = y * sigma
    # z = gamma * y + beta
    dbeta = total(dz)  # eq: affine-backward
    dgamma = total(dz * y)  # eq: affine-backward
    dy = dz * gamma  # eq: sync-graph
    # y = centred / sigma, one sigma for all ranks
    dcentred = dy / sigma  # eq: sync-graph
    dsigma = -_summed(sums(dy * centred), config) / sigma**2  # eq: sync-graph
    # sigma = sqrt(var + eps)
    dvar = dsigma / (2 * sigma)  # eq: sync-graph
    # var = mean of centred^2
    dcentred = dcentred + 2 * centred * dvar / values  # eq: sync-graph
    # centred = x - mu, and mu = mean of x, one mu for all ranks
    dmu = -_summed(sums(dcentred), config)  # eq: sync-graph
    dx = dcentred + dmu / values  # eq: sync-graph
    return merge(dx, shape), dgamma, dbeta, state


def affine(gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Array]:
    """Inference as one map per channel, as in batch norm."""
    checks.affine(gamma, beta, (state, State), (config, Config), init)
    return batch_norm.affine(gamma, beta, batch_norm.State(*state), batch_norm.Config(eps=config.eps))


def infer(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> Array:
    """Normalise by the moving statistics, as batch norm does: :eq:`bn-infer`."""
    checks.infer(x, gamma, beta, (state, State), (config, Config), init)
    return batch_norm.infer(x, gamma, beta, batch_norm.State(*state), batch_norm.Config(eps=config.eps))

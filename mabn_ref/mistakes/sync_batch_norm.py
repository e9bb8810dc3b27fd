"""Wrong passes of synchronised batch normalisation. Most are right on one rank, or where all have as many samples."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.mistakes.draws import calls
from mabn_ref.mistakes.mistake import Mistake
from mabn_ref.norms import sync_batch_norm
from mabn_ref.norms.batch_norm import gradient_means
from mabn_ref.norms.micro_batches import merge, split
from mabn_ref.norms.moving import ema
from mabn_ref.norms.sync_batch_norm import Cache, Config, State

__all__ = ["MISTAKES"]


def _sum(a: Array) -> Array:
    return np.sum(a, axis=1, keepdims=True)


def _forward(statistics: Callable[[Array, Callable[[Array], Array]], tuple[Array, Array]]) -> Callable[..., Any]:
    """Forward with other statistics: they are given this rank's (G, M, C) and the sum over ranks."""

    def forward(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
        xs, add = split(x, config.norm_batch), config.communicator.allreduce
        mu, var = statistics(xs, add)
        sigma = np.sqrt(var + config.eps)
        y = (xs - mu) / sigma
        values = float(add(np.array(float(xs.shape[1]))))
        cache = Cache(y, sigma[:, 0, :], values, gamma, tuple(x.shape), config)
        mean_after = ema(state.mean, mu[:, 0, :], config.decay)[1]
        var_after = ema(state.var, var[:, 0, :], config.decay)[1]
        return merge(gamma * y + beta, x.shape), cache, State(mean_after[-1], var_after[-1])

    return forward


def _backward(dx: Callable[[Array, Cache, Callable[[Array], Array]], Array]) -> Callable[..., Any]:
    """Backward with another dx of dy (G, M, C), to be divided by sigma."""

    def backward(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
        dz = split(dz, cache.config.norm_batch)
        _, _, dz_sum, dzy_sum = gradient_means(dz, cache.y, cache.gamma)
        found = dx(dz * cache.gamma, cache, cache.config.communicator.allreduce) / cache.sigma[:, None, :]
        return merge(found, cache.shape), np.sum(dzy_sum, axis=0), np.sum(dz_sum, axis=0), state

    return backward


def _within_ranks(xs: Array, add: Callable[[Array], Array]) -> tuple[Array, Array]:
    values = add(np.array(float(xs.shape[1]))).astype(xs.dtype)
    within = _sum((xs - xs.mean(axis=1, keepdims=True)) ** 2)
    return add(_sum(xs)) / values, add(within) / values


def _through_within_ranks(dy: Array, cache: Cache, add: Callable[[Array], Array]) -> Array:
    y, n = cache.y, cache.values
    return dy - add(_sum(dy)) / n - (y - y.mean(axis=1, keepdims=True)) * add(_sum(dy * y)) / n


def _ranks_alike(xs: Array, add: Callable[[Array], Array]) -> tuple[Array, Array]:
    ranks = add(np.array(1.0)).astype(xs.dtype)
    mu = add(xs.mean(axis=1, keepdims=True)) / ranks
    return mu, add(((xs - mu) ** 2).mean(axis=1, keepdims=True)) / ranks


def _through_ranks_alike(dy: Array, cache: Cache, add: Callable[[Array], Array]) -> Array:
    y = cache.y
    n = (add(np.array(1.0)) * y.shape[1]).astype(y.dtype)
    return dy - add(_sum(dy)) / n - y * add(_sum(dy * y)) / n


def _of_this_rank(dy: Array, cache: Cache, add: Callable[[Array], Array]) -> Array:
    n, y = dy.shape[1], cache.y
    return dy - _sum(dy) / n - y * _sum(dy * y) / n


def _divided_by_own(dy: Array, cache: Cache, add: Callable[[Array], Array]) -> Array:
    n, y = dy.shape[1], cache.y
    return dy - add(_sum(dy)) / n - y * add(_sum(dy * y)) / n


def _summed_already(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    dx, dgamma, dbeta, state = sync_batch_norm.backward(dz, cache, state)
    add = cache.config.communicator.allreduce
    return dx, add(dgamma), add(dbeta), state


_mistake = partial(Mistake, subject=sync_batch_norm, draw=calls(sync_batch_norm, groups=1, norm_batch=6))

MISTAKES = (
    _mistake(
        name="sync-variances-averaged",
        code={"forward": _forward(_within_ranks), "backward": _backward(_through_within_ranks)},
        sentence="Your variance is the mean of the ranks' variances; what their means differ by is missing in it.",
        equation="sync-variance",
        oracle="forward",
    ),
    _mistake(
        name="sync-ranks-alike",
        code={"forward": _forward(_ranks_alike), "backward": _backward(_through_ranks_alike)},
        sentence="Your statistics are means of the ranks' means, right only where all have as many values.",
        equation="sync-mean",
        oracle="forward",
    ),
    _mistake(
        name="sync-backward-alone",
        code={"backward": _backward(_of_this_rank)},
        sentence="Your g and Psi are those of this rank; every x of it also moves the outputs of the others.",
        equation="sync-gradient-statistics",
        oracle="gradient",
    ),
    _mistake(
        name="sync-backward-divided-by-own",
        code={"backward": _backward(_divided_by_own)},
        sentence="Your g and Psi are sums over all ranks divided by the values of this one; divide by those of all.",
        equation="sync-gradient-statistics",
        oracle="gradient",
    ),
    _mistake(
        name="sync-dgamma-summed",
        code={"backward": _summed_already},
        sentence="Your dgamma and dbeta are summed over ranks, and then added up again like all other gradients.",
        equation="affine-backward",
        oracle="gradient",
    ),
)

"""A synchronised normaliser as one that takes the whole batch: it is spread over ranks and joined again."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.norms.communicators import run

__all__ = ["Caches", "over_ranks", "spread"]


class Caches(NamedTuple):
    """The cache of every rank, and how many samples each has."""

    ranks: tuple[Any, ...]
    sizes: tuple[int, ...]


def over_ranks(implementation: Any) -> SimpleNamespace:
    """Return `init`, `forward`, `backward` and `infer` that take the whole batch, for three ranks with uneven parts.

    Examples
    --------
    >>> from mabn_ref.norms import batch_norm, sync_batch_norm
    >>> x, one = np.random.default_rng(0).standard_normal((6, 2)), np.ones(2)
    >>> config, plain = sync_batch_norm.Config(), batch_norm.Config()
    >>> state, alone = sync_batch_norm.init(2, config, dtype=float), batch_norm.init(2, plain, dtype=float)
    >>> ours = over_ranks(sync_batch_norm).forward(x, one, one, state, config)[0]
    >>> bool(np.allclose(ours, batch_norm.forward(x, one, one, alone, plain)[0], rtol=1e-12))
    True
    """

    def forward(x: Array, gamma: Array, beta: Array, state: Any, config: Any) -> tuple[Array, Caches, Any]:
        sizes = _sizes(len(x))

        def work(ranks: Any, part: Array) -> Any:
            return implementation.forward(part, gamma, beta, state, replace(config, communicator=ranks))

        zs, caches, states = zip(*spread(work, x, sizes), strict=True)
        return np.concatenate(zs), Caches(caches, sizes), states[0]

    def backward(dz: Array, cache: Caches, state: Any) -> tuple[Array, Array, Array, Any]:
        def work(ranks: Any, part: Array) -> Any:
            mine = cache.ranks[ranks.rank]
            return implementation.backward(
                part, mine._replace(config=replace(mine.config, communicator=ranks)), state
            )

        dx, dgamma, dbeta, states = zip(*spread(work, dz, cache.sizes), strict=True)
        return np.concatenate(dx), sum(dgamma), sum(dbeta), states[0]

    return SimpleNamespace(init=implementation.init, forward=forward, backward=backward, infer=implementation.infer)


def spread(work: Callable[[Any, Array], Any], x: Array, sizes: tuple[int, ...]) -> list[Any]:
    """Call ``work(communicator, part)`` on as many ranks as there are sizes, each with so many samples of `x`."""
    ends = list(itertools.accumulate(sizes))
    return run(len(sizes), lambda ranks: work(ranks, x[ends[ranks.rank] - sizes[ranks.rank] : ends[ranks.rank]]))


def _sizes(samples: int) -> tuple[int, ...]:
    """One sample for each rank but the last, which has the rest: as uneven as it can be."""
    ranks = min(3, samples)
    return (*[1] * (ranks - 1), samples - ranks + 1)

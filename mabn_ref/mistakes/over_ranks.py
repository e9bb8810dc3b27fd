"""A synchronised normaliser as one that takes the whole batch: it is spread over ranks and joined again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.norms.communicators import run


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

    def forward(x: Array, gamma: Array, beta: Array, state: Any, config: Any) -> tuple[Array, tuple[Any, ...], Any]:
        def work(part: Array, ranks: Any) -> Any:
            return implementation.forward(part, gamma, beta, state, replace(config, communicator=ranks))

        zs, caches, states = _on_ranks(work, x)
        return np.concatenate(zs), caches, states[0]

    def backward(dz: Array, caches: tuple[Any, ...], state: Any) -> tuple[Array, Array, Array, Any]:
        def work(part: Array, ranks: Any) -> Any:
            mine = caches[ranks.rank]
            mine = mine._replace(config=replace(mine.config, communicator=ranks))
            return implementation.backward(part, mine, state)

        dx, dgamma, dbeta, states = _on_ranks(work, dz)
        return np.concatenate(dx), sum(dgamma), sum(dbeta), states[0]

    return SimpleNamespace(init=implementation.init, forward=forward, backward=backward, infer=implementation.infer)


def _on_ranks(work: Callable[[Array, Any], Any], x: Array) -> Iterator[tuple[Any, ...]]:
    """Call ``work(part, communicator)`` on three ranks, one sample for each but the last: as uneven as it can be."""
    parts = np.split(x, range(1, min(3, len(x))))
    return zip(*run(len(parts), lambda ranks: work(parts[ranks.rank], ranks)), strict=True)

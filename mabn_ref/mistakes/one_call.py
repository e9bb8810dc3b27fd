"""The two implementations that are called differently, made to look like the rest: residual markers, ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.norms.communicators import run


def as_one_call(subject: str, implementation: Any) -> Any:
    """Return `one_block` or `over_ranks` of an implementation of residual or sync_batch_norm; any other as it is."""
    made = {"residual": one_block, "sync_batch_norm": over_ranks}.get(subject)
    return implementation if made is None else made(implementation)


def one_block(implementation: Any) -> SimpleNamespace:
    """Return `forward` and `backward` of ``x * f + x * s``, the smallest block that uses all three markers.

    Examples
    --------
    >>> from mabn_ref.nn import residual
    >>> out, cache = one_block(residual).forward(2.0, 3.0, 5.0)
    >>> out, one_block(residual).backward(1.0, cache)
    (16.0, (8.0, 2.0, 2.0))
    """
    keep, exchange, add = (getattr(implementation, name)(name) for name in ("Keep", "Exchange", "Add"))

    def forward(x: Array, f: Array, s: Array) -> tuple[Array, Any]:
        now, held = implementation.forward(keep, x, None)
        now, held = implementation.forward(exchange, now * f, held)
        out, _ = implementation.forward(add, now * s, held)
        return out, (1 * x, 1 * f, 1 * s)

    def backward(dout: Array, cache: Any) -> tuple[Array, Array, Array]:
        x, f, s = cache
        of_s, held = implementation.backward(add, dout, None)
        of_f, held = implementation.backward(exchange, of_s * s, held)
        dx, _ = implementation.backward(keep, of_f * f, held)
        return dx, of_f * x, of_s * x

    return SimpleNamespace(forward=forward, backward=backward)


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

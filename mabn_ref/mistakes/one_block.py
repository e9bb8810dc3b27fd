"""The markers of a residual block as a layer that a checker can call: the smallest block that uses all three."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from mabn_ref.arrays import Array


def as_layer(implementation: Any) -> Any:
    """Return `forward` and `backward` of ``x * f + x * s``, made with the markers; a module without them as it is.

    Examples
    --------
    >>> from mabn_ref.nn import residual
    >>> out, cache = as_layer(residual).forward(2.0, 3.0, 5.0)
    >>> out, as_layer(residual).backward(1.0, cache)
    (16.0, (8.0, 2.0, 2.0))
    """
    if not hasattr(implementation, "Exchange"):
        return implementation
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

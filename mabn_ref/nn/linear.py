"""Affine map of feature vectors."""

from __future__ import annotations

from typing import NamedTuple

from mabn_ref.arrays import Array, check_own, check_shaped, copied, total
from mabn_ref.nn.common import check_cotangent, check_rank


class Cache(NamedTuple):
    """What `backward` needs: copies of x (N, in) and w (in, out)."""

    x: Array
    w: Array


def forward(x: Array, w: Array, b: Array) -> tuple[Array, Cache]:
    """Return x @ w + b, shape (N, out), for `x` (N, in), `w` (in, out) and `b` (out,): :eq:`linear-forward`."""
    check_rank("x", x, "N, in")
    check_rank("w", w, "in, out", like=x)
    if x.shape[1] != w.shape[0]:
        raise ValueError(
            f"x has {x.shape[1]} features, expected {w.shape[0]}: w (in, out) has shape {tuple(w.shape)}"
        )
    check_shaped("b", b, (w.shape[1],), f": w (in, out) has shape {tuple(w.shape)}", like=x)
    out = x @ w + b  # eq: linear-forward
    return out, Cache(copied(x), copied(w))


def backward(dout: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """Return dL/dx, dL/dw and dL/db: :eq:`linear-backward`.

    Examples
    --------
    >>> import numpy as np
    >>> out, cache = forward(np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]]), np.array([0.5]))
    >>> dx, dw, db = backward(np.array([[10.0]]), cache)
    >>> out, dx, dw[:, 0], db
    (array([[11.5]]), array([[30., 40.]]), array([10., 20.]), array([10.]))
    """
    check_own((cache, Cache))
    check_cotangent("dout", dout, (cache.x.shape[0], cache.w.shape[1]), cache.x, "x")
    dx = dout @ cache.w.T  # eq: linear-backward
    dw = cache.x.T @ dout  # eq: linear-backward
    db = total(dout)  # eq: linear-backward
    return dx, dw, db

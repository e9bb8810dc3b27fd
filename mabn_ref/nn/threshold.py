"""Thresholded linear unit: the positive part, with a learned threshold per channel in place of 0.

Singh and Krishnan, "Filter Response Normalization Layer", 2020. Filter Response Normalization
(`mabn_ref.norms.rms_norm`) subtracts no mean, so 0 need not be near the middle of its output.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from mabn_ref.arrays import Array, check_float_array, check_own, check_shaped, namespace, total
from mabn_ref.nn.common import check_cotangent


class Cache(NamedTuple):
    """What `backward` needs: where the gradient `passes`, as x was above the threshold, and the dtype of x."""

    passes: Array
    dtype: Any


def forward(x: Array, tau: Array) -> tuple[Array, Cache]:
    """Return max(x, tau) for x, (..., C), and tau, (C,); NaN stays NaN: :eq:`threshold-forward`."""
    check_float_array("x", x)
    if not x.shape:
        raise ValueError("x has shape (), expected (..., C): channels last")
    check_shaped("tau", tau, tuple(x.shape[-1:]), ": one for each channel of x", like=x)
    out = namespace(x).maximum(x, tau)  # eq: threshold-forward
    return out, Cache(~(x <= tau), x.dtype)


def backward(dout: Array, cache: Cache) -> tuple[Array, Array]:
    """Return dL/dx and dL/dtau; each value of `dout` goes to the larger of the two: :eq:`threshold-backward`.

    Where they are equal it goes to tau.

    Examples
    --------
    >>> import numpy as np
    >>> out, cache = forward(np.array([[-1.0], [2.0]]), np.array([0.5]))
    >>> out.ravel(), backward(np.array([[3.0], [4.0]]), cache)
    (array([0.5, 2. ]), (array([[0.],
           [4.]]), array([3.])))
    """
    check_own((cache, Cache))
    check_cotangent("dout", dout, tuple(cache.passes.shape), cache.dtype, "x")
    above = namespace(dout).astype(cache.passes, dout.dtype)
    dx = dout * above  # eq: threshold-backward
    dtau = total(dout * (1 - above))  # eq: threshold-backward
    return dx, dtau

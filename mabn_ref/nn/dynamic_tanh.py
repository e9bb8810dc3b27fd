"""Dynamic Tanh, in place of a normaliser: a curve that is the same for every sample, and no statistics at all.

Zhu, Chen, He, LeCun and Liu, "Transformers without Normalization", 2025. Layer normalisation squeezes large values
and leaves small ones in proportion; so does a hyperbolic tangent, whose slope `alpha` is learned.
"""

from __future__ import annotations

from typing import NamedTuple

from mabn_ref.arrays import Array, check_inputs, check_own, check_shaped, copied, namespace, total
from mabn_ref.nn.common import check_cotangent

PARAMETERS = ("alpha", "gamma", "beta")  #: in the order of the gradients


class Cache(NamedTuple):
    """What `backward` needs: x, the curve's values `y`, alpha and gamma."""

    x: Array
    y: Array
    alpha: Array
    gamma: Array


def forward(x: Array, alpha: Array, gamma: Array, beta: Array) -> tuple[Array, Cache]:
    """Return gamma * tanh(alpha * x) + beta for x, (..., C), alpha, (1,), gamma and beta, (C,): :eq:`dyt-forward`."""
    check_inputs(x, gamma, beta)
    check_shaped("alpha", alpha, (1,), like=x)
    y = namespace(x).tanh(alpha * x)  # eq: dyt-forward
    z = gamma * y + beta  # eq: dyt-forward
    return z, Cache(copied(x), y, copied(alpha), copied(gamma))


def backward(dz: Array, cache: Cache) -> tuple[Array, Array, Array, Array]:
    """Return dL/dx, dL/dalpha, dL/dgamma and dL/dbeta: :eq:`dyt-backward`.

    Examples
    --------
    The gradient of a large value vanishes and does not depend on the other values; a normaliser's does.

    >>> import numpy as np
    >>> one, zero = np.ones(1), np.zeros(1)
    >>> z, cache = forward(np.array([[0.0], [1.0], [9.0]]), one, one, zero)
    >>> backward(np.ones((3, 1)), cache)[0].ravel().round(3)
    array([1.  , 0.42, 0.  ])
    """
    check_own((cache, Cache))
    x, y, alpha, gamma = cache
    check_cotangent("dz", dz, tuple(y.shape), y, "x")
    dbeta, dgamma = total(dz), total(dz * y)  # eq: affine-backward
    da = dz * gamma * (1 - y * y)  # eq: dyt-backward
    dx = alpha * da  # eq: dyt-backward
    dalpha = namespace(x).reshape(namespace(x).sum(da * x), (1,))  # eq: dyt-backward
    return dx, dalpha, dgamma, dbeta

"""Derf, the successor of Dynamic Tanh: the error function in the place of the tangent, and a shift inside it.

Chen, Lu, Zhu, Sun and Liu, "Stronger Normalization-Free Transformers", 2025. See `mabn_ref.nn.dynamic_tanh`. NumPy
has no error function, so that this is the standard library's, value by value, and takes arrays of NumPy alone.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from mabn_ref.arrays import Array, check_own, copied, total
from mabn_ref.nn.common import check_cotangent, check_curve

_erf = np.frompyfunc(math.erf, 1, 1)


class Cache(NamedTuple):
    """What `backward` needs: x, the argument `a` and the values `y` of the curve, alpha and gamma."""

    x: Array
    a: Array
    y: Array
    alpha: Array
    gamma: Array


def forward(x: Array, alpha: Array, s: Array, gamma: Array, beta: Array) -> tuple[Array, Cache]:
    """Return gamma * erf(alpha * x + s) + beta; alpha and s are (1,), gamma and beta (C,): :eq:`derf-forward`.

    Examples
    --------
    >>> one, zero = np.ones(1), np.zeros(1)
    >>> forward(np.array([[-9.0], [0.0], [0.5]]), one, zero, one, zero)[0].ravel().round(3)
    array([-1.  ,  0.  ,  0.52])
    """
    check_curve(x, {"alpha": alpha, "s": s}, gamma, beta)
    a = alpha * x + s  # eq: derf-forward
    y = _erf(a).astype(x.dtype)  # eq: derf-forward
    z = gamma * y + beta  # eq: derf-forward
    return z, Cache(copied(x), a, y, copied(alpha), copied(gamma))


def backward(dz: Array, cache: Cache) -> tuple[Array, Array, Array, Array, Array]:
    """Return dL/dx, dL/dalpha, dL/ds, dL/dgamma and dL/dbeta: :eq:`derf-backward`."""
    check_own((cache, Cache))
    x, a, y, alpha, gamma = cache
    check_cotangent("dz", dz, tuple(y.shape), y, "x")
    dbeta, dgamma = total(dz), total(dz * y)  # eq: affine-backward
    da = dz * gamma * (2 / math.sqrt(math.pi)) * np.exp(-a * a)  # eq: derf-backward
    dx = alpha * da  # eq: derf-backward
    dalpha, ds = np.sum(da * x).reshape(1), np.sum(da).reshape(1)  # eq: derf-backward
    return dx, dalpha, ds, dgamma, dbeta

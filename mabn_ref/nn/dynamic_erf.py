"""Derf, the successor of Dynamic Tanh: the error function in place of the hyperbolic tangent, and a shift inside it.

Chen, Lu, Zhu, Sun and Liu, "Stronger Normalization-Free Transformers", 2025. See `mabn_ref.nn.dynamic_tanh`. NumPy
has no error function, so this uses the standard library's, value by value, and takes only NumPy arrays.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from mabn_ref.arrays import Array, check_inputs, check_own, check_shaped, copied, total
from mabn_ref.nn.common import check_cotangent

PARAMETERS = ("alpha", "s", "gamma", "beta")  #: in the order of the gradients
_SLOPE = 2 / math.sqrt(math.pi)  #: of the error function at 0
_TERMS = 150  #: of its series, enough for 50 digits where |a| is at most 6


class Cache(NamedTuple):
    """What `backward` needs: x, the argument `a` and the values `y` of the curve, alpha and gamma."""

    x: Array
    a: Array
    y: Array
    alpha: Array
    gamma: Array


def _erf(a: Array) -> Array:
    """The standard library's error function; for complex and exact numbers, used in gradient checks, its series.

    The series is e^(-a^2) (a + 2/3 a^3 + 4/15 a^5 + ...) times the slope at 0, in which nothing cancels.
    """
    if a.dtype in (np.float32, np.float64):
        return np.fromiter(map(math.erf, a.ravel().tolist()), a.dtype, a.size).reshape(a.shape)
    series = 1
    for n in range(_TERMS, 0, -1):
        series = 1 + 2 * a * a / (2 * n + 1) * series
    return _SLOPE * np.exp(-a * a) * a * series


def forward(x: Array, alpha: Array, s: Array, gamma: Array, beta: Array) -> tuple[Array, Cache]:
    """Return gamma * erf(alpha * x + s) + beta; alpha and s are (1,), gamma and beta (C,): :eq:`derf-forward`.

    Examples
    --------
    >>> one, zero = np.ones(1), np.zeros(1)
    >>> forward(np.array([[-9.0], [0.0], [0.5]]), one, zero, one, zero)[0].ravel().round(3)
    array([-1.  ,  0.  ,  0.52])
    """
    check_inputs(x, gamma, beta)
    if not isinstance(x, np.ndarray):
        kind = type(x)
        raise TypeError(
            f"x is a {kind.__module__}.{kind.__name__}, expected a numpy.ndarray: Python's standard library computes "
            "the error function"
        )
    check_shaped("alpha", alpha, (1,), like=x)
    check_shaped("s", s, (1,), like=x)
    a = alpha * x + s  # eq: derf-forward
    y = _erf(a)  # eq: derf-forward
    z = gamma * y + beta  # eq: derf-forward
    return z, Cache(copied(x), a, y, copied(alpha), copied(gamma))


def backward(dz: Array, cache: Cache) -> tuple[Array, Array, Array, Array, Array]:
    """Return dL/dx, dL/dalpha, dL/ds, dL/dgamma and dL/dbeta: :eq:`derf-backward`."""
    check_own((cache, Cache))
    x, a, y, alpha, gamma = cache
    check_cotangent("dz", dz, tuple(y.shape), y, "x")
    dbeta, dgamma = total(dz), total(dz * y)  # eq: affine-backward
    da = dz * gamma * _SLOPE * np.exp(-a * a)  # eq: derf-backward
    dx = alpha * da  # eq: derf-backward
    dalpha, ds = np.reshape(np.sum(da * x), (1,)), np.reshape(np.sum(da), (1,))  # eq: derf-backward
    return dx, dalpha, ds, dgamma, dbeta

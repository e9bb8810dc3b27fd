"""Modified BN, FRN and RMSNorm: one forward and one backward."""

from typing import NamedTuple

import numpy as np


class Cache(NamedTuple):
    """What backward needs."""

    y: np.ndarray  # the normalised values, of the shape of x
    chi: np.ndarray  # the root of the mean square, eps in it: the shape of x, but 1 for each of the axes
    gamma: np.ndarray  # (C,)


def axes_of(name, rank):
    """The axes of the values that share a mean square.

    name: "modified BN", "FRN" or "RMSNorm"
    rank: the rank of x, at least 3
    Returns a tuple of integers.
    """
    # TODO: the batch and its positions, the positions alone, or the channels
    if name == "modified BN":
        return tuple(range(rank - 1))
    if name == "FRN":
        return tuple(range(1, rank - 1))
    return (rank - 1,)


def forward(x, gamma, beta, eps, axes):
    """Divide by the root of the mean square over the axes.

    x: array of shape (N, ..., C)
    gamma, beta: arrays of shape (C,)
    eps: a number
    axes: a tuple of integers
    Returns z, an array of the shape of x, and a Cache.
    """
    # TODO: chi, y and z
    chi = np.sqrt(np.mean(x**2, axis=axes, keepdims=True) + eps)
    y = x / chi
    return gamma * y + beta, Cache(y, chi, gamma)


def backward(dz, cache, axes):
    """Gradients of the loss with respect to x, gamma and beta.

    dz: array of the shape of x, the gradient with respect to z
    cache: a Cache
    axes: a tuple of integers
    Returns dx, an array of the shape of x, and dgamma and dbeta, arrays of shape (C,).
    """
    # TODO: dgamma and dbeta; dy, its one statistic, and dx
    y, chi, gamma = cache
    others = tuple(range(dz.ndim - 1))
    dgamma = np.sum(y * dz, axis=others)
    dbeta = np.sum(dz, axis=others)
    dy = gamma * dz
    psi = np.mean(y * dy, axis=axes, keepdims=True)
    dx = (dy - y * psi) / chi
    return dx, dgamma, dbeta

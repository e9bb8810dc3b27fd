"""Batch normalisation, backward in closed form."""

from typing import NamedTuple

import numpy as np


class Cache(NamedTuple):
    """What forward kept."""

    y: np.ndarray  # the normalised values, of the shape of x
    sigma: np.ndarray  # (C,): sqrt(var + eps)
    gamma: np.ndarray  # (C,)


def backward(dz, cache):
    """Gradients of the loss with respect to x, gamma and beta.

    dz: array of the shape of x, the gradient with respect to z
    cache: a Cache
    Returns dx, an array of the shape of x, and dgamma and dbeta, arrays of shape (C,).
    """
    # TODO: dgamma and dbeta first, they are sums; then dy, its two means, and dx
    y, sigma, gamma = cache
    axes = tuple(range(dz.ndim - 1))
    dgamma = np.sum(dz * y, axis=axes)
    dbeta = np.sum(dz, axis=axes)
    dy = dz * gamma
    g = np.mean(dy, axis=axes)
    psi = np.mean(y * dy, axis=axes)
    dx = (dy - g - y * psi) / sigma
    return dx, dgamma, dbeta

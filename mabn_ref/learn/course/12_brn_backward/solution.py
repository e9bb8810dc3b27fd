"""Batch Renormalization, backward with r and d held constant."""

from typing import NamedTuple

import numpy as np


class Cache(NamedTuple):
    """What forward kept."""

    y: np.ndarray  # (x - mu) / sigma, of the shape of x
    sigma: np.ndarray  # (C,): the batch's own, sqrt(var + eps)
    r: np.ndarray  # (C,)
    d: np.ndarray  # (C,)
    gamma: np.ndarray  # (C,)


def backward(dz, cache):
    """Gradients of the loss with respect to x, gamma and beta, as if r and d did not depend on x.

    dz: array of the shape of x, the gradient with respect to z
    cache: a Cache
    Returns dx, an array of the shape of x, and dgamma and dbeta, arrays of shape (C,).
    """
    # TODO: dgamma and dbeta, sums over what gamma and beta act on; then dy, its two means, and dx
    y, sigma, r, d, gamma = cache
    axes = tuple(range(dz.ndim - 1))
    dgamma = np.sum(dz * (r * y + d), axis=axes)
    dbeta = np.sum(dz, axis=axes)
    dy = gamma * r * dz
    g = np.mean(dy, axis=axes)
    psi = np.mean(y * dy, axis=axes)
    dx = (dy - g - y * psi) / sigma
    return dx, dgamma, dbeta

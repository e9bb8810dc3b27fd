"""Batch normalisation, backward through the graph."""

from typing import NamedTuple

import numpy as np


class Cache(NamedTuple):
    """What forward kept."""

    centred: np.ndarray  # x - mu, of the shape of x
    sigma: np.ndarray  # (C,): sqrt(var + eps)
    y: np.ndarray  # centred / sigma, of the shape of x
    gamma: np.ndarray  # (C,)


def affine_backward(dz, y, gamma):
    """Step back over z = gamma * y + beta.

    dz, y: arrays of shape (N, ..., C)
    gamma: array of shape (C,)
    Returns dy, an array of the shape of y, and dgamma and dbeta, arrays of shape (C,).
    """
    # TODO
    axes = tuple(range(dz.ndim - 1))
    dbeta = np.sum(dz, axis=axes)
    dgamma = np.sum(dz * y, axis=axes)
    return dz * gamma, dgamma, dbeta


def division_backward(dy, centred, sigma):
    """Step back over y = centred / sigma.

    dy, centred: arrays of shape (N, ..., C)
    sigma: array of shape (C,)
    Returns dcentred, an array of the shape of centred, and dsigma, an array of shape (C,).
    """
    # TODO
    axes = tuple(range(dy.ndim - 1))
    dsigma = -np.sum(dy * centred, axis=axes) / sigma**2
    return dy / sigma, dsigma


def root_backward(dsigma, sigma):
    """Step back over sigma = sqrt(var + eps).

    dsigma, sigma: arrays of shape (C,)
    Returns dvar, an array of shape (C,).
    """
    # TODO
    return dsigma / (2 * sigma)


def squares_backward(dvar, centred):
    """Step back over var = mean of centred**2.

    dvar: array of shape (C,)
    centred: array of shape (N, ..., C)
    Returns dcentred, an array of the shape of centred.
    """
    # TODO
    values = centred[..., 0].size
    return 2 * centred * dvar / values


def centring_backward(dcentred):
    """Step back over centred = x - mu, where mu is the mean of x.

    dcentred: array of shape (N, ..., C)
    Returns dx, an array of the same shape.
    """
    # TODO
    axes = tuple(range(dcentred.ndim - 1))
    dmu = -np.sum(dcentred, axis=axes)
    values = dcentred[..., 0].size
    return dcentred + dmu / values


def backward(dz, cache):
    """All the steps, last one first.

    dz: array of shape (N, ..., C)
    cache: a Cache
    Returns dx, an array of the shape of dz.
    """
    # TODO: centred was used twice
    centred, sigma, y, gamma = cache
    dy, _, _ = affine_backward(dz, y, gamma)
    direct, dsigma = division_backward(dy, centred, sigma)
    dvar = root_backward(dsigma, sigma)
    through_var = squares_backward(dvar, centred)
    return centring_backward(direct + through_var)

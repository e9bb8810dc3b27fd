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
    raise NotImplementedError


def division_backward(dy, centred, sigma):
    """Step back over y = centred / sigma.

    dy, centred: arrays of shape (N, ..., C)
    sigma: array of shape (C,)
    Returns dcentred, an array of the shape of centred, and dsigma, an array of shape (C,).
    """
    # TODO
    raise NotImplementedError


def root_backward(dsigma, sigma):
    """Step back over sigma = sqrt(var + eps).

    dsigma, sigma: arrays of shape (C,)
    Returns dvar, an array of shape (C,).
    """
    # TODO
    raise NotImplementedError


def squares_backward(dvar, centred):
    """Step back over var = mean of centred**2.

    dvar: array of shape (C,)
    centred: array of shape (N, ..., C)
    Returns dcentred, an array of the shape of centred.
    """
    # TODO
    raise NotImplementedError


def centring_backward(dcentred):
    """Step back over centred = x - mu, where mu is the mean of x.

    dcentred: array of shape (N, ..., C)
    Returns dx, an array of the same shape.
    """
    # TODO
    raise NotImplementedError


def backward(dz, cache):
    """All the steps, last one first.

    dz: array of shape (N, ..., C)
    cache: a Cache
    Returns dx, an array of the shape of dz.
    """
    # TODO: centred was used twice
    raise NotImplementedError

"""MABN, backward."""

from typing import NamedTuple

import numpy as np


class Cache(NamedTuple):
    """What forward kept."""

    y: np.ndarray  # x / chi, before r, of the shape of x
    chi: np.ndarray  # (C,): root of the averaged mean square, eps in it
    r: np.ndarray  # (C,)
    gamma: np.ndarray  # (C,)


def backward(dz, cache, psi_window, window):
    """What goes back to x, with the averaged Psi, and the gradients of the loss with respect to gamma and beta.

    dz: array of the shape of x, the gradient with respect to z
    cache: a Cache
    psi_window: array of shape (held, C), the last values of Psi, oldest first; held is 0 at the start, at most m
    window: the number of batches m that an average is over
    Returns dx, an array of the shape of x, dgamma and dbeta, arrays of shape (C,), and the new psi_window.
    """
    # TODO: dgamma and dbeta; dy and the batch's Psi, which goes into the window; then dx
    y, chi, r, gamma = cache
    axes = tuple(range(dz.ndim - 1))
    dgamma = np.sum(dz * (r * y), axis=axes)
    dbeta = np.sum(dz, axis=axes)
    dy = dz * (gamma * r)
    psi_batch = np.mean(y * dy, axis=axes)
    held = np.concatenate([psi_window, psi_batch[None]])[-window:]
    psi = np.mean(held, axis=0)
    dx = (dy - y * psi) / chi
    return dx, dgamma, dbeta, held

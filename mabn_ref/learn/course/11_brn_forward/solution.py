"""Batch Renormalization, forward."""

from typing import NamedTuple

import numpy as np


class State(NamedTuple):
    """Moving statistics."""

    mean: np.ndarray  # (C,)
    sigma: np.ndarray  # (C,): of sqrt(var + eps)


class Cache(NamedTuple):
    """What backward will need."""

    y: np.ndarray  # (x - mu) / sigma, of the shape of x
    sigma: np.ndarray  # (C,): the batch's own
    r: np.ndarray  # (C,)
    d: np.ndarray  # (C,)
    gamma: np.ndarray  # (C,)


def forward(x, gamma, beta, state, eps, decay, r_max, d_max):
    """Normalise every channel by the batch, then correct by r and d.

    x: array of shape (N, ..., C)
    gamma, beta: arrays of shape (C,)
    state: a State, from before this batch
    eps, decay, r_max, d_max: numbers
    Returns z, an array of the shape of x, a Cache and a new State.
    """
    # TODO: mu, sigma and y of the batch; r and d; z; last the moving statistics
    axes = tuple(range(x.ndim - 1))
    mu = np.mean(x, axis=axes)
    centred = x - mu
    sigma = np.sqrt(np.mean(centred**2, axis=axes) + eps)
    y = centred / sigma
    r = np.clip(sigma / state.sigma, 1 / r_max, r_max)
    d = np.clip((mu - state.mean) / state.sigma, -d_max, d_max)
    z = gamma * (r * y + d) + beta
    mean_after = decay * state.mean + (1 - decay) * mu
    sigma_after = decay * state.sigma + (1 - decay) * sigma
    return z, Cache(y, sigma, r, d, gamma), State(mean_after, sigma_after)

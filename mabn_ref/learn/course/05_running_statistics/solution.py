"""Running statistics and inference."""

from typing import NamedTuple

import numpy as np


class State(NamedTuple):
    """Moving statistics."""

    mean: np.ndarray  # (C,)
    var: np.ndarray  # (C,)


def init(channels):
    """The State before the first batch.

    channels: an integer, C
    Returns a State of float64 arrays.
    """
    # TODO
    return State(mean=np.zeros(channels), var=np.ones(channels))


def update(state, x, decay):
    """Update the moving statistics with one batch.

    state: a State
    x: array of shape (N, ..., C)
    decay: the weight of the old value, a number in [0, 1]
    Returns a new State; state stays as it is.
    """
    # TODO
    axes = tuple(range(x.ndim - 1))
    mu = np.mean(x, axis=axes)
    var = np.mean((x - mu) ** 2, axis=axes)
    mean = decay * state.mean + (1 - decay) * mu
    return State(mean, decay * state.var + (1 - decay) * var)


def infer(x, gamma, beta, state, eps):
    """Normalise by the moving statistics.

    x: array of shape (N, ..., C)
    gamma, beta: arrays of shape (C,)
    state: a State
    eps: a number
    Returns z, an array of the shape of x.
    """
    # TODO
    y = (x - state.mean) / np.sqrt(state.var + eps)
    return gamma * y + beta

"""MABN with a warm-up: the whole layer."""

from typing import NamedTuple

import numpy as np


class Config(NamedTuple):
    """Hyper-parameters."""

    eps: float
    window: int  # m, the number of batches that a simple average is over
    decay: float  # weight of the old value in the exponential average
    clip: float  # r stays between 1 / clip and clip
    warmup: int  # batch statistics in both passes, and r = 1, while t < warmup


class State(NamedTuple):
    """What the layer remembers."""

    chi2: np.ndarray  # (C,): exponential average of the mean square
    chi2_window: np.ndarray  # (held, C): its last values, oldest first; held is 0 at the start, at most m
    psi_window: np.ndarray  # (held, C): the same of Psi
    iteration: int  # batches so far, forward passes that is


class Cache(NamedTuple):
    """What backward needs."""

    y: np.ndarray  # x / chi, before r, of the shape of x
    chi: np.ndarray  # (C,): what forward divided by
    r: np.ndarray  # (C,)
    gamma: np.ndarray  # (C,)
    iteration: int  # t, the number of this batch, counted from 1


def forward(x, gamma, beta, state, config):
    """Normalise by the batch in warm-up, by the averages after.

    x: array of shape (N, ..., C)
    gamma, beta: arrays of shape (C,)
    state: a State, from before this batch
    config: a Config
    Returns z, an array of the shape of x, a Cache and a new State.
    """
    # TODO: exercise 15, with chi and r of the phase, and the count
    raise NotImplementedError


def backward(dz, cache, state, config):
    """What goes back to x, gamma and beta.

    dz: array of the shape of x, the gradient with respect to z
    cache: a Cache
    state: a State; forward passes of later batches may have changed it
    config: a Config
    Returns dx, an array of the shape of x, dgamma and dbeta, arrays of shape (C,), and a new State.
    """
    # TODO: exercise 16, with the Psi of the phase
    raise NotImplementedError

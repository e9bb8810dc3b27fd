"""MABN, forward."""

from typing import NamedTuple

import numpy as np


class State(NamedTuple):
    """Moving statistics of forward."""

    chi2: np.ndarray  # (C,): exponential average of the mean square
    chi2_window: np.ndarray  # (held, C): its last values, oldest first; held is 0 at the start, at most m


class Cache(NamedTuple):
    """What backward will need."""

    y: np.ndarray  # x / chi, before r, of the shape of x
    chi: np.ndarray  # (C,): root of the averaged mean square, eps in it
    r: np.ndarray  # (C,)
    gamma: np.ndarray  # (C,)


def forward(x, gamma, beta, state, eps, window, decay, clip):
    """Divide every channel by the root of its averaged mean square, then renormalise.

    x: array of shape (N, ..., C)
    gamma, beta: arrays of shape (C,)
    state: a State, from before this batch
    window: the number of batches m that an average is over
    eps, decay, clip: numbers
    Returns z, an array of the shape of x, a Cache and a new State.
    """
    # TODO: the batch's mean square goes into the window; then chi, r, y and z; last the exponential average
    chi2_batch = np.mean(x**2, axis=tuple(range(x.ndim - 1)))
    held = np.concatenate([state.chi2_window, chi2_batch[None]])[-window:]
    chi = np.sqrt(np.mean(held, axis=0) + eps)
    chi_hat = np.sqrt(state.chi2 + eps)
    r = np.clip(chi / chi_hat, 1 / clip, clip)
    y = x / chi
    z = gamma * (r * y) + beta
    chi2 = decay * state.chi2 + (1 - decay) * chi2_batch
    return z, Cache(y, chi, r, gamma), State(chi2, held)

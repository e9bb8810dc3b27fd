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
    t = state.iteration + 1
    warm = t < config.warmup
    chi2_batch = np.mean(x**2, axis=tuple(range(x.ndim - 1)))
    chi2_held = np.concatenate([state.chi2_window, chi2_batch[None]])[-config.window :]
    chi2_used = chi2_batch if warm else np.mean(chi2_held, axis=0)
    chi = np.sqrt(chi2_used + config.eps)
    chi_hat = np.sqrt(state.chi2 + config.eps)
    r = np.ones_like(chi) if warm else np.clip(chi / chi_hat, 1 / config.clip, config.clip)
    y = x / chi
    z = gamma * (r * y) + beta
    chi2 = config.decay * state.chi2 + (1 - config.decay) * chi2_batch
    return z, Cache(y, chi, r, gamma, t), State(chi2, chi2_held, state.psi_window, t)


def backward(dz, cache, state, config):
    """What goes back to x, gamma and beta.

    dz: array of the shape of x, the gradient with respect to z
    cache: a Cache
    state: a State; forward passes of later batches may have changed it
    config: a Config
    Returns dx, an array of the shape of x, dgamma and dbeta, arrays of shape (C,), and a new State.
    """
    # TODO: exercise 16, with the Psi of the phase
    y, chi, r, gamma, t = cache
    axes = tuple(range(dz.ndim - 1))
    dgamma = np.sum(dz * (r * y), axis=axes)
    dbeta = np.sum(dz, axis=axes)
    dy = dz * (gamma * r)
    psi_batch = np.mean(y * dy, axis=axes)
    psi_held = np.concatenate([state.psi_window, psi_batch[None]])[-config.window :]
    psi = psi_batch if t < config.warmup else np.mean(psi_held, axis=0)
    dx = (dy - y * psi) / chi
    return dx, dgamma, dbeta, state._replace(psi_window=psi_held)

"""Hunt: inference counts eps twice."""

from typing import NamedTuple

import numpy as np

# TODO: with eps = 0.1, a batch repeated for ever gives other numbers in inference than in training. Fix it.


class State(NamedTuple):
    """Moving statistics."""

    mean: np.ndarray  # (C,)
    var: np.ndarray  # (C,)


def forward(x, gamma, beta, state, decay, eps):
    """Normalise by the batch. Returns z and the new state."""
    axes = tuple(range(x.ndim - 1))
    mu = np.mean(x, axis=axes)
    # BUG: var = eps + np.mean((x - mu) ** 2, axis=axes)
    var = np.mean((x - mu) ** 2, axis=axes)
    # BUG: z = gamma * (x - mu) / np.sqrt(var) + beta
    z = gamma * (x - mu) / np.sqrt(var + eps) + beta
    mean_hat = decay * state.mean + (1 - decay) * mu
    var_hat = decay * state.var + (1 - decay) * var
    return z, State(mean_hat, var_hat)


def infer(x, gamma, beta, state, eps):
    """Normalise by the moving statistics."""
    return gamma * (x - state.mean) / np.sqrt(state.var + eps) + beta

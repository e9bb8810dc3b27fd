"""Hunt: how many values does a channel have?"""

from typing import NamedTuple

import numpy as np

# TODO: with x of shape (N, C) all is well; with images the moving variance is too large. Fix it.


class State(NamedTuple):
    """Moving statistics."""

    mean: np.ndarray  # (C,)
    var: np.ndarray  # (C,)


def forward(x, gamma, beta, state, decay, eps):
    """Normalise by the batch. Returns z and the new state, whose variance has Bessel's correction in it."""
    axes = tuple(range(x.ndim - 1))
    mu = np.mean(x, axis=axes)
    var = np.mean((x - mu) ** 2, axis=axes)
    z = gamma * (x - mu) / np.sqrt(var + eps) + beta
    # BUG: m = np.float64(x.shape[0])
    m = np.float64(x.size // x.shape[-1])
    mean_hat = decay * state.mean + (1 - decay) * mu
    var_hat = decay * state.var + (1 - decay) * var * m / (m - 1)
    return z, State(mean_hat, var_hat)

"""Hunt: the gradient that was right for a year."""

import numpy as np

# TODO: with eps = 1e-5 the gradients look right, with eps = 0.5 they do not. Find the bug and fix it.


def forward(x, gamma, beta, eps):
    """Normalise every channel. Returns z and what backward needs."""
    axes = tuple(range(x.ndim - 1))
    mu = np.mean(x, axis=axes)
    var = np.mean((x - mu) ** 2, axis=axes)
    z = gamma * (x - mu) / np.sqrt(var + eps) + beta
    return z, (x, mu, var, gamma, eps)


def backward(dz, cache):
    """Gradients with respect to x, gamma and beta."""
    x, mu, var, gamma, eps = cache
    axes = tuple(range(x.ndim - 1))
    # BUG: inverse = 1 / np.sqrt(var)
    inverse = 1 / np.sqrt(var + eps)
    y = (x - mu) * inverse
    dgamma = np.sum(dz * y, axis=axes)
    dbeta = np.sum(dz, axis=axes)
    dy = dz * gamma
    dx = inverse * (dy - np.mean(dy, axis=axes) - y * np.mean(y * dy, axis=axes))
    return dx, dgamma, dbeta

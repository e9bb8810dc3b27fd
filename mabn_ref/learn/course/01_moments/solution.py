"""The mean and the variance of a batch."""

import numpy as np


def moments(x):
    """Mean and variance of every channel.

    x: array of shape (N, ..., C)
    Returns mu and var, arrays of shape (C,).
    """
    # TODO: the mean over all axes but the last, then the variance, divided by the number of values
    axes = tuple(range(x.ndim - 1))
    mu = np.mean(x, axis=axes)
    centred = x - mu
    var = np.mean(centred**2, axis=axes)
    return mu, var

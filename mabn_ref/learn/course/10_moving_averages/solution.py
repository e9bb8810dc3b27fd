"""Simple and exponential moving averages."""

import numpy as np


def simple(values, m):
    """The mean of the last m values, this one included, at every iteration.

    values: array of shape (T, C)
    m: an integer, 1 or more
    Returns an array of shape (T, C).
    """
    # TODO: at first there are fewer than m values
    averages = np.empty_like(values)
    for t in range(len(values)):
        first = max(t - m + 1, 0)
        averages[t] = np.mean(values[first : t + 1], axis=0)
    return averages


def exponential(values, decay, start):
    """The exponential average after every iteration.

    values: array of shape (T, C)
    decay: the weight of the old average, a number in [0, 1]
    start: array of shape (C,), the average before the first value
    Returns an array of shape (T, C).
    """
    # TODO: there is nothing wrong with a loop
    averages = np.empty_like(values)
    average = start
    for t, value in enumerate(values):
        average = decay * average + (1 - decay) * value
        averages[t] = average
    return averages


def equal_decay(m):
    """The decay of an exponential average that is as noisy as a simple one of m values.

    m: an integer, 1 or more
    Returns a number.
    """
    # TODO: on paper
    return (m - 1) / (m + 1)

"""Simple and exponential moving averages."""

import numpy as np


def simple(values, m):
    """The mean of the last m values, this one included, at every iteration.

    values: array of shape (T, C)
    m: an integer, 1 or more
    Returns an array of shape (T, C).
    """
    # TODO: at first there are fewer than m values
    raise NotImplementedError


def exponential(values, decay, start):
    """The exponential average after every iteration.

    values: array of shape (T, C)
    decay: the weight of the old average, a number in [0, 1]
    start: array of shape (C,), the average before the first value
    Returns an array of shape (T, C).
    """
    # TODO: there is nothing wrong with a loop
    raise NotImplementedError


def equal_decay(m):
    """The decay of an exponential average that is as noisy as a simple one of m values.

    m: an integer, 1 or more
    Returns a number.
    """
    # TODO: on paper
    raise NotImplementedError

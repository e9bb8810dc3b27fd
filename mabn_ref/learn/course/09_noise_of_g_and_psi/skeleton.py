"""The noise of g and Psi."""

import numpy as np


def statistics(x, u):
    """The two batch statistics of backward, of many batches.

    x, u: arrays of shape (T, M), a batch in each row; eps is 0
    Returns g and psi, arrays of shape (T,).
    """
    # TODO
    raise NotImplementedError


def noise(sample, size, trials):
    """How much g and Psi vary from batch to batch.

    sample: a function, sample(count) returns x and u, arrays of shape (count,), different ones each time
    size: the number of values of a batch
    trials: the number of batches to draw
    Returns two numbers, the standard deviations of g and of psi.
    """
    # TODO: one call can draw the values of all batches
    raise NotImplementedError


def exponent(sizes, noises):
    """The k of noise = c * size**k, by a straight line through the logarithms.

    sizes, noises: arrays of shape (S,)
    Returns a number.
    """
    # TODO
    raise NotImplementedError


def law(sample, sizes, trials):
    """The exponents of g and of Psi.

    sample, trials: as for noise
    sizes: array of shape (S,)
    Returns two numbers.
    """
    # TODO
    raise NotImplementedError

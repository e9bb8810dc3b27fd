"""The noise of g and Psi."""

import numpy as np


def statistics(x, u):
    """The two batch statistics of backward, of many batches.

    x, u: arrays of shape (T, M), a batch in each row; eps is 0
    Returns g and psi, arrays of shape (T,).
    """
    # TODO
    centred = x - np.mean(x, axis=1, keepdims=True)
    sigma = np.sqrt(np.mean(centred**2, axis=1, keepdims=True))
    y = centred / sigma
    g = np.mean(u, axis=1)
    psi = np.mean(y * u, axis=1)
    return g, psi


def noise(sample, size, trials):
    """How much g and Psi vary from batch to batch.

    sample: a function, sample(count) returns x and u, arrays of shape (count,), different ones each time
    size: the number of values of a batch
    trials: the number of batches to draw
    Returns two numbers, the standard deviations of g and of psi.
    """
    # TODO: one call can draw the values of all batches
    x, u = sample(trials * size)
    g, psi = statistics(x.reshape(trials, size), u.reshape(trials, size))
    return np.std(g), np.std(psi)


def exponent(sizes, noises):
    """The k of noise = c * size**k, by a straight line through the logarithms.

    sizes, noises: arrays of shape (S,)
    Returns a number.
    """
    # TODO
    log_sizes = np.log(sizes) - np.mean(np.log(sizes))
    return np.sum(log_sizes * np.log(noises)) / np.sum(log_sizes**2)


def law(sample, sizes, trials):
    """The exponents of g and of Psi.

    sample, trials: as for noise
    sizes: array of shape (S,)
    Returns two numbers.
    """
    # TODO
    of_g, of_psi = np.array([noise(sample, size, trials) for size in sizes]).T
    return exponent(sizes, of_g), exponent(sizes, of_psi)

"""Check a gradient."""

import numpy as np


def numerical_gradient(f, x, dz):
    """Gradient of L(x) = sum of dz * f(x), by differences.

    f: a function; f(x) returns an array of the shape of dz, which may differ from that of x
    x, dz: arrays
    Returns an array of the shape of x.
    """
    # TODO: move one element of a copy of x at a time
    h = 1e-5
    gradient = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        after, before = x.copy(), x.copy()
        after[i] += h
        before[i] -= h
        gradient[i] = np.sum(dz * (f(after) - f(before))) / (2 * h)
    return gradient


def relative_error(found, right):
    """The largest difference, as a fraction of the largest right number.

    found, right: arrays of the same shape
    Returns a number.
    """
    # TODO
    return np.max(np.abs(found - right)) / np.max(np.abs(right))


def check(forward, backward, x):
    """Whether backward is the gradient of forward at x.

    forward: a function, forward(x) returns an array z
    backward: a function, backward(x, dz) returns an array of the shape of x; dz has the shape of z
    x: an array
    Returns True or False.
    """
    # TODO: np.random.default_rng(0).standard_normal(shape) draws random numbers
    dz = np.random.default_rng(0).standard_normal(forward(x).shape)
    right = numerical_gradient(forward, x, dz)
    error = relative_error(backward(x, dz), right)
    return bool(error < 1e-4)

"""Check a gradient."""

import numpy as np


def numerical_gradient(f, x, dz):
    """Gradient of L(x) = sum of dz * f(x), by differences.

    f: a function of an array of the shape of x; it returns one of the shape of dz, which may be another
    x, dz: arrays
    Returns an array of the shape of x.
    """
    # TODO: move one element of a copy of x at a time
    raise NotImplementedError


def relative_error(found, right):
    """How far an array is from the right one.

    found, right: arrays of the same shape
    Returns a number.
    """
    # TODO
    raise NotImplementedError


def check(forward, backward, x):
    """Whether backward is the gradient of forward at x.

    forward: a function, forward(x) returns an array z
    backward: a function, backward(x, dz) returns an array of the shape of x; dz has the shape of z
    x: an array
    Returns True or False.
    """
    # TODO: np.random.default_rng(0).standard_normal(shape) draws random numbers
    raise NotImplementedError

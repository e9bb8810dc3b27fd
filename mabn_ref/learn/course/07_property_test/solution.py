"""A property test that catches a wrong backward."""

import numpy as np


def suspect(x, dz):
    """The gradient of batch normalisation for x, or is it?"""
    axes = tuple(range(x.ndim - 1))
    return (dz - dz.mean(axes)) / x.std(axes)


def no_shift(backward, x, dz):
    """Whether dx sums to zero over every channel.

    backward: a function, backward(x, dz) returns dx, an array of the shape of x
    x, dz: arrays of shape (N, ..., C)
    Returns True or False.
    """
    # TODO
    dx = backward(x, dz)
    axes = tuple(range(x.ndim - 1))
    total = np.sum(dx, axis=axes)
    size = np.sum(np.abs(dx), axis=axes)
    return bool(np.all(np.abs(total) <= 1e-9 * size))


def no_stretch(backward, x, dz):
    """Whether (x - mu) * dx sums to zero over every channel.

    Arguments and result are those of no_shift.
    """
    # TODO
    axes = tuple(range(x.ndim - 1))
    terms = (x - np.mean(x, axis=axes)) * backward(x, dz)
    along = np.sum(terms, axis=axes)
    sizes = np.sum(np.abs(terms), axis=axes)
    return bool(np.all(np.abs(along) <= 1e-9 * sizes))


def scales(backward, x, dz):
    """Whether dx at 2 * x is half of dx at x.

    Arguments and result are those of no_shift.
    """
    # TODO
    dx = backward(x, dz)
    rest = 2 * backward(2 * x, dz) - dx
    return bool(np.all(np.abs(rest) <= 1e-9 * np.max(np.abs(dx))))


def test(backward):
    """Whether all three hold for an x and a dz that are drawn here.

    backward: a function, as for no_shift
    Returns True or False.
    """
    # TODO: which shapes, which numbers?
    x, dz = np.random.default_rng(0).standard_normal((2, 6, 4, 3))
    return no_shift(backward, x, dz) and no_stretch(backward, x, dz) and scales(backward, x, dz)

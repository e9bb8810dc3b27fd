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
    raise NotImplementedError


def no_stretch(backward, x, dz):
    """Whether (x - mu) * dx sums to zero over every channel.

    Arguments and result are those of no_shift.
    """
    # TODO
    raise NotImplementedError


def scales(backward, x, dz):
    """Whether dx at 2 * x is half of dx at x.

    Arguments and result are those of no_shift.
    """
    # TODO
    raise NotImplementedError


def test(backward):
    """Whether all three hold for an x and a dz that are drawn here.

    Returns True or False.
    """
    # TODO: which shapes, which numbers?
    raise NotImplementedError

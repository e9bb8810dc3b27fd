"""The adjoint that looks forward."""

import numpy as np


def future_mean(values, window):
    """The transpose of the simple moving average: mean of each value and the next ones, zeros after the end.

    values: array of shape (T,)
    window: the number of values m that a mean is over, never more than T
    Returns an array of shape (T,).
    """
    # TODO: entry t is the sum of values t, ..., t + m - 1, those there are, divided by m
    raise NotImplementedError


def one_call(x, u, chi, window):
    """Derivative of each iteration's loss with respect to its own x.

    x, u: arrays of shape (T, M)
    chi: array of shape (T,)
    window: m
    Returns an array of shape (T, M).
    """
    # TODO: y, Psi of every iteration, and the first formula
    raise NotImplementedError


def all_calls(x, u, chi, ahead):
    """Derivative of the sum of all losses.

    x, u: arrays of shape (T, M)
    chi: array of shape (T,)
    ahead: a function; ahead(values) is future_mean(values, m) of an array of shape (T,)
    Returns an array of shape (T, M).
    """
    # TODO: what is it that has its future averaged?
    raise NotImplementedError


def mabn(x, u, chi, behind):
    """What MABN sends back.

    x, u: arrays of shape (T, M)
    chi: array of shape (T,)
    behind: a function; behind(values) is the mean of each value and those before, of an array of shape (T,)
    Returns an array of shape (T, M).
    """
    # TODO: the last formula
    raise NotImplementedError

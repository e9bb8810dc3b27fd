"""The adjoint that looks forward."""

import numpy as np


def future_mean(values, window):
    """The transpose of the simple moving average: mean of each value and the next ones, zeros after the end.

    values: array of shape (T,)
    window: the number of values m that a mean is over, never more than T
    Returns an array of shape (T,).
    """
    # TODO: entry t is the sum of values t, ..., t + m - 1, those there are, divided by m
    padded = np.concatenate([values, np.zeros(window - 1)])
    return np.array([np.sum(padded[t : t + window]) / window for t in range(len(values))])


def one_call(x, u, chi, window):
    """Derivative of each iteration's loss with respect to its own x.

    x, u: arrays of shape (T, M)
    chi: array of shape (T,)
    window: m
    Returns an array of shape (T, M).
    """
    # TODO: y, Psi of every iteration, and the first formula
    y = x / chi[:, None]
    psi = np.mean(y * u, axis=1)
    return (u - y * psi[:, None] / window) / chi[:, None]


def all_calls(x, u, chi, ahead):
    """Derivative of the sum of all losses.

    x, u: arrays of shape (T, M)
    chi: array of shape (T,)
    ahead: a function; ahead(values) is future_mean(values, m) of an array of shape (T,)
    Returns an array of shape (T, M).
    """
    # TODO: what is it that has its future averaged?
    psi = np.mean(x * u, axis=1) / chi
    felt = ahead(psi / chi**2)
    return u / chi[:, None] - x * felt[:, None]


def mabn(x, u, chi, behind):
    """What MABN sends back.

    x, u: arrays of shape (T, M)
    chi: array of shape (T,)
    behind: a function; behind(values) is the mean of each value and those before, of an array of shape (T,)
    Returns an array of shape (T, M).
    """
    # TODO: the last formula
    psi = np.mean(x / chi[:, None] * u, axis=1)
    remembered = behind(psi) / chi**2
    return u / chi[:, None] - x * remembered[:, None]

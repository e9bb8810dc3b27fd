"""Weight centralisation, forward and backward."""

import numpy as np


def forward(w):
    """Subtract from every output filter the mean of its weights.

    w: array of shape (kh, kw, in, out)
    Returns w_c, an array of the same shape.
    """
    # TODO: which axes belong to one filter?
    w_c = w - np.mean(w, axis=(0, 1, 2))
    return w_c


def backward(dw_c):
    """Gradient of the loss with respect to w.

    dw_c: array of shape (kh, kw, in, out), the gradient with respect to w_c
    Returns dw, an array of the same shape.
    """
    # TODO: the sum of the statement, worked out; it needs no cache
    dw = dw_c - np.mean(dw_c, axis=(0, 1, 2))
    return dw


def output_means(w_c, mu):
    """Mean of every output channel, away from the border.

    w_c: array of shape (kh, kw, in, out)
    mu: array of shape (in,), the means of the input channels
    Returns an array of shape (out,).
    """
    # TODO: every weight times the mean of its input channel, summed over its filter
    means = np.sum(w_c * mu[:, None], axis=(0, 1, 2))
    return means

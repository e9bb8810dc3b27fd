"""Folding a normaliser into the convolution before it."""

import numpy as np


def line(gamma, beta, m, q, eps):
    """Inference as one factor and one shift per channel: z = s * x + t.

    gamma, beta, m, q: arrays of shape (C,), m the moving mean, q the moving square
    eps: a number
    Returns s and t, arrays of shape (C,).
    """
    # TODO: multiply the formula for z out: what does x meet, and what is left?
    s = gamma / np.sqrt(q + eps)
    t = beta - s * m
    return s, t


def fold(w, s, t):
    """The kernel and the bias of one convolution that also centres its weight and applies s and t.

    w: array of shape (kh, kw, in, out), the weight as it is stored, not yet centred
    s, t: arrays of shape (out,)
    Returns k, an array of the shape of w, and b, an array of shape (out,).
    """
    # TODO: which weight did the convolution run with in training? Fold that one
    w_c = w - np.mean(w, axis=(0, 1, 2))
    k = w_c * s
    b = t
    return k, b

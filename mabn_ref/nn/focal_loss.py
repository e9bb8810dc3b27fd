"""Focal loss: cross-entropy of yes-or-no questions, in which the many easy answers do not drown the few hard ones.

For every place and every class a detector asks "is one here?", and the answer is nearly always no.
"""

from __future__ import annotations

from typing import NamedTuple

from mabn_ref.arrays import Array, check_at_least, check_own, namespace, shown
from mabn_ref.nn.common import check_rank, check_scalar_cotangent, check_targets


class Cache(NamedTuple):
    """What `backward` needs, arrays all (N, classes)."""

    sign: Array  #: s: +1 where the answer is yes, -1 where it is no
    weight: Array  #: a_t: alpha where the answer is yes, 1 - alpha where it is no
    p: Array  #: p_t, the probability given to the right answer
    q: Array  #: 1 - p_t, without the rounding of that difference
    log_p: Array  #: the logarithm of p_t
    gamma: float  #: the exponent
    positives: int  #: how many answers are yes, at least 1


def forward(logits: Array, truth: Array, *, alpha: float = 0.25, gamma: float = 2.0) -> tuple[Array, Cache]:
    """Return the focal loss, summed and divided by the number of answers that are yes, as an array of shape ().

    Implements :eq:`focal-loss-forward`. The scores `logits` (N, classes) may be of any size. `truth` (N, classes), an
    integer array of the same library, is 1 where the answer is yes and 0 elsewhere; without any 1 the sum is not
    divided. `alpha`, in [0, 1], weighs yes against no. With ``gamma=0`` and ``alpha=0.5`` this is half the
    cross-entropy.
    """
    check_rank("logits", logits, "N, classes")
    check_at_least("alpha", alpha, 0)
    check_at_least("gamma", gamma, 0)
    if alpha > 1:
        raise ValueError(f"alpha is {shown(alpha)}, expected a number in [0, 1]")
    check_targets("truth", truth, logits)
    xp, alpha, gamma = namespace(logits), float(alpha), float(gamma)
    positives = max(int(xp.sum(truth)), 1)
    yes = xp.astype(truth, logits.dtype)
    sign = 2 * yes - 1
    weight = (1 - alpha) + (2 * alpha - 1) * yes
    u = sign * logits
    log_p = -_softplus(-u)
    p, q = xp.exp(log_p), xp.exp(log_p - u)
    loss = xp.sum(-weight * q**gamma * log_p) / positives  # eq: focal-loss-forward
    return loss, Cache(sign, weight, p, q, log_p, gamma, positives)


def backward(dloss: Array | float, cache: Cache) -> Array:
    """Return dL/dlogits, :eq:`focal-loss-backward`.

    `dloss` is a float, or an array of shape () and of the dtype of the logits; 1.0 for the gradient of the loss.

    Examples
    --------
    A wrong answer has its full gradient, a right one next to none:

    >>> import numpy as np
    >>> loss, cache = forward(np.array([[-9.0, 9.0]]), np.array([[1, 1]]))
    >>> backward(1.0, cache).round(4) + 0.0
    array([[-0.1252,  0.    ]])
    """
    check_own((cache, Cache))
    dloss = check_scalar_cotangent("dloss", dloss, cache.p, "logits")
    sign, weight, p, q, log_p, gamma, positives = cache
    slope = sign * weight * q**gamma * (gamma * p * log_p - q)  # eq: focal-loss-backward
    dlogits: Array = slope * (dloss / positives)
    return dlogits


def _softplus(v: Array) -> Array:
    """log(1 + e^v) without overflow; |v| is written in a form that a complex step can pass through."""
    xp = namespace(v)
    positive = xp.maximum(v, 0)
    return positive + xp.log1p(xp.exp(v - 2 * positive))

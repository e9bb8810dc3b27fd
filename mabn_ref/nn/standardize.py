"""Weight standardisation: every output filter to mean 0 and variance 1.

Qiao et al., "Micro-Batch Training with Batch-Channel Normalization and Weight Standardization", 2019. It is weight
centralisation (`mabn_ref.nn.centralize`) and a division; that division makes a second statistic go back.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from mabn_ref.arrays import Array, check_own, check_squares, copied, namespace
from mabn_ref.nn import centralize
from mabn_ref.nn.checks import check_cotangent, check_number, check_rank

__all__ = ["Cache", "backward", "forward"]


class Cache(NamedTuple):
    """What `backward` needs.

    Attributes
    ----------
    w_s : array, shape (kh, kw, in, out)
        A copy of the output of `forward`.
    sigma : array, shape (1, 1, 1, out)
        sqrt(variance + eps) of every filter.
    """

    w_s: Array
    sigma: Array


def forward(w: Array, *, eps: float = 1e-5) -> tuple[Array, Cache]:
    """Return W_s = (W - mean(W)) / sqrt(var(W) + eps), mean and biased variance over (kh, kw, in) of each filter.

    Parameters
    ----------
    w : array of float32 or float64, shape (kh, kw, in, out)
        A convolution's weight; a filter has at least two numbers.
    eps : float
        Added to the variance inside the square root, once.

    Returns
    -------
    w_s : array, shape (kh, kw, in, out)
        The standardised weight.
    cache : Cache
        For `backward`.

    Raises
    ------
    TypeError
        If `w` has an integer, boolean or half dtype, or `eps` is no number.
    ValueError
        If `w` has another rank than 4 or one number a filter, or `eps` is negative.
    OverflowError
        If the squares of finite values of `w` sum up to more than its dtype holds.

    Notes
    -----
    Implements :eq:`standardize-forward`.

    Examples
    --------
    >>> import numpy as np
    >>> w_s, cache = forward(np.array([1.0, 3.0]).reshape(1, 1, 2, 1), eps=0.0)
    >>> w_s.ravel()
    array([-1.,  1.])
    """
    check_rank("w", w, "kh, kw, in, out")
    check_number("eps", eps)
    if math.prod(w.shape[:3]) == 1:
        raise ValueError(
            f"w has shape {tuple(w.shape)}: one number a filter, whose variance is 0 by construction; expected at "
            "least 2 numbers a filter"
        )
    xp, axes, eps = namespace(w), (0, 1, 2), float(eps)
    centred = centralize.centred(w)
    var = xp.mean(centred * centred, axis=axes, keepdims=True)
    check_squares("w", w, var, place="filter")
    sigma = xp.sqrt(var + eps)
    w_s = centred / sigma  # eq: standardize-forward
    return w_s, Cache(copied(w_s), sigma)


def backward(dw_s: Array, cache: Cache) -> Array:
    """Return dL/dW, through the division and the subtraction: :eq:`bn-backward` (4) for a filter.

    Parameters
    ----------
    dw_s : array, shape (kh, kw, in, out)
        dL/dW_s.
    cache : Cache
        From `forward`.

    Returns
    -------
    array, shape (kh, kw, in, out)
        dL/dW.

    Raises
    ------
    TypeError, ValueError
        If `dw_s` has not the dtype or shape of the weight, or `cache` is none of this layer.

    Notes
    -----
    Implements :eq:`standardize-backward`.

    Examples
    --------
    Two numbers, standardised, are -1 and 1 whatever they were:

    >>> import numpy as np
    >>> w_s, cache = forward(np.array([1.0, 3.0]).reshape(1, 1, 2, 1), eps=0.0)
    >>> backward(np.array([5.0, 6.0]).reshape(1, 1, 2, 1), cache).ravel()
    array([0., 0.])
    """
    check_own((cache, Cache))
    check_cotangent("dw_s", dw_s, tuple(cache.w_s.shape), cache.w_s, "w")
    xp, axes, (w_s, sigma) = namespace(dw_s), (0, 1, 2), cache
    g = xp.mean(dw_s, axis=axes, keepdims=True)
    psi = xp.mean(w_s * dw_s, axis=axes, keepdims=True)
    dw: Array = (dw_s - g - w_s * psi) / sigma  # eq: standardize-backward
    return dw

"""How large the rounding error of a function's value is, including that of its intermediate results."""

from __future__ import annotations

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.gradcheck.differences import Along
from mabn_ref.gradcheck.exact import to_float

HALVED = 4.0 * 2.0 ** -np.arange(26)  #: the steps, in units, at which rounding is looked for


def rounding_along(along: Along, most: Array) -> Array:
    """Return how far each output is rounded along a line, as its fourth differences show.

    That may be far more than its size suggests: 1 + tanh(x) at -10 is 4e-9, and a multiple of 2**-53. When the step
    is halved, the fourth difference of a smooth function falls to 1/16. Rounding stays the same until every value
    rounds in the same way, and is then gone. What is larger than `most` is not taken for rounding.

    Examples
    --------
    >>> seen = rounding_along(lambda t: np.array([np.tanh(1 + t), 1 + np.tanh(t - 10)]), np.full(2, 1e-14))
    >>> (2.0**-55 < seen) & (seen < 2.0**-51)
    array([ True,  True])
    """
    center = along(0.0)
    left = np.stack([_fourth(along, center, h) for h in HALVED])
    stays = left[1:] > left[:-1] / 8
    return np.asarray(np.max(np.where(stays & (left[1:] <= most), left[1:], 0.0), axis=0))


def _fourth(along: Along, center: Array, h: float) -> Array:
    """The fourth difference, in which rounding is as large as in one value."""
    values = along(-2 * h) + along(2 * h) - 4 * (along(-h) + along(h)) + 6 * center
    return to_float(abs(values)) / np.sqrt(70.0)

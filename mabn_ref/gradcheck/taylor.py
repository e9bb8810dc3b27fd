"""The Taylor remainder: tells a wrong gradient from a noisy one without any tolerance.

R(h) = <c, f(x + h v)> - <c, f(x)> - h <g, v> falls as h^2 if g is the gradient, and as h if it is not. The fit
R(h) = a h + b h^2 + ... says how wrong: a is the error of <g, v>.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.gradcheck.central import Along

__all__ = ["Taylor", "fit"]

HALVINGS = 2.0 ** -np.arange(2, 8)
FITTED = 4
"""The fit is to this many of the smallest steps, which pass the fewest kinks of a network."""
FIRST_ORDER = np.linalg.pinv(np.vander(HALVINGS[-FITTED:], 3))[-1]
"""Weights that fit a + b h + c h^2 to R(h) / h and give a."""


class Taylor(NamedTuple):
    """The first-order part of the remainder.

    Attributes
    ----------
    a : float
        Its coefficient, relative to the size of the derivative (see `check` for what that is).
    floor : float
        The size of `a` that rounding alone explains.
    order : float
        Observed order of R(h): 2 for a gradient, 1 for a wrong one; NaN where the remainder is rounding.

    Examples
    --------
    >>> print(Taylor(2e-14, 1e-13, float("nan")), Taylor(4.2e-2, 1e-13, 1.0), sep=", ")
    exact, 4.2e-02 (order 1.00)
    """

    a: float
    floor: float
    order: float

    def __str__(self) -> str:
        """Return "exact" if the remainder is rounding, else the coefficient and the order."""
        return "exact" if np.isnan(self.order) else f"{self.a:.1e} (order {self.order:.2f})"


def fit(
    along: Along, center: Array, cotangent: Array, predicted: Any, *, step: float, scale: float, rounding: float
) -> Taylor:
    """Fit the remainder of the prediction h * `predicted` for h from step / 4 to step / 128.

    `rounding` is that of one value of <cotangent, output>.
    """
    steps = step * HALVINGS
    remainder = np.asarray([cotangent @ (along(h) - center) - h * predicted for h in steps], dtype=np.float64)
    a = abs(float(FIRST_ORDER @ (remainder / steps)[-FITTED:])) / scale
    floor = rounding / float(steps[-1]) / scale
    above = np.flatnonzero(np.abs(remainder) > 16 * rounding)
    if above.size < 2:
        return Taylor(a, floor, float("nan"))
    before, last = np.abs(remainder[above[-2:]])
    return Taylor(a, floor, float(np.log2(before / last) / (above[-1] - above[-2])))

"""The complex step: Im f(x + i h) / h is the derivative without cancellation, if f is analytic.

If it is not, the number is silently wrong: ``np.var`` takes |z|^2, ``np.abs`` and a real buffer drop the imaginary
part. So what it gives is believed only where it agrees with central differences (Cauchy and Riemann's condition:
the derivative along i h is that along h), and a refusal says why.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.gradcheck.central import Along

__all__ = ["NotAnalytic", "slopes"]

STEP = 2.0**-70


class NotAnalytic(Exception):
    """The complex step does not apply; the message says why."""


def slopes(lines: Sequence[Along]) -> Array:
    """Return the derivative at 0 of every output, one row for each line.

    Raises
    ------
    NotAnalytic
        If the forward raises for complex input, drops the imaginary part or returns real or non-finite numbers.
    """
    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        for along in lines:
            try:
                out = along(1j * STEP)
            except Exception as error:  # whatever the forward makes of complex numbers, it is a reason
                raise NotAnalytic(f"forward raised {type(error).__name__} for complex input: {error}") from error
            if not np.iscomplexobj(out):
                raise NotAnalytic(f"forward returned {out.dtype} for complex input")
            rows.append(out.imag / STEP)
    if not np.isfinite(rows).all():
        raise NotAnalytic("forward is not finite for complex input")
    return np.stack(rows)

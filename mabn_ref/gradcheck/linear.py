"""Whether backward is linear in dout, over many decades and for both signs.

A backward pass that clips dout, drops small ones or keeps their sign alone may be right for cotangents near one. For
dout times a power of two a linear pass returns, but for rounding, its gradients times the same power.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.gradcheck.calls import Rehearsal
from mabn_ref.gradcheck.exact import to_float
from mabn_ref.gradcheck.result import InputResult

__all__ = ["FACTORS", "check"]

FACTORS = (-1.0, 2.0**-20, -(2.0**-13), 2.0**-7, -(2.0**7), 2.0**13, -(2.0**20))
"""What the first cotangent is multiplied by: a millionth to a million, exactly."""


def check(
    rehearsed: Rehearsal, found: Sequence[InputResult], rtol: float, slack: Sequence[Array]
) -> list[InputResult]:
    """Return what was found, with the verdict "wrong" where a gradient does not grow in proportion to dout.

    `slack` is what rounding may add to each element of each gradient.
    """
    results = list(found)
    for factor in FACTORS:
        dout = np.asarray(rehearsed.cotangents[0] * factor, dtype=rehearsed.out.dtype)
        for i, gradient in enumerate(rehearsed.backward(dout)):
            first = rehearsed.gradients[0][i]
            off = _off(first, gradient, factor, rtol, slack[i])
            if results[i].verdict == "wrong" or not off.any():
                continue
            expected, got = to_float(first), to_float(gradient) / factor
            where = tuple(map(int, np.unravel_index(np.argmax(off), off.shape)))
            results[i] = replace(
                results[i],
                verdict="wrong",
                index=where,
                error=float(off[where] / np.max(np.abs(expected), initial=np.finfo(float).tiny)),
                analytic=float(got[where]),
                numeric=float(expected[where]),
                step=float("nan"),
                reason=f"backward is not linear in dout: this is what it says for {factor:.3g} times dout, "
                f"divided by {factor:.3g}, and what it says for dout",
            )
    return results


def _off(first: Array, gradient: Array, factor: float, rtol: float, slack: Array) -> Array:
    """How far each element is off where that is neither rounding nor overflow nor underflow; 0 elsewhere."""
    if gradient.dtype == object:
        least, most = 0.0, np.inf
    else:
        limits = np.finfo(gradient.dtype)
        least, most = float(limits.tiny / limits.eps), float(limits.max) / 2**24
    off = to_float(abs(gradient - first * factor)) / abs(factor)
    size, got = np.abs(to_float(first)), np.abs(to_float(gradient))
    counts = (off > rtol * size + slack * max(1.0, 1 / abs(factor))) & (size * abs(factor) <= most)
    counts &= (size * abs(factor) >= least) | (got >= least)
    if not np.isfinite(got).all():  # what overflows on the way says nothing
        counts &= abs(factor) < 1
    return np.where(counts, np.nan_to_num(off, nan=np.inf), 0.0)

"""Central differences along a line: a five-point stencil, and a ladder of steps where one step does not settle it.

A line is a function of one number, ``along(t)``: the forward pass's output, flattened, at x + t * direction, where
the direction is measured in spreads of x.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.gradcheck.exact import to_float
from mabn_ref.gradcheck.kinks import first_smooth

__all__ = ["Along", "Ladder", "Settled", "climb", "first_step", "settle", "stencil"]

Along: TypeAlias = Callable[[Any], Array]


class Ladder(NamedTuple):
    """Slopes and jumps of every output, one row for each step, from the largest to the smallest."""

    steps: list[float]
    slopes: Array
    jumps: Array


class Settled(NamedTuple):
    """What a ladder says: the derivative, how far to trust it, at which step; `jump` is that of a kink, or 0."""

    slope: Any
    uncertainty: float
    step: float
    jump: float


def first_step(eps: float) -> float:
    """Return the power of two that balances truncation, step**4, and rounding, eps/step."""
    return float(2.0 ** np.round(np.log2(eps) / 5))


def stencil(along: Along, center: Array, t: float) -> tuple[Array, Array]:
    """Return the slope at 0 to fourth order, and the jump between the right and left slopes, each to second order."""
    after, further, before, earlier = along(t), along(2 * t), along(-t), along(-2 * t)
    slope = (8 * (after - before) - (further - earlier)) / (12 * t)
    jump = (4 * (after - center) - (further - center) + 4 * (before - center) - (earlier - center)) / (2 * t)
    return slope, jump


def climb(along: Along, center: Array, t: float) -> Ladder:
    """Apply the stencil at steps from 64 t down to t / 2**21, by factors of 8."""
    steps = [t * 8.0**k for k in range(2, -8, -1)]
    slopes, jumps = zip(*(stencil(along, center, step) for step in steps), strict=True)
    return Ladder(steps, np.stack(slopes), np.stack(jumps))


def settle(ladder: Ladder, cotangent: Array, *, rounding: float, least_slope: float, least_jump: float) -> Settled:
    """Choose the step by where neighbouring steps agree best; the gradient under test has no say in it.

    `rounding` is that of one value of <cotangent, output>. Slopes are compared relative to their size or to
    `least_slope`; a jump between one-sided slopes of up to `least_jump` is no kink. Steps at which a kink lies within
    the stencil are left out; where that leaves none, the slope is the mean of the two one-sided ones.
    """
    slopes = ladder.slopes @ cotangent
    sizes = np.abs(to_float(slopes))
    jumps = to_float(abs(ladder.jumps) @ abs(cotangent))
    floors = 4 * rounding / np.asarray(ladder.steps)
    gaps = to_float(abs(slopes[1:] - slopes[:-1]))
    first = first_smooth(jumps.tolist(), gaps.tolist(), np.maximum(floors, least_jump).tolist())
    # rounding grows eightfold from step to step, so the next gaps show what a lucky agreement would hide
    apart = gaps + floors[1:]
    apart[:-1] = np.fmax(apart[:-1], gaps[1:] / 8)
    apart[:-2] = np.fmax(apart[:-2], gaps[2:] / 64)
    relative = (apart / np.maximum(np.maximum(sizes[1:], sizes[:-1]), least_slope))[first:]
    if not relative.size:
        return Settled(slopes[-1], float(jumps[-1]), ladder.steps[-1], float(jumps[first - 1]))
    best = first + int(np.argmin(np.where(np.isfinite(relative), relative, np.inf)))
    return Settled(slopes[best], float(apart[best]), ladder.steps[best], 0.0)

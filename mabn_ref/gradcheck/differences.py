"""Numerical derivatives along a line: central differences, kinks, the complex step, and Taylor's remainder.

A line is a function of one number, ``along(t)``: the forward pass's output, flattened, at x + t * direction, where
the direction is measured in units of x. Every output has a step of its own, so that an output which is steep, rounded
or far from zero does not spoil the derivatives of the others.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.gradcheck.exact import to_float
from mabn_ref.gradcheck.kinks import find_kinks

Along: TypeAlias = Callable[[Any], Array]

RESOLVED = 0.25
"""Slopes of an output that moves in steps, like a rounded one, count if two of them, and the slopes to either side,
agree to this fraction."""

GRAINS = 8  #: how many of an output's smallest moves are searched for a common divisor
FLAT = 1e-2  #: slopes below this fraction of the output count as equally small when a step is chosen
COMPLEX_STEP = 2.0**-70

HALVINGS = 2.0 ** -np.arange(2, 8)
FITTED = 4  #: the fit uses this many of the smallest steps, which cross the fewest kinks of a network
FIRST_ORDER = np.linalg.pinv(np.vander(HALVINGS[-FITTED:], 3))[-1]
"""Weights that fit a + b h + c h^2 to R(h) / h and give a."""


class View(NamedTuple):
    """What a ladder of steps shows about every output.

    At a kink `slope` is the mean of the slopes to the right and to the left and `jump` their difference; elsewhere
    `jump` is 0. `uncertainty` is how far slopes at neighbouring steps differ, and 0 for an output that does not move
    at all. `grain` is the least amount by which the output moves, or 0 if it follows the smallest step; `reach` is
    the largest amount. `near` marks outputs that have a kink within larger steps, or that move on one side only, and
    `jumping` those whose value at the point is apart from those beside it, however near.
    """

    slope: Array
    jump: Array
    kinked: Array
    uncertainty: Array
    step: Array
    grain: Array
    reach: Array
    near: Array
    jumping: Array


def stencil(along: Along, center: Array, t: float) -> tuple[Array, Array, Array]:
    """Return what one step shows of every output: its slope, a jump and its moves.

    The slope is that at 0, to fourth order; the jump is between the right and left slopes, each to second order; the
    moves have a row for each of the four points.
    """
    after, further, before, earlier = along(t), along(2 * t), along(-t), along(-2 * t)
    slope = (8 * (after - before) - (further - earlier)) / (12 * t)
    jump = (4 * (after - center) - (further - center) + 4 * (before - center) - (earlier - center)) / (2 * t)
    moves = [to_float(abs(value - center)) for value in (after, further, before, earlier)]
    return slope, jump, np.stack(moves)


def climb(along: Along, center: Array, t: float, rounding: Array) -> View:
    """Apply the stencil at steps from 512 t down to t / 2**30, by factors of 8, and choose one for each output.

    The chosen step is where neighbouring steps agree best; the gradient under test has no say in it. `rounding` is
    that of each output. Steps at which a kink lies within the stencil are left out.
    """
    steps = np.array([t * 8.0**k for k in range(3, -11, -1)])
    slopes, jumps, moves = map(np.stack, zip(*(stencil(along, center, step) for step in steps), strict=True))
    gaps = to_float(abs(slopes[1:] - slopes[:-1]))
    heights = to_float(abs(jumps))
    floors = rounding / steps[:, None]
    first, kinked = find_kinks(heights, gaps, 32 * floors)
    kinked |= first > len(steps) - 2  # a kink so near that no two steps are clear of it

    moving: Array = (moves > 0).any(axis=1)
    flat: Array = (moves == 0).all(axis=1)
    to_right, to_left = ((moves[:, side] > 0).any(axis=(0, 1)) for side in (slice(2), slice(2, 4)))
    # an output that moves on one side only has a kink there, even if its moves have a common divisor
    grain = np.where(to_right & to_left, _grain(moves, flat), 0.0)
    # rounding grows eightfold from step to step, so the next gaps show what a lucky agreement would hide
    apart = gaps + 4 * floors[1:]
    apart[:-1] = np.fmax(apart[:-1], gaps[1:] / 8)
    apart[:-2] = np.fmax(apart[:-2], gaps[2:] / 64)
    apart += np.where(flat[1:], 0.5, 4.0) * grain / steps[1:, None]
    apart[~(np.isfinite(gaps) & np.isfinite(apart))] = np.inf
    apart = np.where(np.arange(len(apart))[:, None] < first, np.inf, apart)
    reach = np.max(np.where(np.isfinite(moves), moves, 0.0), axis=(0, 1))
    least = np.maximum(FLAT * np.maximum(to_float(abs(center)), reach), np.finfo(float).tiny)
    # an output that stands still at small steps does not have a slope of 0 if larger steps agree on another one
    sizes = to_float(abs(slopes))
    resolved = np.any(moving[1:] & (np.fmax(apart, heights[1:]) < RESOLVED * sizes[1:]), axis=0)
    relative = apart / np.maximum(np.fmax(sizes[1:], sizes[:-1]), least)
    passed_over = (resolved & flat[1:]) | np.isinf(apart)
    best = np.argmin(np.where(passed_over, np.inf, relative), axis=0)
    # at a kink, the steps at which both slopes stay the same
    both = gaps + to_float(abs(jumps[1:] - jumps[:-1])) + 4 * floors[1:]
    clear = np.arange(len(both))[:, None] < first - 1
    both = np.where(clear & np.isfinite(both), both, np.inf)
    best = np.where(kinked, np.argmin(both, axis=0), best)

    still = flat.all(axis=0)
    # the jump between the slopes, times the step, is the same at all steps only if it is one of the output itself
    leaps = (heights * steps[:, None])[4::3]
    jumping = (np.ptp(leaps, axis=0) < 0.05 * leaps[-1]) & (leaps[-1] > 1e3 * rounding)

    def chosen(rows: Array) -> Array:
        return np.take_along_axis(rows, best[None], axis=0)[0]

    return View(
        slope=chosen(slopes[1:]),
        jump=np.where(kinked, chosen(jumps[1:]), 0 * center),
        kinked=kinked,
        uncertainty=np.where(still, 0.0, np.where(kinked, chosen(both), chosen(apart))),
        step=steps[1:][best],
        grain=grain,
        reach=reach,
        near=(first > 0) | (to_right != to_left),
        jumping=jumping,
    )


def _grain(moves: Array, flat: Array) -> Array:
    """The smallest move of an output that stands still at some steps and otherwise moves by multiples of it, or 0."""
    grain = np.zeros(moves.shape[-1])
    some = np.flatnonzero(flat.any(axis=0) & ~flat.all(axis=0))
    seen = moves.reshape(-1, grain.size)[:, some]
    least = np.sort(np.where(seen > 0, seen, np.inf), axis=0)[:GRAINS]
    times = least / least[0]
    multiples = ~np.isfinite(times) | (np.abs(times - np.round(times)) < 0.01)
    steps = multiples.all(axis=0) & (np.isfinite(times).sum(axis=0) >= 3)
    grain[some[steps]] = least[0][steps]
    return grain


class NotAnalytic(Exception):
    """The complex step does not apply; the message says why."""


def complex_slopes(lines: Sequence[Along], name: str) -> Array:
    """Return Im f(i h) / h, the derivative at 0 of every output without cancellation, one row for each line.

    If f is not analytic, the number is silently wrong: ``np.var`` takes |z|^2, ``np.abs`` and a real buffer drop the
    imaginary part. So it is believed only where it agrees with central differences (Cauchy and Riemann's condition:
    the derivative along i h is that along h). `NotAnalytic` is raised if the forward, which messages call `name`,
    raises for complex input, or returns real or non-finite numbers.
    """
    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        for along in lines:
            try:
                out = along(1j * COMPLEX_STEP)
            except Exception as error:  # any failure of the forward with complex numbers is a reason
                raise NotAnalytic(f"{name} raised {type(error).__name__} for complex input: {error}") from error
            if not np.iscomplexobj(out):
                raise NotAnalytic(f"{name} returned {out.dtype} for complex input")
            rows.append(out.imag / COMPLEX_STEP)
    if not np.isfinite(rows).all():
        raise NotAnalytic(f"{name} is not finite for complex input")
    return np.stack(rows)


class Taylor(NamedTuple):
    """The first-order part of the remainder."""

    #: its coefficient, relative to the size of the derivative (see `check` for what that is); NaN if forward is not
    #: finite there
    a: float
    floor: float  #: the size of `a` that rounding alone explains
    order: float  #: observed order of R(h): 2 for a gradient, 1 for a wrong one; NaN where the remainder is rounding

    def __str__(self) -> str:
        """Return "exact" if the remainder is rounding, else the coefficient and the order."""
        if np.isnan(self.a):
            return "not finite"
        return "exact" if np.isnan(self.order) else f"{self.a:.1e} (order {self.order:.2f})"


def taylor_remainder(
    along: Along, center: Array, cotangent: Array, predicted: Any, *, step: float, scale: float, rounding: float
) -> Taylor:
    """Fit R(h) = <c, f(x + h v)> - <c, f(x)> - h * `predicted` for h from step / 4 to step / 128.

    It tells a wrong gradient g from a noisy one without any tolerance: with <g, v> predicted, R(h) falls as h^2 if g
    is the gradient, and as h if it is not. The fit R(h) = a h + b h^2 + ... says how wrong: a is the error of <g, v>.
    `rounding` is the rounding of one value of <c, f>.
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

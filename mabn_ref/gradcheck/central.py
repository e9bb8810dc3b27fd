"""Central differences along a line: a five-point stencil, and a ladder of steps where one step does not settle it.

A line is a function of one number, ``along(t)``: the forward pass's output, flattened, at x + t * direction, where
the direction is measured in units of x. Every output has a step of its own, so that one which is steep, rounded or
far from zero does not spoil what can be said of the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.gradcheck import kinks
from mabn_ref.gradcheck.exact import to_float

__all__ = ["Along", "Look", "View", "climb", "first_step", "stencil"]

Along: TypeAlias = Callable[[Any], Array]

RESOLVED = 0.25
"""Slopes of an output that moves in steps, like a rounded one, are believed if two of them, and the slopes to either
side, agree to this fraction."""


GRAINS = 8
"""So many of an output's smallest moves are looked at for a common measure."""

FLAT = 1e-2
"""Slopes below this part of the output count as equally small in the choice of a step."""


class Look(NamedTuple):
    """What one step shows of every output: its slope, the jump between the slopes to either side, how far it moves.

    `moves` has a row for each of the four points.
    """

    slope: Array
    jump: Array
    moves: Array


class View(NamedTuple):
    """What a ladder of steps shows of every output.

    At a kink `slope` is the mean of the slopes to the right and to the left and `jump` their difference; elsewhere
    `jump` is 0. `uncertainty` is how far slopes at neighbouring steps differ. `grain` is the least amount by which
    the output moves, or 0 if it follows the smallest step; one that does not move at all has no uncertainty.
    """

    slope: Array
    jump: Array
    kinked: Array
    uncertainty: Array
    step: Array
    grain: Array


def first_step(eps: float) -> float:
    """Return the power of two that balances truncation, step**4, and rounding, eps/step."""
    return float(2.0 ** np.round(np.log2(eps) / 5))


def stencil(along: Along, center: Array, t: float) -> Look:
    """Return the slope at 0 to fourth order, and the jump between the right and left slopes, each to second order."""
    after, further, before, earlier = along(t), along(2 * t), along(-t), along(-2 * t)
    slope = (8 * (after - before) - (further - earlier)) / (12 * t)
    jump = (4 * (after - center) - (further - center) + 4 * (before - center) - (earlier - center)) / (2 * t)
    moves = [to_float(abs(value - center)) for value in (after, further, before, earlier)]
    return Look(slope, jump, np.stack(moves))


def climb(along: Along, center: Array, t: float, rounding: Array) -> View:
    """Apply the stencil at steps from 512 t down to t / 2**30, by factors of 8, and choose one for each output.

    It is chosen by where neighbouring steps agree best; the gradient under test has no say in it. `rounding` is that
    of each output. Steps at which a kink lies within the stencil are left out.
    """
    steps = np.array([t * 8.0**k for k in range(3, -11, -1)])
    slopes, jumps, moves = map(np.stack, zip(*(stencil(along, center, step) for step in steps), strict=True))
    gaps = to_float(abs(slopes[1:] - slopes[:-1]))
    heights = to_float(abs(jumps))
    floors = rounding / steps[:, None]
    first, kinked = kinks.find(heights, gaps, 32 * floors)
    kinked |= first > len(steps) - 2  # a kink so near that no two steps are clear of it

    moving: Array = (moves > 0).any(axis=1)
    flat: Array = (moves == 0).all(axis=1)
    grain = _grain(moves, flat)
    # rounding grows eightfold from step to step, so the next gaps show what a lucky agreement would hide
    apart = gaps + 4 * floors[1:]
    apart[:-1] = np.fmax(apart[:-1], gaps[1:] / 8)
    apart[:-2] = np.fmax(apart[:-2], gaps[2:] / 64)
    apart += np.where(flat[1:], 0.5, 4.0) * grain / steps[1:, None]
    apart[~(np.isfinite(gaps) & np.isfinite(apart))] = np.inf
    apart = np.where(np.arange(len(apart))[:, None] < first, np.inf, apart)
    least = np.maximum(FLAT * to_float(abs(center)), np.finfo(float).tiny)
    # an output that no longer moves at small steps has no slope of 0 there if larger steps agree on another one
    sizes = to_float(abs(slopes))
    resolved = np.any(moving[1:] & (np.fmax(apart, heights[1:]) < RESOLVED * sizes[1:]), axis=0)
    relative = apart / np.maximum(np.fmax(sizes[1:], sizes[:-1]), least)
    passed_over = (resolved & flat[1:]) | np.isinf(apart)
    best = np.argmin(np.where(passed_over, np.inf, relative), axis=0)
    # at a kink, the steps at which both slopes stay
    both = gaps + to_float(abs(jumps[1:] - jumps[:-1])) + 4 * floors[1:]
    clear = np.arange(len(both))[:, None] < first - 1
    both = np.where(clear & np.isfinite(both), both, np.inf)
    best = np.where(kinked, np.argmin(both, axis=0), best)

    still = flat.all(axis=0)

    def chosen(rows: Array) -> Array:
        return np.take_along_axis(rows, best[None], axis=0)[0]

    return View(
        slope=chosen(slopes[1:]),
        jump=np.where(kinked, chosen(jumps[1:]), 0 * center),
        kinked=kinked,
        uncertainty=np.where(still, 0.0, np.where(kinked, chosen(both), chosen(apart))),
        step=steps[1:][best],
        grain=grain,
    )


def _grain(moves: Array, flat: Array) -> Array:
    """The least by which an output moves, if it stands still at some step and moves by multiples of it, or 0."""
    grain = np.zeros(moves.shape[-1])
    some = np.flatnonzero(flat.any(axis=0) & ~flat.all(axis=0))
    seen = moves.reshape(-1, grain.size)[:, some]
    least = np.sort(np.where(seen > 0, seen, np.inf), axis=0)[:GRAINS]
    times = least / least[0]
    multiples = ~np.isfinite(times) | (np.abs(times - np.round(times)) < 0.01)
    steps = multiples.all(axis=0) & (np.isfinite(times).sum(axis=0) >= 3)
    grain[some[steps]] = least[0][steps]
    return grain

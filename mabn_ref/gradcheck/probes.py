"""Where to look: how far an input spreads, and the lines through it along which its derivative is taken.

A step of 1e-6 is far too large for a channel that spreads over 1e-9 and far too small for one at 1e4 +- 1e3. So the
unit of length here depends on the element: it is the spread of its channel (last axis) or, where a channel runs over
many decades, the element's own size. A channel of scale 1e3, whose dx is tiny, is then checked as closely as one of
scale 1e-3.
"""

from __future__ import annotations

import numpy as np

from mabn_ref.arrays import Array

SMALL = 64
"""An input of at most this many elements is checked element by element, a larger one along random directions."""

DROWNED = 2.0**-13
"""Elements whose derivatives are below this fraction of the largest one are looked at in a direction of their own."""

CLASSES = 8  #: in at most this many such directions

CONSTANT = 2.0**-44  #: a channel whose spread is below this fraction of its size counts as constant
DECADES = 2.0**-6  #: a channel whose typical size is below this fraction of its spread runs over many decades


def units(x: Array) -> Array:
    """Standard deviation of each channel of `x`, or its largest size if it is constant.

    In a channel over many decades it is each element's own size, in a channel of zeros the largest size in `x`, and 1
    if that is zero too. Rounded to a power of two, so that ``x + step * unit`` is exact. Has the shape of `x` and is
    float64. An input of fewer than two axes is one channel.
    """
    values = np.asarray(x, dtype=np.float64)
    channels = values.reshape(-1, values.shape[-1] if values.ndim > 1 else 1)
    largest = np.max(np.abs(channels), axis=0)
    if not largest.any():
        return np.ones_like(values)
    largest = np.where(largest > 0, largest, np.max(largest))
    scaled = channels / largest  # so that no square overflows or vanishes
    deviation = np.std(scaled, axis=0)
    width = np.where(deviation > CONSTANT, deviation, 1.0)
    logarithms = np.log2(np.where(scaled == 0, 1.0, np.abs(scaled)))
    typical = 2.0 ** (np.sum(logarithms, axis=0) / np.maximum(np.count_nonzero(scaled, axis=0), 1))
    own = np.where(scaled == 0, typical, np.abs(scaled))
    width = np.where(typical < DECADES * width, own, width)
    exponents = np.round(np.log2(width) + np.log2(largest))
    return np.ldexp(1.0, exponents.astype(int)).reshape(values.shape)


def bounded(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Random numbers of either sign whose size is between 1/2 and 3/2, in steps of 1/64.

    Bounded away from zero, so that no draw can hide an element; of short binary form, so that steps stay exact.
    """
    drawn = rng.integers(-65, 65, shape)
    return np.asarray((drawn + np.where(drawn < 0, -31, 32)) / 64)


def scattered(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Bounded random numbers times powers of two from 2**-10 to 2**10."""
    return bounded(rng, shape) * 2.0 ** rng.integers(-10, 11, shape)


def directions(units: Array, rng: np.random.Generator) -> Array:
    """Lines to look along, one per row: each element of a small input, three random directions of a large one."""
    units = units.ravel()
    if units.size <= SMALL:
        return np.diag(units)
    return np.asarray(bounded(rng, (3, units.size)) * units)


def drowned(line: Array, sizes: Array) -> Array:
    """Return parts of a line, one per row, of elements whose derivatives are alike and too small to show in it.

    `sizes` (n,) are the derivatives that backward claims, in units, and `line` is (n,). A part spans a factor of
    1 / `DROWNED`; the last one has everything smaller. Elements with a claim of 0 are a part of their own. A claim
    that is far too small or too large is then one of the largest errors of its part.

    Examples
    --------
    >>> drowned(np.ones(6), np.array([3.0, 1e-5, 0.0, 1.0, 2e-5, 0.0]))
    array([[0., 1., 0., 0., 1., 0.],
           [0., 0., 1., 0., 0., 1.]])
    """
    largest = np.max(sizes)
    if not largest > 0:
        return np.empty((0, line.size))
    of_class = np.floor(np.log2(np.where(sizes > 0, sizes, largest) / largest) / np.log2(DROWNED))
    of_class = np.where(sizes > 0, np.minimum(of_class, CLASSES - 1), CLASSES)
    rows = [np.where(of_class == k, line, 0.0) for k in np.unique(of_class)[1:]]
    return np.reshape(rows, (-1, line.size))

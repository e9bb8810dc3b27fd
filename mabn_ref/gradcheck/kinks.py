"""Where a function has a kink, as its one-sided slopes show at smaller and smaller steps."""

from __future__ import annotations

import numpy as np

from mabn_ref.arrays import Array


def find_kinks(jumps: Array, changes: Array, floors: Array) -> tuple[Array, Array]:
    """Return the index of the first step below which no kink is seen, and whether one is seen at the point itself.

    Kinks are ReLU at 0, a clip at its bound, a tied max. Each output is examined by itself, and what backward returns
    does not matter: a smooth output has no kink, and at a kink backward is still held to the slopes on its two sides.

    When the step is divided by 8, the jump between the one-sided slopes is divided by 64 where the function is
    smooth, and multiplied by 8, like the change of the slope, where only rounding is left. The jump and the slope
    stay the same where a kink lies well within the step. At a kink in the point itself the jump stays until rounding
    takes over. `jumps` and `floors`, the least jumps to consider, have a row for each step, from the largest to the
    smallest; `changes` are those of the slope from each step to the next.

    Examples
    --------
    >>> smooth = [1e-2, 1e-4, 2e-6, 1e-5], [1e-3, 1e-7, 1e-6]  # then rounding
    >>> at_the_point = [1.1, 1.0, 1.0, 1.0], [1e-3, 1e-7, 1e-6]
    >>> between_the_last_two_steps = [1.1, 1.0, 1.0, 1e-9], [1e-3, 1e-7, 0.4]
    >>> jumps, changes = map(np.transpose, zip(smooth, at_the_point, between_the_last_two_steps))
    >>> find_kinks(jumps, changes, np.full((4, 3), 1e-7))
    (array([0, 4, 3]), array([False,  True, False]))
    """
    alike = (0.75 * jumps[:-1] <= jumps[1:]) & (jumps[1:] <= 1.33 * jumps[:-1])
    stays = alike & (changes < jumps[1:] / 4) & (jumps[1:] > floors[1:])
    twice = stays[1:] & stays[:-1]  # once may be chance
    steps = np.arange(3, len(jumps) + 1)[:, None]
    first = np.max(np.where(twice, steps, 0), axis=0)
    plateau = np.take_along_axis(jumps, np.maximum(first - 1, 0)[None], axis=0)
    below = np.arange(len(jumps))[:, None] >= first
    falls = np.any(below & (jumps < plateau / 2), axis=0)
    return first, (first > 0) & ~falls

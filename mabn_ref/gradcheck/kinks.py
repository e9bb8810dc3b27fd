"""Kinks: where the slopes to the right and to the left differ, as for ReLU at 0, a clip at its bound, a tied max.

The detector looks at the forward pass alone. A gradient cannot be excused by it for being wrong: a smooth function
has no kink whatever its backward pass returns, and where there is one, it excuses no more than its own size.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["first_smooth"]


def first_smooth(jumps: Sequence[float], changes: Sequence[float], floors: Sequence[float]) -> int:
    """Return the index of the first step below which no kink is seen; the number of steps if one is seen to the end.

    As the step shrinks by 8, the jump between the one-sided slopes shrinks by 64 where the function is smooth, and
    grows by 8, as the change of the slope does, where only rounding is left. It stays, and so does the slope, where
    a kink lies well within the step.

    Parameters
    ----------
    jumps : sequence of float
        Size of the jump at each step, from the largest step to the smallest.
    changes : sequence of float
        Change of the slope from each step to the next, one fewer.
    floors : sequence of float
        The least jump to look at, for each step.

    Examples
    --------
    >>> first_smooth([1e-2, 1e-4, 2e-6, 1e-5], [1e-3, 1e-7, 1e-6], [1e-7] * 4)  # smooth, then rounding
    0
    >>> first_smooth([1.1, 1.0, 1.0, 1.0], [1e-3, 1e-7, 1e-6], [1e-7] * 4)  # a kink at the point itself
    4
    >>> first_smooth([1.1, 1.0, 1.0, 1e-9], [1e-3, 1e-7, 0.4], [1e-7] * 4)  # one between the last two steps
    3
    """
    first, stayed = 0, False
    for k in range(1, len(jumps)):
        alike = 0.75 * jumps[k - 1] <= jumps[k] <= 1.33 * jumps[k - 1] and changes[k - 1] < jumps[k] / 4
        stays = alike and jumps[k] > floors[k]
        if stays and stayed:  # once may be chance
            first = k + 1
        stayed = stays
    return first

"""Moving averages of batch statistics: a sequence of batch values in, the sequence of averages out.

One call may hold many normalisation batches, so both averages map sequences to sequences. Neither subtracts one
cumulative sum from another, which would cancel.
"""

from __future__ import annotations

from mabn_ref.arrays import Array, like, namespace

__all__ = ["ema", "sma"]


def ema(old: Array, batch_values: Array, decay: float) -> tuple[Array, Array]:
    """Exponential moving average: ``e_t = decay * e_{t-1} + (1 - decay) * value_t``, for every t of a sequence.

    Implements :eq:`averages` (7) and :eq:`ema-forward` (12). One value after the other, so that a call on many
    normalisation batches gives the very numbers of many calls.

    Parameters
    ----------
    old : array, shape (C,)
        The average before the first value.
    batch_values : array, shape (G, C)
        One value a normalisation batch, in order.
    decay : float in [0, 1]
        The weight of the old value; 1 keeps it for ever.

    Returns
    -------
    before, after : array, shape (G, C)
        The average before and after each value was taken in; ``after[-1]`` is the next call's `old`.

    Examples
    --------
    >>> import numpy as np
    >>> before, after = ema(np.array([1.0]), np.array([[3.0], [5.0]]), 0.5)
    >>> before.ravel(), after.ravel()
    (array([1., 2.]), array([2. , 3.5]))
    """
    if not 0 <= decay <= 1:
        raise ValueError(f"decay is {decay!r}, expected a number in [0, 1]")
    _check_rows("old", (1, *old.shape), batch_values)
    averages, fresh = [old], (1 - decay) * batch_values
    for t in range(batch_values.shape[0]):
        averages.append(decay * averages[-1] + fresh[t, :])  # eq: averages (7)
    sequence = namespace(batch_values).stack(averages)
    return sequence[:-1, :], sequence[1:, :]


def sma(held: Array, batch_values: Array, *, seen: int | None = None) -> tuple[Array, Array]:
    """Simple moving average over the last m values, the current one included, for every t of a sequence.

    Without `seen` the rows of `held` are all values, zeros too.

    Implements :eq:`averages` (7) and :eq:`sma-backward` (13).

    Parameters
    ----------
    held : array, shape (m, C)
        The last m values, oldest first; zero where there has been none yet.
    batch_values : array, shape (G, C)
        One value a normalisation batch, in order.
    seen : int, optional
        How many values went before this call. While fewer than m are held, the average is that of the values held.
        None: the window is full.

    Returns
    -------
    averages : array, shape (G, C)
        The mean of the last m values at each step.
    held : array, shape (m, C)
        The window for the next call.

    Examples
    --------
    >>> import numpy as np
    >>> averages, held = sma(np.zeros((2, 1)), np.array([[4.0], [6.0], [10.0]]), seen=0)
    >>> averages.ravel(), held.ravel()
    (array([4., 5., 8.]), array([ 6., 10.]))
    """
    _check_rows("held", tuple(held.shape), batch_values)
    xp = namespace(batch_values)
    window, steps = held.shape[0], batch_values.shape[0]
    rows = xp.concat([held, batch_values])
    sums = _window_sums(rows[1:, :], window)
    if seen is None or seen + 1 >= window:
        return sums / window, rows[steps:, :]  # eq: averages (7)
    counts = [float(min(seen + t + 1, window)) for t in range(steps)]
    return sums / like(batch_values, counts)[:, None], rows[steps:, :]


def _check_rows(name: str, shape: tuple[int, ...], batch_values: Array) -> None:
    if len(batch_values.shape) != 2 or 0 in batch_values.shape:
        raise ValueError(f"batch_values has shape {tuple(batch_values.shape)}, expected (G, C), no axis empty")
    if len(shape) != 2 or shape[0] == 0 or shape[1] != batch_values.shape[1]:
        raise ValueError(
            f"{name} does not have the {batch_values.shape[1]} channels of batch_values in its last axis"
        )


def _window_sums(rows: Array, window: int) -> Array:
    """Sums of every `window` consecutive rows."""
    count = rows.shape[0] - window + 1
    if window <= count:
        return _block_sums(rows, window)
    # Most rows are in every sum. What is left, the rows before and after them, is a shorter window over fewer rows.
    shared = namespace(rows).sum(rows[count - 1 : window, :], axis=0)[None, :]
    if count == 1:
        return shared
    rest = namespace(rows).concat([rows[: count - 1, :], rows[window:, :]])
    return shared + _block_sums(rest, count - 1)


def _block_sums(rows: Array, window: int) -> Array:
    """Sums of every `window` consecutive rows, from blocks of 1, 2, 4, ... rows: log2(window) array operations."""
    count = rows.shape[0] - window + 1
    blocks, size = rows, 1  # blocks[i] is the sum of rows[i : i + size]
    sums, width = None, 0
    while True:
        if window & size:
            part = blocks[width : width + count, :]
            sums = part if sums is None else sums + part
            width += size
        if 2 * size > window:
            return sums
        blocks = blocks[:-size, :] + blocks[size:, :]
        size *= 2

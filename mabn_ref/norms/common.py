"""The arithmetic that normalisers share: normalisation batches, their sums and means, and moving averages.

Inside a normaliser x is (G, M, C), G normalisation batches of M values per channel, and a statistic is (G, 1, C), so
that the lines read as the equations do.
"""

from __future__ import annotations

from typing import Any

from mabn_ref import arrays
from mabn_ref.arrays import (
    Array,
    check_at_least,
    check_float_array,
    check_squares,
    less,
    like,
    namespace,
    reshaped,
    shown,
)
from mabn_ref.norms.checks import Ramp, check_shape


def split(x: Array, norm_batch: int | None) -> Array:
    r"""Bring x, (N, ..., C), to the canonical form (G, M, C): G normalisation batches of M values per channel.

    The samples of one normalisation batch are neighbours along the first axis; all of a sample's positions count as
    values of its channel. G = N / \|B\|, where \|B\| is `norm_batch`, a divisor of N, or N if that is None.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.zeros((8, 5, 5, 3))
    >>> split(x, 2).shape, merge(split(x, 2), x.shape).shape
    ((4, 50, 3), (8, 5, 5, 3))
    """
    check_float_array("x", x)
    check_shape(x)
    samples = x.shape[0]
    if norm_batch is None:
        norm_batch = samples
    check_at_least("norm_batch", norm_batch, 1, whole=True)
    if samples % norm_batch:
        raise ValueError(f"x has {samples} samples, expected a multiple of norm_batch={norm_batch}")
    return reshaped(x, (samples // norm_batch, -1, x.shape[-1]))


def merge(x: Array, shape: tuple[int, ...]) -> Array:
    """Undo `split`; `shape` is the shape of x before it."""
    return reshaped(x, shape)


def sums(x: Array) -> Array:
    """Sums over each normalisation batch: from (G, M, C) to (G, 1, C)."""
    return arrays.sums(x)[:, None, :]


def mean(x: Array) -> Array:
    """Means over each normalisation batch: from (G, M, C) to (G, 1, C)."""
    return sums(x) / x.shape[1]


def mean_square(values: Array, x: Array | None = None) -> Array:
    """Means of squares, from (G, M, C) to (G, 1, C); an OverflowError if they overflow although `x` is finite."""
    found = mean(values * values)
    check_squares("x", values if x is None else x, found)
    return found


def gradient_means(dz: Array, y: Array, scale: Any = 1) -> tuple[Array, Array]:
    """The means of dy and of y * dy over each normalisation batch, (G, C), where dy is scale * dz.

    Implements :eq:`bn-gradient-statistics` (5). `scale`, a number per batch and channel, multiplies the sums.
    """
    g = scale * sums(dz) / y.shape[1]  # eq: bn-gradient-statistics (5)
    psi = scale * sums(dz * y) / y.shape[1]  # eq: bn-gradient-statistics (5)
    return g[:, 0, :], psi[:, 0, :]


def root(x: Array) -> Array:
    """The square root."""
    return namespace(x).sqrt(x)


def clip(x: Array, low: Any, high: Any) -> Array:
    """The nearest value in [low, high]."""
    return namespace(x).clip(x, low, high)


def centre(x: Array) -> tuple[Array, Array]:
    """The mean, (G, 1, C), and x minus the mean, (G, M, C), which is free of the mean's rounding.

    One of the values is subtracted from all, then the mean of the differences from these. So the rounding of a large
    mean affects only the first result, and values that are all equal are exactly 0 when centred.
    """
    start = one_of(x)
    distances = less(x, start[:, 0, :])
    off = mean(distances)
    return start + off, less(distances, off[:, 0, :])


def one_of(x: Array) -> Array:
    """One value of each batch, (G, 1, C): the median of first, middle and last, which is seldom an outlier."""
    xp, half = namespace(x), x.shape[1] // 2
    first, middle, last = x[:, :1, :], x[:, half : half + 1, :], x[:, -1:, :]
    return xp.maximum(xp.minimum(first, last), xp.minimum(xp.maximum(first, last), middle))


def switched(first: Array | float, then: Array, until: int, iteration: int) -> Array:
    """`first` for the normalisation batches before iteration `until`, counted from 1, and `then` from there on.

    `first` may be a number; `iteration` counts the batches before this call.
    """
    count, xp = min(max(until - 1 - iteration, 0), then.shape[0]), namespace(then)
    if isinstance(first, int | float):
        first = first * xp.ones_like(then[:count, ...])
    return xp.concat([first[:count, ...], then[count:, ...]]) if count else then


def in_force(bound: float | Ramp, x: Array, iteration: int) -> Any:
    """The bound for each normalisation batch of x, (G, M, C): one number, or (G, 1, 1) on a ramp."""
    values = [bound.at(iteration + 1 + g) if isinstance(bound, Ramp) else float(bound) for g in range(x.shape[0])]
    return values[0] if values[0] == values[-1] else like(x, values)[:, None, None]


def ema(
    old: Array, batch_values: Array, decay: float | list[float] | None, seen: int | None = None
) -> tuple[Array, Array]:
    """Exponential moving average: ``e_t = decay * e_{t-1} + (1 - decay) * value_t``, for every t of a sequence.

    Implements :eq:`averages` (7) and :eq:`ema-forward` (12). `old`, (C,), is the average before the first value;
    `batch_values`, (G, C) or (G, 1, C), has one value per normalisation batch, in order; `decay` in [0, 1] is the
    weight of the old value, or a list of G weights. Returns the averages before and after each value is taken in; the
    last one is `old` in the next call. Values are taken in one by one, so that one call on many normalisation batches
    gives exactly the numbers of many calls.

    With a decay of None the average is the mean of all values so far, :eq:`cumulative-average`; `seen` then has to
    say how many values came before this call.

    Examples
    --------
    >>> import numpy as np
    >>> before, after = ema(np.array([1.0]), np.array([[3.0], [5.0]]), 0.5)
    >>> before.ravel(), after.ravel()
    (array([1., 2.]), array([2. , 3.5]))
    >>> ema(np.array([1.0]), np.array([[3.0], [5.0]]), None, seen=0)[1].ravel()
    array([3., 4.])
    """
    rows = _rows("old", old, "(C,)", batch_values)
    steps = rows.shape[0]
    if decay is None and seen is not None:
        decays = [(seen + t) / (seen + t + 1) for t in range(steps)]  # eq: cumulative-average
        fresh = like(rows, [1 / (seen + t + 1) for t in range(steps)])[:, None] * rows  # eq: cumulative-average
    elif isinstance(decay, list):
        decays, fresh = decay, like(rows, [1 - each for each in decay])[:, None] * rows
    elif decay is not None and 0 <= decay <= 1:
        decays, fresh = [decay] * steps, (1 - decay) * rows
    else:
        raise ValueError(f"decay is {shown(decay)}, expected a number in [0, 1], or None together with `seen`")
    averages = namespace(rows).concat([old[None, :], fresh])  # so far only the shares of the new values
    for t in range(steps):
        averages[t + 1, :] += decays[t] * averages[t, :]  # eq: averages (7)
    return reshaped(averages[:-1, :], batch_values.shape), reshaped(averages[1:, :], batch_values.shape)


def sma(held: Array, batch_values: Array, *, seen: int | None = None) -> tuple[Array, Array]:
    """Simple moving average over the last m values, the current one included, for every t of a sequence.

    Implements :eq:`averages` (7) and :eq:`sma-backward` (13). `held`, (m, C), has the last m values, oldest first,
    with zeros where there are none yet; `batch_values`, (G, C) or (G, 1, C), has one value per normalisation batch,
    in order. `seen` counts the values before this call: while fewer than m are held, the average is the mean of
    those. None means a full window, whose zeros are values too. Returns the average at each step, and the window for
    the next call. No cumulative sums are subtracted from each other, since digits would cancel.

    Examples
    --------
    >>> import numpy as np
    >>> averages, held = sma(np.zeros((2, 1)), np.array([[4.0], [6.0], [10.0]]), seen=0)
    >>> averages.ravel(), held.ravel()
    (array([4., 5., 8.]), array([ 6., 10.]))
    """
    rows = _rows("held", held, "(m, C)", batch_values)
    window, steps, xp = held.shape[0], rows.shape[0], namespace(rows)
    rows = xp.concat([held, rows])
    averages = _window_sums(rows[1:, :], window)
    if seen is None or seen + 1 >= window:
        averages = averages / window  # eq: averages (7)
    else:
        averages = averages / like(rows, [float(min(seen + t + 1, window)) for t in range(steps)])[:, None]
    return xp.reshape(averages, batch_values.shape), rows[steps:, :]


def accumulated(start: Array, added: Array, held: Array) -> tuple[Array, Array]:
    """``s + added_t - held_t * s`` for each t of (N, 1, C): s before each, (N, 1, C), and after the last, (C,)."""
    before, s = [], start
    for t in range(added.shape[0]):
        before.append(s)
        s = s + (added[t, 0, :] - held[t, 0, :] * s)
    return namespace(added).stack(before)[:, None, :], s


def _rows(name: str, before: Array, form: str, batch_values: Array) -> Array:
    """The batch values as (G, C); refuses a `before` that does not fit them."""
    if len(batch_values.shape) == 3 and batch_values.shape[1] == 1:
        batch_values = batch_values[:, 0, :]
    if len(batch_values.shape) != 2 or 0 in batch_values.shape:
        raise ValueError(f"batch_values has shape {tuple(batch_values.shape)}, expected (G, C), no axis empty")
    shape, channels = tuple(before.shape), batch_values.shape[1]
    if len(shape) != form.count("C") + form.count("m") or 0 in shape or shape[-1] != channels:
        raise ValueError(f"{name} has shape {shape}, expected {form} with C = {channels}, as in batch_values")
    return batch_values


def _window_sums(rows: Array, window: int) -> Array:
    """Sums of every `window` consecutive rows."""
    count = rows.shape[0] - window + 1
    if window <= count:
        return _block_sums(rows, window)
    # Most rows are in every sum. The rest, the rows before and after them, needs a shorter window over fewer rows.
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

"""Normalisation batches: cut the gradient batch into groups that share statistics, and join it again."""

from __future__ import annotations

from mabn_ref.arrays import Array, check_float_array, namespace
from mabn_ref.norms.checks import check_at_least

__all__ = ["merge", "split"]


def split(x: Array, norm_batch: int | None) -> Array:
    r"""Bring `x` to the canonical form (G, M, C): G normalisation batches of M values a channel.

    The samples of one normalisation batch are neighbours along the first axis; all of a sample's positions count as
    values of its channel.

    Parameters
    ----------
    x : array, shape (N, ..., C)
        Samples, channels last.
    norm_batch : int or None
        \|B\|, the number of samples that share statistics; it divides N. None: all N.

    Returns
    -------
    array, shape (G, M, C)
        G = N / \|B\| and M = \|B\| times the number of positions.

    Raises
    ------
    TypeError, ValueError
        If `x` is no array of float32 or float64 of rank 2 or more, or `norm_batch` does not divide N.

    Examples
    --------
    >>> import numpy as np
    >>> split(np.zeros((8, 5, 5, 3)), 2).shape
    (4, 50, 3)
    """
    check_float_array("x", x)
    if len(x.shape) < 2 or 0 in x.shape:
        raise ValueError(f"x has shape {tuple(x.shape)}, expected (N, ..., C): channels last, no axis empty")
    samples = x.shape[0]
    if norm_batch is None:
        norm_batch = samples
    check_at_least("norm_batch", norm_batch, 1, whole=True)
    if samples % norm_batch:
        raise ValueError(f"x has {samples} samples, expected a multiple of norm_batch={norm_batch}")
    return namespace(x).reshape(x, (samples // norm_batch, -1, x.shape[-1]))


def merge(x: Array, shape: tuple[int, ...]) -> Array:
    """Undo `split`.

    Parameters
    ----------
    x : array, shape (G, M, C)
        The canonical form.
    shape : tuple of int
        The shape (N, ..., C) to go back to.

    Returns
    -------
    array, shape (N, ..., C)
        The same values.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(24.0).reshape(4, 2, 3)
    >>> bool(np.all(merge(split(x, 2), x.shape) == x))
    True
    """
    return namespace(x).reshape(x, shape)

"""Class-balanced subsets."""

from __future__ import annotations

import numpy as np

from mabn_ref.data.dataset import CLASSES, Dataset, check_count

__all__ = ["balanced"]


def balanced(dataset: Dataset, size: int, seed: int) -> Dataset:
    """Return `size` images drawn at random with the ten classes equally often.

    Where `size` is no multiple of 10, the counts of two classes differ by at most one, and the seed decides which
    classes get the extra image. Subsets of one seed are nested: a smaller one is part of every larger one.

    Parameters
    ----------
    dataset : Dataset
        N images; left unchanged.
    size : int
        Number of images to keep, at least 1.
    seed : int
        Decides which; at least 0.

    Returns
    -------
    Dataset
        The chosen images and labels, in the order they have in `dataset`.

    Raises
    ------
    TypeError
        If `size` or `seed` is no integer.
    ValueError
        If `size` is below 1, `seed` below 0, or a class holds fewer images than its share.

    Examples
    --------
    >>> import numpy as np
    >>> labels = np.arange(40) % 10
    >>> part = balanced(Dataset(np.zeros((40, 32, 32, 3), np.uint8), labels), size=20, seed=0)
    >>> np.bincount(part.labels)
    array([2, 2, 2, 2, 2, 2, 2, 2, 2, 2])
    """
    check_count("size", size, at_least=1)
    check_count("seed", seed, at_least=0)
    rng = np.random.default_rng(seed)
    wanted = np.full(CLASSES, size // CLASSES)
    wanted[rng.permutation(CLASSES)[: size % CLASSES]] += 1
    chosen = []
    for label in range(CLASSES):
        held = np.flatnonzero(dataset.labels == label)
        if len(held) < wanted[label]:
            raise ValueError(
                f"size is {size}, which needs {wanted[label]} images of class {label}, "
                f"but the data set holds {len(held)}"
            )
        chosen.append(rng.permutation(held)[: wanted[label]])
    order = np.sort(np.concatenate(chosen))
    return Dataset(dataset.images[order], dataset.labels[order])

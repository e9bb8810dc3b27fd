"""Class-balanced subsets."""

from __future__ import annotations

import numpy as np

from mabn_ref.data.dataset import Dataset, check_count, check_dataset

__all__ = ["balanced"]


def balanced(dataset: Dataset, size: int, seed: int) -> Dataset:
    """Return `size` images drawn at random with the classes equally often: two, if two labels occur.

    Where `size` is no multiple of the number of classes, the counts of two classes differ by at most one, and the
    seed decides which classes get the extra image. Subsets of one seed are nested: a smaller one is part of every
    larger one.

    Parameters
    ----------
    dataset : Dataset
        N images, at least one, of any of the ten classes; left unchanged.
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
        If `size` or `seed` is no integer, or the images or labels have another dtype than those of a `Dataset`.
    ValueError
        If `size` is below 1, `seed` below 0, a class holds fewer images than its share, or the images and labels are
        not as `check_dataset` wants them.

    Examples
    --------
    >>> import numpy as np
    >>> labels = np.repeat([3, 7], 20)
    >>> part = balanced(Dataset(np.zeros((40, 32, 32, 3), np.uint8), labels), size=20, seed=0)
    >>> np.unique(part.labels, return_counts=True)
    (array([3, 7]), array([10, 10]))
    """
    check_dataset(dataset)
    check_count("size", size, at_least=1)
    check_count("seed", seed, at_least=0)
    rng = np.random.default_rng(seed)
    classes, counts = np.unique(dataset.labels, return_counts=True)
    wanted = np.full(len(classes), size // len(classes))
    wanted[rng.permutation(len(classes))[: size % len(classes)]] += 1
    chosen = []
    for label, held, share in zip(classes, counts, wanted, strict=True):
        if held < share:
            raise ValueError(
                f"size is {size}, which needs {share} images of class {label}, but the data set holds {held}; "
                f"expected at most {len(classes) * min(counts)}, as many of each class"
            )
        chosen.append(rng.permutation(np.flatnonzero(dataset.labels == label))[:share])
    order = np.sort(np.concatenate(chosen))
    return Dataset(dataset.images[order], dataset.labels[order])

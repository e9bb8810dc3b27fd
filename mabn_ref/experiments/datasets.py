"""The images of a run, read once a process."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy.typing as npt

from mabn_ref.data import Dataset, channel_statistics, cifar, embedded, fetch, subset
from mabn_ref.experiments.config import RunConfig

__all__ = ["Images", "load"]

_SEED = 0
"""Seed of embedded images and of subsets. It is no part of a run's seed, so that all seeds see the same images."""


class Images(NamedTuple):
    """Training and test images, and the statistics of the training images' channels that both are scaled by."""

    train: Dataset
    test: Dataset
    mean: npt.NDArray[Any]
    std: npt.NDArray[Any]


def load(config: RunConfig) -> Images:
    """Return the images that `config` names; they are kept for the next run in this process.

    Parameters
    ----------
    config : RunConfig
        Its `data`, `data_dir`, `train_size` and `test_size` count.

    Returns
    -------
    Images
        Bytes, not yet scaled.

    Raises
    ------
    ValueError
        If files are missing or damaged, or hold fewer images than asked for.
    ConnectionError
        If CIFAR-10 is not in the cache and cannot be downloaded.
    ImportError
        If CIFAR-10 is asked for and pooch is not installed.

    Examples
    --------
    >>> load(RunConfig(train_size=40, test_size=10)).train.images.shape
    (40, 32, 32, 3)
    """
    return _load(config.data, config.data_dir, config.train_size, config.test_size)


@functools.lru_cache(maxsize=1)
def _load(data: str, data_dir: str | None, train_size: int | None, test_size: int | None) -> Images:
    if data == "embedded":
        assert train_size is not None
        assert test_size is not None
        train, test = embedded.generate(train_size, test_size, _SEED)
    else:
        if data_dir is not None:
            train, test = cifar.read_directory(data_dir)
        else:
            train, test = cifar.read_archive(fetch.fetch_cifar10())
        train, test = _part("train_size", train, train_size), _part("test_size", test, test_size)
    mean, std = channel_statistics(train.images)
    return Images(train, test, mean, std)


def _part(name: str, dataset: Dataset, size: int | None) -> Dataset:
    if size is None or size == len(dataset.labels):
        return dataset
    if size > len(dataset.labels):
        raise ValueError(f"{name} is {size}, but the data set holds {len(dataset.labels)} images")
    return subset.balanced(dataset, size, _SEED)

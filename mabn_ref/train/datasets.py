"""The images of a run, read once per process."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mabn_ref.data import Dataset, channel_statistics, cifar, embedded, fetch
from mabn_ref.data.causes import KINDS
from mabn_ref.data.images import balanced
from mabn_ref.train.config import RunConfig

_SEED = 0
"""Seed of embedded images and of subsets, independent of a run's seed, so that all seeds see the same images."""


class Images(NamedTuple):
    """Training and test images, and the channel statistics of the training images, by which both are scaled."""

    train: Dataset
    test: Dataset
    mean: npt.NDArray[Any]
    std: npt.NDArray[Any]
    #: digest of both sets and their labels, if read from a directory; else the configuration determines them
    digest: str | None = None


def load(config: RunConfig) -> Images:
    """Return the images that `config` names; the process keeps them for its next run, unless the files change.

    They depend on `data`, `data_dir`, `train_size`, `test_size`, `held_out` and `gradient_batch`. Images are bytes,
    not yet scaled.

    A ValueError names files that are missing, damaged or of no use to the run: they hold fewer images than asked for
    or than a gradient batch, images of one class only, images that are all the same, or test images of a class
    without training images. Other errors are those of `cifar.read_directory` and `fetch.fetch_cifar10`.

    Examples
    --------
    >>> load(RunConfig(train_size=40, test_size=10)).train.images.shape
    (40, 32, 32, 3)
    """
    if config.data == "embedded":
        images = generated(embedded.generate, config.train_size, config.test_size)
    else:
        images = _read(config.data_dir, config.train_size, config.test_size, _stamp(config.data_dir))
    if config.held_out:
        images = _halves(images.train)._replace(digest=images.digest)
    if config.data != "embedded":
        _check(images, config)
    return images


@functools.lru_cache(maxsize=2)
def generated(generate: Callable[..., Any], train_size: int | None, test_size: int | None, **settings: Any) -> Images:
    """Return training and test images drawn by `generate`; the process keeps them for its next run."""
    train, test = generate(train_size, test_size, _SEED, **settings)
    return _scaled(Dataset(*train), Dataset(*test))


@functools.lru_cache(maxsize=1)
def _read(data_dir: str | None, train_size: int | None, test_size: int | None, stamp: object) -> Images:
    if data_dir is not None:
        train, test = cifar.read_directory(data_dir)
    else:
        train, test = cifar.read_archive(fetch.fetch_cifar10())
    train = _part("train_size", train, train_size, _source(data_dir, KINDS[0]))
    test = _part("test_size", test, test_size, _source(data_dir, KINDS[1]))
    # the archive needs no digest: its hash was compared when it was fetched
    return _scaled(train, test)._replace(digest=None if data_dir is None else _digest(train, test))


def _digest(*sets: Dataset) -> str:
    """Return a digest that changes with any pixel or label, and with the number and order of the images."""
    seen = hashlib.sha256()
    for images, labels in sets:
        seen.update(np.ascontiguousarray(images).data)
        seen.update(labels.astype(np.uint8).data)
    return seen.hexdigest()[:16]


def _scaled(train: Dataset, test: Dataset) -> Images:
    return Images(train, test, *channel_statistics(train.images))


def _halves(dataset: Dataset) -> Images:
    """Split a data set: every other image of each class to train on, the rest to test on."""
    by_class = np.argsort(dataset.labels, kind="stable")
    halves = [np.sort(by_class[first::2]) for first in (0, 1)]
    train, test = (Dataset(dataset.images[half], dataset.labels[half]) for half in halves)
    return _scaled(train, test)


def _stamp(data_dir: str | None) -> object:
    """Return a value that changes when the directory or one of its files does."""
    paths = [] if data_dir is None else sorted(Path(data_dir).glob("*_batch*.bin"))
    found = [(path, path.stat() if path.exists() else path.lstat()) for path in paths]  # of a link, what it leads to
    return tuple((str(path), kept.st_ino, kept.st_size, kept.st_mtime_ns) for path, kept in found)


def _source(data_dir: str | None, files: str) -> str:
    """Return the name of the files for a message."""
    return "CIFAR-10" if data_dir is None else str(Path(data_dir, files))


def _part(name: str, dataset: Dataset, size: int | None, source: str) -> Dataset:
    held = len(dataset.labels)
    if size is None or size == held:
        return dataset
    if size > held:
        raise ValueError(f"{name} is {size}, but {source} holds {held} images: ask for at most {held}, or add images")
    try:
        return balanced(dataset, size, _SEED)
    except ValueError as error:
        raise ValueError(f"{source} is too small for {name}: {error}, or no {name}, for all images") from error


def _check(images: Images, config: RunConfig) -> None:
    """Refuse training images from which nothing can be learned, and test images of classes that were not trained."""
    train, test = images.train, images.test
    source, tested = (_source(config.data_dir, kind) for kind in KINDS)
    if len(train.labels) < config.gradient_batch:
        raise ValueError(
            f"{source} holds {len(train.labels)} training images, expected at least one gradient batch of "
            f"{config.gradient_batch}: add images"
        )
    learned, met = set(train.labels.tolist()), set(test.labels.tolist())
    if len(learned) == 1:
        raise ValueError(
            f"{source} holds training images of label {learned.pop()} only, expected at least two classes: add "
            "another, or check how the labels were written"
        )
    if all(np.array_equal(image, train.images[0]) for image in train.images):
        raise ValueError(
            f"{source} holds {len(train.labels)} training images that are all the same, expected different ones: "
            "check how the images were written"
        )
    if not met <= learned:
        raise ValueError(
            f"{tested} holds test images of label {min(met - learned)}, which no training image in {source} has: add "
            "some, or leave that class out"
        )

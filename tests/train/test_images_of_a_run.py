"""The images that a run is given: how many, which, and what both sets are scaled by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mabn_ref.data import Dataset, cifar, embedded
from mabn_ref.data.images import balanced
from mabn_ref.train import datasets
from mabn_ref.train.config import RunConfig


@pytest.mark.parametrize(("train_size", "test_size"), [(40, 30), (None, 20), (40, None), (None, None)])
def test_of_a_directory(
    train_size: int | None, test_size: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Balanced parts of both, the same for every seed; scaled by the training images that are left."""
    train, test = embedded.generate(200, 100, seed=7)
    train = Dataset(train.images // 2, train.labels)  # of another brightness
    monkeypatch.setattr(cifar, "read_directory", lambda *_: (train, test))
    settings = {"data": "directory", "data_dir": str(tmp_path), "train_size": train_size, "test_size": test_size}
    for seed in (0, 1):
        found = datasets.load(RunConfig(**settings, seed=seed))
        for part, whole, size in ((found.train, train, train_size), (found.test, test, test_size)):
            expected = whole if size is None else balanced(whole, size, 0)
            np.testing.assert_array_equal(part.images, expected.images)
            np.testing.assert_array_equal(part.labels, expected.labels)
        pixels = found.train.images.reshape(-1, 3).astype(np.float64)
        np.testing.assert_allclose(found.mean, pixels.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(found.std, pixels.std(axis=0), rtol=1e-12)


def test_a_digest_tells_images_apart_wherever_they_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pixel, label and number counts, and the order; the directory's name does not, nor what is left out."""
    (images, labels), test = embedded.generate(100, 20, seed=7)
    pixel, swapped = images.copy(), np.arange(100)
    pixel[99, 31, 31, 2] ^= 1
    swapped[:2] = 1, 0
    last = Dataset(images[99:], labels[99:])
    both = Dataset(np.concatenate([last.images, test.images]), np.concatenate([last.labels, test.labels]))
    kinds = {
        "images": (Dataset(images, labels), test),
        "a pixel": (Dataset(pixel, labels), test),
        "a label": (Dataset(images, np.append(labels[:-1], (labels[-1] + 1) % 10)), test),
        "the order": (Dataset(images[swapped], labels[swapped]), test),
        "a test image": (Dataset(images, labels), Dataset(test.images[1:], test.labels[1:])),
        "one in the other set": (Dataset(images[:99], labels[:99]), both),
    }
    digests = {}
    for name, sets in kinds.items():
        for place in ("here", "there"):
            folder = tmp_path / name / place
            folder.mkdir(parents=True)
            monkeypatch.setattr(cifar, "read_directory", lambda *_, sets=sets: sets)
            settings = {"data": "directory", "data_dir": str(folder), "train_size": None, "test_size": None}
            digests[name, place] = datasets.load(RunConfig(**settings)).digest
            assert datasets.load(RunConfig(**settings, held_out=True)).digest == digests[name, place]
        assert digests[name, "here"] == digests[name, "there"] != None  # noqa: E711
    assert len(set(digests.values())) == len(kinds)
    # of parts that are the same images, the rest may differ
    part = RunConfig(**settings | {"train_size": 40, "test_size": 10})
    first = datasets.load(part)
    assert first.digest not in digests.values()
    assert datasets.load(RunConfig()).digest is None


def test_of_files_behind_links_that_change(tmp_path: Path) -> None:
    files = [f"data_batch_{k}.bin" for k in range(1, 6)] + ["test_batch.bin"]
    (tmp_path / "links").mkdir()
    settings = {"data": "directory", "data_dir": str(tmp_path / "links"), "train_size": None, "test_size": None}
    digests = []
    for seed in (0, 1):
        for name in files:
            images = np.random.default_rng(seed).integers(0, 256, (20, 3072), dtype=np.uint8)
            labels = np.arange(20, dtype=np.uint8)[:, None] % 10
            (tmp_path / name).write_bytes(np.hstack([labels, images]).tobytes())
            link = tmp_path / "links" / name
            if not link.exists():
                link.symlink_to(tmp_path / name)
        digests.append(datasets.load(RunConfig(**settings)).digest)
    assert digests[0] != digests[1]


def test_of_the_embedded_set_one_size_after_another() -> None:
    """Images are kept for the next run of the process, which may want others."""
    for train_size, test_size in ((64, 20), (64, 30), (96, 20), (64, 20)):
        found = datasets.load(RunConfig(train_size=train_size, test_size=test_size))
        train, test = embedded.generate(train_size, test_size, 0)
        np.testing.assert_array_equal(found.train.images, train.images)
        np.testing.assert_array_equal(found.test.images, test.images)


def test_of_a_run_on_held_out_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every training image is on one side, each class on both alike; no test image is read."""
    train, test = embedded.generate(203, 100, seed=7)
    monkeypatch.setattr(cifar, "read_directory", lambda *_: (train, test))
    settings = {"data": "directory", "data_dir": str(tmp_path), "train_size": None, "test_size": None}
    found = datasets.load(RunConfig(**settings, held_out=True))
    both = [image.tobytes() for part in (found.train, found.test) for image in part.images]
    assert sorted(both) == sorted(image.tobytes() for image in train.images)
    assert len(set(both)) == 203
    counts = [np.bincount(part.labels, minlength=10) for part in (found.train, found.test)]
    assert set((counts[0] - counts[1]).tolist()) <= {-1, 0, 1}
    labelled = {image.tobytes(): label for image, label in zip(train.images, train.labels, strict=True)}
    for part in (found.train, found.test):
        assert [labelled[image.tobytes()] for image in part.images] == part.labels.tolist()
    pixels = found.train.images.reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(found.mean, pixels.mean(axis=0), rtol=1e-12)
    assert len(datasets.load(RunConfig(**settings)).train.labels) == 203
    with pytest.raises(ValueError, match=r"^train_size is 63, expected an integer of at least 64$"):
        RunConfig(train_size=63, held_out=True)

"""The procedural data set."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mabn_ref.data import Dataset, embedded


def digest(dataset: Dataset) -> str:
    return hashlib.sha256(dataset.images.tobytes() + dataset.labels.tobytes()).hexdigest()


@settings(deadline=None, max_examples=15)
@given(train=st.integers(1, 130), test=st.integers(1, 130), seed=st.integers(0, 2**32))
def test_shape_dtype_and_balance(train: int, test: int, seed: int) -> None:
    for dataset, size in zip(embedded.generate(train, test, seed), (train, test), strict=True):
        assert dataset.images.shape == (size, 32, 32, 3)
        assert dataset.images.dtype == np.uint8
        assert dataset.labels.dtype == np.int64
        counts = np.bincount(dataset.labels, minlength=10)
        assert len(counts) == 10
        assert counts.max() - counts.min() <= (size % 10 > 0)


@settings(deadline=None, max_examples=10)
@given(small=st.integers(1, 250), large=st.integers(1, 250), seed=st.integers(0, 2**32))
def test_small_set_is_the_start_of_a_large_one(small: int, large: int, seed: int) -> None:
    small, large = sorted((small, large))
    for part, whole in zip(embedded.generate(small, large, seed), embedded.generate(large, small, seed), strict=True):
        shared = min(len(part.images), len(whole.images))
        np.testing.assert_array_equal(part.images[:shared], whole.images[:shared])
        np.testing.assert_array_equal(part.labels[:shared], whole.labels[:shared])


def test_another_process_draws_the_same_images() -> None:
    code = (
        "import hashlib; from mabn_ref.data import embedded; d, _ = embedded.generate(200, 1, 7);"
        "print(hashlib.sha256(d.images.tobytes() + d.labels.tobytes()).hexdigest())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == digest(embedded.generate(200, 1, 7)[0])


def test_seeds_and_streams_share_no_image() -> None:
    sets = [dataset for seed in range(3) for dataset in embedded.generate(200, 200, seed)]
    images = [image.tobytes() for dataset in sets for image in dataset.images]
    assert len(set(images)) == len(images) == 1200


def test_classes_are_what_their_names_say() -> None:
    train, _ = embedded.generate(1000, 1, 0)
    assert len(embedded.CLASS_NAMES) == 10
    warm = np.array([embedded.CLASS_NAMES[label].startswith("warm") for label in train.labels])
    redness = train.images[..., 0].mean(axis=(1, 2)) - train.images[..., 2].mean(axis=(1, 2))
    assert redness[warm].mean() > 20 > -20 > redness[~warm].mean()


def test_textures_are_what_their_names_say() -> None:
    """Stripes rise and fall in one direction, dots are few on a dark ground, and nothing else is like either."""
    family = np.repeat(np.arange(5), 40)
    texture = embedded.textures(family, np.random.default_rng(0))
    down, across = np.gradient(texture, axis=(1, 2))
    a, b, c = (np.sum(part, axis=(1, 2)) for part in (across**2, down**2, across * down))
    in_one_direction = np.hypot(a - b, 2 * c) / (a + b)  # 1 if all gradients are parallel
    assert in_one_direction[family == 0].min() > 0.8 > 0.5 > in_one_direction[family != 0].max()
    lightness = texture.mean(axis=(1, 2))
    assert lightness[family == 3].max() < 0.35 < 0.4 < lightness[family != 3].min()


def test_a_texture_does_not_depend_on_the_families_beside_it() -> None:
    mixed = embedded.textures(np.arange(30) % 5, np.random.default_rng(1))
    for number in range(5):
        alone = embedded.textures(np.full(30, number), np.random.default_rng(1))
        np.testing.assert_array_equal(mixed[number::5], alone[number::5])


def test_palettes_overlap_a_little() -> None:
    train, _ = embedded.generate(1000, 1, 0)
    redness = train.images[..., 0].mean(axis=(1, 2)) - train.images[..., 2].mean(axis=(1, 2))
    wrong = np.mean((redness > 0) != (train.labels % 2 == 0))
    assert 0.005 < wrong < 0.3


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 1, 0), ValueError, "train_size is 0, expected an integer of at least 1"),
        ((1, -1, 0), ValueError, "test_size is -1, expected an integer of at least 1"),
        ((1, 1, -1), ValueError, "seed is -1, expected an integer of at least 0"),
        ((1.5, 1, 0), TypeError, "train_size is 1.5, expected an integer"),
        ((1, 1, None), TypeError, "seed is None, expected an integer"),
    ],
)
def test_bad_arguments_are_named(arguments: tuple[int, int, int], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        embedded.generate(*arguments)


def test_of_the_training_set_nothing_is_held_twice_while_the_test_set_is_drawn() -> None:
    tracemalloc.start()
    try:
        train, _ = embedded.generate(4000, 4000, 0)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 3.5 * train.images.nbytes  # the training set, and the test set in blocks and whole

"""Flips and crops."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mabn_ref.data.images import flip_and_crop
from mabn_ref.nn import network


def random_images(n: int, seed: int, low: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, 256, (n, 32, 32, 3), np.uint8)


def find_move(image: np.ndarray, moved: np.ndarray) -> tuple[bool, int, int] | None:
    """Try every flip and shift one by one, the slow and plain way."""
    for flip in (False, True):
        padded = np.zeros((40, 40, 3), np.uint8)
        padded[4:36, 4:36] = image[:, ::-1] if flip else image
        for top in range(9):
            for left in range(9):
                if np.array_equal(padded[top : top + 32, left : left + 32], moved):
                    return flip, top, left
    return None


def test_every_flip_and_shift_occurs_and_nothing_else() -> None:
    images = random_images(600, 0)
    moves = [find_move(a, b) for a, b in zip(images, flip_and_crop(images, np.random.default_rng(1)), strict=True)]
    found = [move for move in moves if move is not None]
    assert len(found) == len(moves)
    flips, tops, lefts = (np.array(column) for column in zip(*found, strict=True))
    assert 240 < flips.sum() < 360
    for shifts in (tops, lefts):
        counts = np.bincount(shifts, minlength=9)
        assert len(counts) == 9
        assert counts.min() > 30
    assert len(set(found)) > 150  # of 162: a flip, a move down and one across are drawn each for itself


@settings(deadline=None, max_examples=20)
@given(n=st.integers(0, 40), seed=st.integers(0, 2**32))
def test_same_generator_same_images_input_unchanged(n: int, seed: int) -> None:
    images = random_images(n, 2, low=0)
    before = images.copy()
    one = flip_and_crop(images, np.random.default_rng(seed))
    other = flip_and_crop(images, np.random.default_rng(seed))
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(images, before)
    assert one.dtype == np.uint8
    assert one.shape == images.shape
    assert not np.shares_memory(one, images)


def test_generator_advances() -> None:
    images, rng = random_images(8, 3), np.random.default_rng(4)
    assert not np.array_equal(flip_and_crop(images, rng), flip_and_crop(images, rng))


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.zeros((2, 32, 32, 3)), TypeError, "images is an array of float64, expected uint8"),
        ([[1]], TypeError, "images is list, expected uint8"),
        (np.zeros((2, 3, 32, 32), np.uint8), ValueError, "images has shape .*, expected .* channels last"),
        (np.zeros((32, 32, 3), np.uint8), ValueError, "images has shape"),
    ],
)
def test_bad_images_are_named(images: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        flip_and_crop(images, np.random.default_rng(0))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "draws", [lambda rng: flip_and_crop(random_images(2, 0), rng), lambda rng: network.init([], rng)]
)
def test_a_seed_in_the_place_of_a_generator_is_named(draws: Callable[[object], object]) -> None:
    with pytest.raises(TypeError, match="rng is 0, expected a numpy Generator"):
        draws(0)

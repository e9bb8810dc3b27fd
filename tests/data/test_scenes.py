"""Scenes: images with a class for every pixel."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from mabn_ref.data import scenes


def test_shapes_dtypes_and_classes() -> None:
    for found, size in zip(scenes.generate(130, 20, seed=3), (130, 20), strict=True):
        assert found.images.shape == (size, 32, 32, 3)
        assert found.images.dtype == np.uint8
        assert found.masks.shape == (size, 32, 32)
        assert found.masks.dtype == np.int64
        assert set(np.unique(found.masks)) == set(range(len(scenes.CLASS_NAMES)))


def test_the_same_bits_from_the_same_seed() -> None:
    small, _ = scenes.generate(30, 1, seed=0)
    large, test = scenes.generate(130, 30, seed=0)
    assert np.array_equal(small.images, large.images[:30])
    assert np.array_equal(small.masks, large.masks[:30])
    assert not np.array_equal(test.images, large.images[:30])
    assert not np.array_equal(scenes.generate(30, 1, seed=1)[0].images, small.images)
    # what was recorded was recorded on these
    assert (
        hashlib.sha256(small.masks.astype(np.uint8).tobytes()).hexdigest()
        == "0e4a66913b8cb7b6f617bda5bf1e6a7506629e86e730db480443285acc241b2b"
    )


def test_every_scene_has_ground_and_one_to_three_textures_each_class_as_often() -> None:
    train, _ = scenes.generate(500, 1, seed=0)
    kinds = [len(np.unique(mask[mask > 0])) for mask in train.masks]
    assert min(kinds) == 1
    assert max(kinds) == 3
    share = np.bincount(train.masks.ravel()) / train.masks.size
    assert 0.5 < share[0] < 0.8
    assert np.all(np.abs(share[1:] / share[1:].mean() - 1) < 0.3)


def test_textured_pixels_vary_more_than_the_ground() -> None:
    """A mask lies where its shape is: noise alone moves the ground, and the contrast of textures is larger."""
    train, _ = scenes.generate(200, 1, seed=0)
    spread = [
        [image[mask == 0].std(axis=0).mean(), image[mask > 0].std(axis=0).mean()]
        for image, mask in zip(train.images.astype(float), train.masks, strict=True)
        if 50 < np.sum(mask == 0) < 950
    ]
    ground, textured = np.mean(spread, axis=0)
    assert ground < 40 < textured


@pytest.mark.parametrize(
    ("sizes", "error"), [((0, 1, 0), ValueError), ((1, 0, 0), ValueError), ((1, 1, -1), ValueError)]
)
def test_bad_sizes(sizes: tuple[int, int, int], error: type[Exception]) -> None:
    with pytest.raises(error, match=r"(train_size|test_size|seed) is (0|-1)"):
        scenes.generate(*sizes)
    with pytest.raises(TypeError, match=r"train_size is 1\.5"):
        scenes.generate(1.5, 1, 0)  # type: ignore[arg-type]

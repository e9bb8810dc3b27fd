"""Scenes with boxes."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from mabn_ref.data import boxes
from mabn_ref.train.average_precision import ious


def test_shapes_dtypes_and_classes() -> None:
    for found, size in zip(boxes.generate(60, 10, seed=3), (60, 10), strict=True):
        assert (found.images.shape, found.images.dtype) == ((size, 48, 48, 3), np.uint8)
        assert (found.boxes.shape, found.boxes.dtype) == ((size, 3, 5), np.int64)
        assert set(np.unique(found.boxes[..., 0])) == {-1, 0, 1, 2, 3}
        assert np.all(found.boxes[:, 0, 0] >= 0), "no scene is empty"


def test_the_same_bits_from_the_same_seed() -> None:
    small, _ = boxes.generate(3, 1, seed=0)
    large, test = boxes.generate(30, 3, seed=0)
    assert np.array_equal(small.images, large.images[:3])
    assert np.array_equal(small.boxes, large.boxes[:3])
    assert not np.array_equal(test.images, large.images[:3])
    # what was recorded was recorded on these
    assert (
        hashlib.sha256(large.boxes.tobytes()).hexdigest()
        == "f520415a8307d1ff1b66a2630bc1fed84e162b728d0d47414d5868c2b690d98f"
    )


def test_boxes_lie_inside_and_apart_from_each_other() -> None:
    found, _ = boxes.generate(80, 1, seed=0)
    for scene in found.boxes:
        mine = scene[scene[:, 0] >= 0][:, 1:]
        assert mine.min() >= 0
        assert mine.max() <= boxes.SIZE
        assert np.all(mine[:, 2:] > mine[:, :2])
        shared = ious(mine, mine)
        assert np.all(shared[~np.eye(len(mine), dtype=bool)] < 0.1)


def test_a_box_is_as_tight_as_the_pixels_of_its_shape() -> None:
    """Where a scene has one object, pixels change at the sides of its box and not beyond them."""
    found, _ = boxes.generate(120, 1, seed=0, exposure=1.0)
    alone = np.flatnonzero(np.sum(found.boxes[..., 0] >= 0, axis=1) == 1)
    off = []
    for n in alone:
        image, (_, left, top, right, bottom) = found.images[n].astype(float), found.boxes[n, 0]
        across = np.abs(np.diff(image[top:bottom], axis=1)).mean(axis=(0, 2))
        down = np.abs(np.diff(image[:, left:right], axis=0)).mean(axis=(1, 2))
        if left > 3 and right < 45 and found.boxes[n, 0, 0] == 1:  # a square's sides are straight
            off.append(sorted(np.argsort(across)[-2:] + 1) == [left, right])
        if top > 3 and bottom < 45 and found.boxes[n, 0, 0] == 1:
            off.append(sorted(np.argsort(down)[-2:] + 1) == [top, bottom])
    assert len(off) > 10
    assert np.mean(off) > 0.9


def test_exposure_makes_scenes_differ_in_brightness_alone() -> None:
    apart, _ = boxes.generate(100, 1, seed=0)
    alike, _ = boxes.generate(100, 1, seed=0, exposure=1.0)
    assert np.array_equal(apart.boxes, alike.boxes)
    ratio = apart.images.mean(axis=(1, 2, 3)) / alike.images.mean(axis=(1, 2, 3))
    assert 0.14 < ratio.min() < 0.2
    assert 0.95 < ratio.max() < 1.01
    spread = [np.std(np.log(found.images.mean(axis=(1, 2, 3)))) for found in (apart, alike)]
    assert spread[0] > 1.5 * spread[1]


def test_textured_objects_are_told_apart_by_texture_alone() -> None:
    """Their boxes are as tight, and what is in a box varies more than a plain object on its ground."""
    scenes, again = (boxes.generate(60, 1, seed=0, exposure=1.0, textured=True)[0] for _ in range(2))
    assert np.array_equal(scenes.images, again.images)
    plain, _ = boxes.generate(60, 1, seed=0, exposure=1.0)
    first, kinds = scenes.boxes[:, 0], set(scenes.boxes[:, 0, 0])
    assert np.array_equal(first[:, 1:], plain.boxes[:, 0, 1:])  # the first object is drawn before any texture
    assert not np.array_equal(first[:, 0], plain.boxes[:, 0, 0])
    assert kinds == set(range(len(boxes.TEXTURE_NAMES)))
    spread = [
        np.median(
            [image[t:b, left:r].std(axis=(0, 1)).mean() for image, (_, left, t, r, b) in zip(*found, strict=True)]
        )
        for found in ((scenes.images, first), (plain.images, first))
    ]
    assert spread[0] > 1.1 * spread[1]


@pytest.mark.parametrize("exposure", [0.0, 1.5])
def test_bad_sizes_and_exposures(exposure: float) -> None:
    with pytest.raises(ValueError, match="train_size is 0"):
        boxes.generate(0, 1, 0)
    with pytest.raises(ValueError, match=rf"exposure is {exposure}, expected a number in \(0, 1\]"):
        boxes.generate(1, 1, 0, exposure=exposure)

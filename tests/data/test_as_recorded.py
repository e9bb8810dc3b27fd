"""The images are those that the committed results were recorded on, and all that a set is made of is used."""

from __future__ import annotations

import numpy as np
import pytest

from mabn_ref.data import Dataset, boxes, channel_statistics, embedded, scenes
from mabn_ref.data.images import balanced


def moments(images: np.ndarray) -> list[tuple[float, float]]:
    return [(round(float(image.mean()), 2), round(float(image.std()), 2)) for image in images]


def test_the_embedded_images() -> None:
    """One of each class: another texture, noise, contrast or rounding shows in these figures.

    A different machine may round a pixel otherwise, which is less than 0.01.
    """
    train, test = embedded.generate(10, 1, seed=0)
    assert train.labels.tolist() == [4, 6, 2, 7, 3, 5, 9, 0, 8, 1]
    expected = [
        *((121.32, 84.28), (118.16, 68.90), (125.80, 80.16), (67.74, 65.14), (154.92, 53.23)),
        *((150.01, 73.52), (103.82, 78.50), (151.26, 76.44), (129.13, 62.81), (145.97, 75.87)),
    ]
    np.testing.assert_allclose(moments(train.images), expected, rtol=0, atol=0.011)
    assert test.labels.tolist() == [9]
    np.testing.assert_allclose(moments(test.images), [(97.51, 57.32)], rtol=0, atol=0.011)


def test_the_scenes() -> None:
    train, test = scenes.generate(3, 1, seed=0)
    expected = [(135.93, 51.04), (109.11, 49.34), (106.23, 62.26)]
    np.testing.assert_allclose(moments(train.images), expected, rtol=0, atol=0.011)
    np.testing.assert_allclose(moments(test.images), [(150.11, 49.85)], rtol=0, atol=0.011)


def test_the_scenes_with_boxes() -> None:
    for textured, expected in (
        (False, [(48.70, 27.98), (120.19, 49.42), (155.61, 51.52), (113.27, 41.47)]),
        (True, [(67.67, 38.56), (67.67, 30.76), (116.83, 36.59), (114.88, 37.82)]),
    ):
        train, test = boxes.generate(3, 1, seed=0, textured=textured)
        np.testing.assert_allclose(moments([*train.images, *test.images]), expected, rtol=0, atol=0.011)


@pytest.mark.parametrize("size", [1023, 1024, 1025, 2050])
def test_statistics_are_of_every_image(size: int) -> None:
    """The last image alone is not black; they are counted a thousand and a few at a time."""
    images = np.zeros((size, 1, 1, 3), np.uint8)
    images[-1] = (100, 200, 50)
    share = 1 / size
    mean, std = channel_statistics(images)
    np.testing.assert_allclose(mean, np.array([100, 200, 50]) * share, rtol=1e-12)
    np.testing.assert_allclose(std, np.array([100, 200, 50]) * np.sqrt(share * (1 - share)), rtol=1e-12)


def test_a_subset_is_a_draw_from_each_class_and_of_the_classes_that_have_one_more() -> None:
    """Over many seeds every image is drawn as often, and every class has one more as often."""
    labels = np.tile(np.arange(10), 6)
    images = np.zeros((60, 1, 1, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(60)
    drawn, more = np.zeros(60), np.zeros(10)
    for seed in range(400):
        part = balanced(Dataset(images, labels), 23, seed)
        drawn[part.images[:, 0, 0, 0]] += 1
        counts = np.bincount(part.labels, minlength=10)
        assert sorted(counts) == [2] * 7 + [3] * 3
        more += counts - 2
    # 400 draws with a chance of 23/60 and of 3/10: six deviations are 58 and 55
    np.testing.assert_allclose(drawn, 400 * 23 / 60, rtol=0, atol=58)
    np.testing.assert_allclose(more, 400 * 3 / 10, rtol=0, atol=55)

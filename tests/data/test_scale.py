"""Standardisation by constants of the training set."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mabn_ref.data import channel_statistics, to_float


def random_images(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.random((n, 5, 4, 3)) * np.array([255.0, 90, 20])).astype(np.uint8)


@given(n=st.integers(1, 1100), seed=st.integers(0, 2**32))
@example(n=1024, seed=0)  # one block of images, and more than two
@example(n=2049, seed=0)
def test_statistics_are_those_of_the_pixels(n: int, seed: int) -> None:
    images = random_images(n, seed)
    mean, std = channel_statistics(images)
    np.testing.assert_allclose(mean, images.mean(axis=(0, 1, 2), dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(std, images.std(axis=(0, 1, 2), dtype=np.float64), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_training_images_become_standard(dtype: type) -> None:
    images = random_images(50, 1)
    out = to_float(images, *channel_statistics(images), dtype=dtype)
    assert out.dtype == dtype
    np.testing.assert_allclose(out.mean(axis=(0, 1, 2), dtype=np.float64), 0, atol=1e-6)
    np.testing.assert_allclose(out.std(axis=(0, 1, 2), dtype=np.float64), 1, rtol=1e-6)
    assert out[0, 0, 0, 1] == pytest.approx(
        (images[0, 0, 0, 1] - images[..., 1].mean()) / images[..., 1].std(), rel=1e-6
    )


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"dtype": np.float16}, TypeError, "dtype is float16, expected float32 or float64"),
        ({"mean": [0.0]}, ValueError, r"mean has shape \(1,\), expected \(3,\)"),
        ({"std": [1.0, -1.0, 1.0]}, ValueError, "std is .* expected finite numbers and no std below 0"),
        ({"std": [1.0, np.nan, 1.0]}, ValueError, "expected finite"),
        ({"images": np.zeros((1, 2, 2, 3))}, TypeError, "expected uint8"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], error: type[Exception], message: str) -> None:
    good: dict[str, object] = {"images": random_images(2, 2), "mean": [0.0] * 3, "std": [1.0] * 3}
    with pytest.raises(error, match=message):
        to_float(**(good | arguments))  # type: ignore[arg-type]


@pytest.mark.parametrize("channel", [0, 1, 2])
@pytest.mark.parametrize("value", [0, 7, 123, 255])
def test_a_channel_that_is_always_the_same_becomes_zero_and_the_others_stay(channel: int, value: int) -> None:
    images, test = random_images(50, 3), random_images(9, 4)
    before = to_float(test, *channel_statistics(images))
    images[..., channel] = value
    mean, std = channel_statistics(images)
    assert (mean[channel], std[channel]) == (value, 0)
    after = to_float(test, mean, std)
    assert np.all(after[..., channel] == 0)
    others = [other for other in range(3) if other != channel]
    np.testing.assert_array_equal(after[..., others], before[..., others])


def test_no_pixel_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one pixel"):
        channel_statistics(np.zeros((0, 32, 32, 3), np.uint8))

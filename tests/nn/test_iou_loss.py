from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mabn_ref.nn import iou_loss


def drawn(seed, n=3):
    rng = np.random.default_rng(seed)
    logs = rng.uniform(-1, 1, (n, 4))
    return logs, np.exp(logs + rng.choice([-1, 1], logs.shape) * rng.uniform(0.1, 1, logs.shape))


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_gradient(central_differences, seed):
    """eq: iou-loss-forward, iou-loss-backward"""
    logs, truth = drawn(seed)
    loss, cache = iou_loss.forward(logs, truth)
    assert 0 < float(loss) < 1
    expected = central_differences(lambda v: 1.7 * iou_loss.forward(v, truth)[0], logs, h=1e-4)
    np.testing.assert_allclose(iou_loss.backward(1.7, cache), expected, rtol=1e-7, atol=1e-8)


def test_complex_step_confirms_the_gradient_to_rounding():
    """eq: iou-loss-backward"""
    logs, truth = drawn(0)
    expected = np.empty(logs.shape)
    for index in np.ndindex(*logs.shape):
        stepped = logs.astype(complex)
        stepped[index] += 1e-30j
        expected[index] = iou_loss.forward(stepped, truth)[0].imag / 1e-30
    _, cache = iou_loss.forward(logs, truth)
    np.testing.assert_allclose(iou_loss.backward(1.0, cache), expected, rtol=1e-13, atol=1e-16)


def test_the_right_box_costs_nothing_and_pixels_can_be_counted():
    """eq: iou-loss-forward"""
    truth = np.array([[2.0, 3.0, 4.0, 1.0]])
    assert float(iou_loss.forward(np.log(truth), truth)[0]) == pytest.approx(0, abs=1e-15)
    pixels = np.zeros((2, 20, 20), dtype=bool)
    for grid, (left, top, right, bottom) in zip(pixels, ([3, 2, 5, 4], [2, 6, 7, 1]), strict=True):
        grid[10 - top : 10 + bottom, 10 - left : 10 + right] = True
    loss, _ = iou_loss.forward(np.log(np.array([[3.0, 2.0, 5.0, 4.0]])), np.array([[2.0, 6.0, 7.0, 1.0]]))
    assert float(loss) == pytest.approx(1 - np.sum(pixels[0] & pixels[1]) / np.sum(pixels[0] | pixels[1]))


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("large", [10, 25, 30, 35, 40, 44, 60, 85])
@pytest.mark.parametrize("sides", [(0,), (0, 1), (1, 2), (0, 1, 2, 3)])
def test_the_gradient_of_a_box_that_is_far_too_large(large, sides):
    """In float32 that of float64, as far as float32 has such small numbers, and never NaN.

    eq: iou-loss-backward
    """
    logs, truth = drawn(5, n=1)
    logs[0, list(sides)] = large + np.arange(len(sides)) / 8
    exact, single = (
        iou_loss.backward(1.0, iou_loss.forward(logs.astype(dtype), truth.astype(dtype))[1])
        for dtype in (np.float64, np.float32)
    )
    np.testing.assert_allclose(single, exact, rtol=1e-3, atol=1e-37)


def test_on_the_true_side_the_slope_is_that_for_moving_outwards():
    """eq: iou-loss-backward"""
    logs = np.log([[2.0, 3.0, 4.0, 5.0]])
    truth = np.exp(logs)
    loss, cache = iou_loss.forward(logs, truth)
    assert loss < 1e-15
    outwards = [iou_loss.forward(logs + 1e-7 * side, truth)[0] / 1e-7 for side in np.eye(4)]
    np.testing.assert_allclose(iou_loss.backward(1.0, cache), [outwards], rtol=1e-5)


def test_a_step_down_the_gradient_brings_the_boxes_together():
    logs, truth = drawn(1)
    first, _ = iou_loss.forward(logs, truth)
    for _ in range(600):
        _, cache = iou_loss.forward(logs, truth)
        logs = logs - 0.02 * iou_loss.backward(1.0, cache)
    assert float(iou_loss.forward(logs, truth)[0]) < 0.2 * float(first)


def test_bad_input_is_refused():
    logs, truth = drawn(4)
    with pytest.raises(ValueError, match=r"truth has shape \(2, 4\), expected \(3, 4\)"):
        iou_loss.forward(logs, truth[:2])
    with pytest.raises(ValueError, match=r"logs has shape \(3, 3\), expected \(3, 4\)"):
        iou_loss.forward(logs[:, :3], truth[:, :3])
    with pytest.raises(ValueError, match=r"logs has shape \(4,\), expected \(N, 4\)"):
        iou_loss.forward(logs[0], truth)
    for one in (0.0, -1.0):
        with pytest.raises(ValueError, match="truth has distances that are not positive"):
            iou_loss.forward(logs, np.where(np.arange(truth.size).reshape(truth.shape) == 5, one, truth))
    _, cache = iou_loss.forward(logs, truth)
    with pytest.raises(ValueError, match=r"dloss has shape \(3,\), expected \(\)"):
        iou_loss.backward(np.ones(3), cache)

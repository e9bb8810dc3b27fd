from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mabn_ref.gradcheck.exact import exact, to_float
from mabn_ref.nn import focal_loss


def drawn(seed, n=5, classes=3):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, (n, classes))
    return rng.uniform(-3, 3, (n, classes)), truth


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.95), st.floats(0, 4))
def test_gradient(central_differences, seed, alpha, gamma):
    """eq: focal-loss-forward, focal-loss-backward"""
    logits, truth = drawn(seed)
    _, cache = focal_loss.forward(logits, truth, alpha=alpha, gamma=gamma)
    expected = central_differences(
        lambda v: 1.7 * focal_loss.forward(v, truth, alpha=alpha, gamma=gamma)[0], logits, h=1e-4
    )
    np.testing.assert_allclose(focal_loss.backward(1.7, cache), expected, rtol=1e-7, atol=1e-7)


def test_complex_step_confirms_the_gradient_to_rounding():
    """eq: focal-loss-backward"""
    logits, truth = drawn(0)
    expected = np.empty(logits.shape)
    for index in np.ndindex(*logits.shape):
        stepped = logits.astype(complex)
        stepped[index] += 1e-30j
        expected[index] = focal_loss.forward(stepped, truth)[0].imag / 1e-30
    _, cache = focal_loss.forward(logits, truth)
    np.testing.assert_allclose(focal_loss.backward(1.0, cache), expected, rtol=1e-13, atol=0)


def test_easy_answers_keep_all_their_digits():
    """eq: focal-loss-backward"""
    logits, truth = np.array([[-30.0, 0.0, 30.0]]), np.array([[0, 1, 1]])
    _, cache = focal_loss.forward(logits, truth)
    _, exactly = focal_loss.forward(exact(logits), truth)
    right = to_float(focal_loss.backward(1.0, exactly))
    np.testing.assert_allclose(focal_loss.backward(1.0, cache), right, rtol=1e-13, atol=0)


def test_without_the_power_it_is_half_the_cross_entropy():
    """eq: focal-loss-forward"""
    logits, truth = drawn(1)
    loss, _ = focal_loss.forward(logits, truth, alpha=0.5, gamma=0.0)
    right = [math.log1p(math.exp(-x if t else x)) for x, t in zip(logits.ravel(), truth.ravel(), strict=True)]
    assert float(loss) == pytest.approx(0.5 * sum(right) / truth.sum(), rel=1e-13)


def test_without_a_yes_nothing_is_divided():
    logits = np.array([[0.0, 0.0]])
    loss, cache = focal_loss.forward(logits, np.zeros((1, 2), dtype=int))
    assert float(loss) == pytest.approx(2 * 0.75 * 0.25 * math.log(2))
    assert np.all(focal_loss.backward(1.0, cache) > 0)


def test_large_scores_overflow_nowhere():
    """eq: focal-loss-forward"""
    logits, truth = np.array([[1e4, -1e4], [1e4, -1e4]]), np.array([[1, 1], [0, 0]])
    loss, cache = focal_loss.forward(logits, truth)
    assert float(loss) == (0.25 * 1e4 + 0.75 * 1e4) / 2
    assert focal_loss.backward(1.0, cache).tolist() == [[0, -0.125], [0.375, 0]]


@pytest.mark.frameworks
def test_agrees_with_pytorch():
    """eq: focal-loss-forward, focal-loss-backward"""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    logits, truth = drawn(2, 20)
    leaf = torch.tensor(logits, requires_grad=True)
    yes = torch.tensor(truth, dtype=torch.float64)
    p = torch.sigmoid(leaf)
    right = yes * p + (1 - yes) * (1 - p)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(leaf, yes, reduction="none")
    theirs = ((0.25 * yes + 0.75 * (1 - yes)) * (1 - right) ** 2 * entropy).sum() / yes.sum()
    theirs.backward()
    loss, cache = focal_loss.forward(logits, truth)
    np.testing.assert_allclose(float(loss), theirs.item(), rtol=1e-12)
    np.testing.assert_allclose(focal_loss.backward(1.0, cache), leaf.grad.numpy(), rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize(
    ("truth", "options", "error", "message"),
    [
        (np.zeros((2, 3)), {}, TypeError, "truth has dtype float64, expected an integer dtype"),
        (
            np.zeros((2, 2), dtype=int),
            {},
            ValueError,
            r"truth has shape \(2, 2\), expected \(2, 3\), the shape of logits",
        ),
        (np.full((2, 3), 2), {}, ValueError, "truth has values other than 0 and 1"),
        (np.eye(2, 3, dtype=int) * 2, {}, ValueError, "truth has values other than 0 and 1"),
        ([[0, 1, 0]] * 2, {}, TypeError, "truth is a builtins.list, expected an integer array of numpy"),
        (np.zeros((2, 3), dtype=int), {"alpha": -0.1}, ValueError, r"alpha is -0\.1, expected a finite number of at"),
        (np.zeros((2, 3), dtype=int), {"alpha": 1.5}, ValueError, r"alpha is 1\.5, expected a number in \[0, 1\]"),
        (np.zeros((2, 3), dtype=int), {"gamma": -1}, ValueError, "gamma is -1, expected a finite number of at least"),
    ],
)
def test_bad_input_is_refused(truth, options, error, message):
    with pytest.raises(error, match=message):
        focal_loss.forward(np.zeros((2, 3)), truth, **options)


def test_yes_may_have_all_the_weight():
    rng = np.random.default_rng(3)
    logits, truth = rng.standard_normal((4, 3)), np.eye(4, 3, dtype=int)
    _, cache = focal_loss.forward(logits, truth, alpha=1)
    assert np.array_equal(focal_loss.backward(1.0, cache) != 0, truth == 1)


def test_integers_of_another_library_are_refused(strict):
    with pytest.raises(TypeError, match=r"truth is a array_api_strict.*, expected an integer array of numpy"):
        focal_loss.forward(np.zeros((2, 3)), strict(np.zeros((2, 3), dtype=int)))

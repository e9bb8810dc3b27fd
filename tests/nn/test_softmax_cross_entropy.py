from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabn_ref.nn import softmax_cross_entropy


@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_gradient(central_differences, n, classes, seed):
    """eq: softmax-cross-entropy-forward, softmax-cross-entropy-backward"""
    rng = np.random.default_rng(seed)
    logits, labels, dloss = (
        rng.standard_normal((n, classes)),
        rng.integers(0, classes, n),
        float(rng.standard_normal()),
    )
    loss, cache = softmax_cross_entropy.forward(logits, labels)
    per_sample = [
        math.log(sum(math.exp(v) for v in row)) - row[label] for row, label in zip(logits, labels, strict=True)
    ]
    assert float(loss) == pytest.approx(sum(per_sample) / n, rel=1e-12, abs=1e-14)
    expected = central_differences(lambda v: dloss * softmax_cross_entropy.forward(v, labels)[0], logits)
    np.testing.assert_allclose(softmax_cross_entropy.backward(dloss, cache), expected, rtol=1e-6, atol=1e-9)


def test_complex_step_confirms_the_gradient_to_rounding():
    """eq: softmax-cross-entropy-backward"""
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((3, 5)), np.array([4, 0, 2])
    expected = np.empty(logits.shape)
    for index in np.ndindex(*logits.shape):
        shifted = logits.astype(complex)
        shifted[index] += 1e-30j
        expected[index] = softmax_cross_entropy.forward(shifted, labels)[0].imag / 1e-30
    _, cache = softmax_cross_entropy.forward(logits, labels)
    np.testing.assert_allclose(softmax_cross_entropy.backward(1.0, cache), expected, rtol=1e-13, atol=1e-15)


@pytest.mark.frameworks
def test_agrees_with_pytorch():
    """eq: softmax-cross-entropy-forward, softmax-cross-entropy-backward"""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    rng = np.random.default_rng(1)
    logits, labels = 10 * rng.standard_normal((32, 10)), rng.integers(0, 10, 32)
    tlogits = torch.tensor(logits, requires_grad=True)
    tloss = torch.nn.functional.cross_entropy(tlogits, torch.tensor(labels))
    (3.5 * tloss).backward()
    loss, cache = softmax_cross_entropy.forward(logits, labels)
    np.testing.assert_allclose(loss, tloss.item(), rtol=1e-12)
    np.testing.assert_allclose(
        softmax_cross_entropy.backward(3.5, cache), tlogits.grad.numpy(), rtol=1e-12, atol=1e-14
    )


def test_large_logits_neither_overflow_nor_lose_the_loss():
    """eq: softmax-cross-entropy-forward"""
    logits = np.array([[1e4, 0.0, -1e4], [-1e300, 0.0, 1e300]])
    loss, cache = softmax_cross_entropy.forward(logits[:1], np.array([2]))
    assert float(loss) == 2e4
    assert softmax_cross_entropy.backward(1.0, cache).tolist() == [[1.0, 0.0, -1.0]]
    assert float(softmax_cross_entropy.forward(logits[1:], np.array([2]))[0]) == 0.0
    single, _ = softmax_cross_entropy.forward(np.array([[100.0, 0.0]], dtype=np.float32), np.array([0]))
    assert float(single) == 0.0


def test_a_class_of_probability_zero_does_not_spoil_the_others():
    loss, cache = softmax_cross_entropy.forward(np.array([[0.0, 0.0, -np.inf]]), np.array([0]))
    assert float(loss) == pytest.approx(math.log(2))
    assert softmax_cross_entropy.backward(1.0, cache).tolist() == [[-0.5, 0.5, 0.0]]


def test_nan_reaches_the_loss():
    loss, cache = softmax_cross_entropy.forward(np.array([[0.0, np.nan], [1.0, 2.0]]), np.array([0, 1]))
    assert np.isnan(loss)
    assert np.isnan(softmax_cross_entropy.backward(1.0, cache)).tolist() == [[True, True], [False, False]]


@pytest.mark.parametrize("dloss", [2.0, 2, np.float64(2.0), np.float32(2.0), np.array(2.0, dtype=np.float32)])
@pytest.mark.parametrize("labels", [np.int64, np.int32, np.uint8])
def test_float32_stays_float32_and_inputs_stay(frozen, dloss, labels):
    logits, labels = frozen(
        np.random.default_rng(2).standard_normal((3, 4), dtype=np.float32), np.array([0, 3, 1], dtype=labels)
    )
    loss, cache = softmax_cross_entropy.forward(logits, labels)
    dlogits = softmax_cross_entropy.backward(dloss, cache)
    assert loss.dtype == dlogits.dtype == np.float32
    assert loss.shape == ()
    _, double_cache = softmax_cross_entropy.forward(logits.astype(float), labels)
    np.testing.assert_allclose(dlogits, softmax_cross_entropy.backward(2.0, double_cache), rtol=1e-5, atol=1e-7)


LOGITS = np.zeros((3, 4))


@pytest.mark.parametrize(
    ("logits", "labels", "error", "message"),
    [
        (LOGITS, np.array([0, 4, 1]), ValueError, r"labels\[1\] is 4, expected 0 to 3: logits has 4 classes"),
        (LOGITS, np.array([0, 1, -1]), ValueError, r"labels\[2\] is -1, expected 0 to 3"),
        (LOGITS, np.array([0, 1, 200], dtype=np.uint8), ValueError, r"labels\[2\] is 200, expected 0 to 3"),
        (LOGITS, np.array([0.0, 1.0, 2.0]), TypeError, "labels has dtype float64, expected an integer dtype"),
        (LOGITS, np.array([True, False, True]), TypeError, "labels has dtype bool, expected an integer dtype"),
        (LOGITS, [0, 1, 2], TypeError, "labels is a builtins.list, expected an integer array of numpy"),
        (LOGITS, np.zeros((3, 1), dtype=int), ValueError, r"labels has shape \(3, 1\), expected \(3,\)"),
        (LOGITS, np.zeros(4, dtype=int), ValueError, r"labels has shape \(4,\), expected \(3,\)"),
        (LOGITS[0], np.zeros(4, dtype=int), ValueError, r"logits has shape \(4,\), expected \(N, classes\)"),
        (LOGITS.astype(int), np.zeros(3, dtype=int), TypeError, "logits has dtype int64"),
    ],
)
def test_bad_input_is_refused(logits, labels, error, message):
    with pytest.raises(error, match=message):
        softmax_cross_entropy.forward(logits, labels)


def test_bad_cotangents_are_refused():
    _, cache = softmax_cross_entropy.forward(LOGITS, np.zeros(3, dtype=int))
    with pytest.raises(ValueError, match=r"dloss has shape \(3,\), expected \(\), the shape of the loss"):
        softmax_cross_entropy.backward(np.zeros(3), cache)
    with pytest.raises(TypeError, match="dloss has dtype float32, expected float64, the dtype of logits"):
        softmax_cross_entropy.backward(np.float32(1), cache)
    with pytest.raises(TypeError, match="dloss is a str"):
        softmax_cross_entropy.backward("1", cache)

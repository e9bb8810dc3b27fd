"""The complex step refuses, and says why, where it would mislead."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mabn_ref.gradcheck import check


def normalise(deviation: Any) -> Any:
    """A forward that divides by some standard deviation of its own making."""

    def forward(x: Any) -> Any:
        sigma = deviation(x)
        y = (x - np.mean(x, axis=0)) / sigma
        return y, (y, sigma)

    return forward


def backward(dy: Any, cache: Any) -> Any:
    y, sigma = cache
    return (dy - np.mean(dy, axis=0) - y * np.mean(dy * y, axis=0)) / sigma


def buffered(x: Any) -> Any:
    buffer = np.empty(x.shape)
    buffer[...] = x
    return np.sqrt(np.mean((buffer - np.mean(buffer, axis=0)) ** 2, axis=0) + 0.1)


def real_only(x: Any) -> Any:
    if np.iscomplexobj(x):
        raise TypeError("real numbers only")
    return np.sqrt(np.var(x, axis=0) + 0.1)


REASONS = {
    "np.var": (lambda x: np.sqrt(np.var(x, axis=0) + 0.1), "not analytic"),
    "np.abs": (lambda x: np.sqrt(np.mean(abs(x - np.mean(x, axis=0)) ** 2, axis=0) + 0.1), "not analytic"),
    "np.conj": (
        lambda x: np.sqrt(np.mean((x - np.mean(x, axis=0)) * np.conj(x - np.mean(x, axis=0)), axis=0) + 0.1),
        "not analytic",
    ),
    "real part": (lambda x: np.sqrt(np.var(x.real, axis=0) + 0.1), "not analytic"),
    "real buffer": (buffered, "ComplexWarning"),
    "raises": (real_only, "TypeError for complex input: real numbers only"),
}


@pytest.mark.parametrize("name", REASONS)
@pytest.mark.parametrize("rows", [5, 50])
def test_refuses(name: str, rows: int) -> None:
    """And central differences accept the right gradient and reject a wrong one without it."""
    deviation, reason = REASONS[name]
    for seed in range(6):
        x = np.random.default_rng(seed).standard_normal((rows, 3))
        (found,) = check(normalise(deviation), backward, (x,), seed=seed).inputs
        assert found.verdict == "ok"
        assert found.complex_error is None
        assert reason in found.refusal
        wrong = check(normalise(deviation), lambda dy, cache: 1.001 * backward(dy, cache), (x,), seed=seed)
        assert wrong.verdict == "wrong"
        assert "refused" in repr(wrong)


@pytest.mark.parametrize("size", [1e-12, 1e12])
def test_refuses_whatever_the_size_of_the_output(size: float) -> None:
    x = np.random.default_rng(0).standard_normal((5, 3))
    deviation, reason = REASONS["np.var"]

    def forward(x: Any) -> Any:
        out, cache = normalise(deviation)(x)
        return size * out, cache

    (found,) = check(forward, lambda dy, cache: backward(size * dy, cache), (x,)).inputs
    assert (found.verdict, found.complex_error) == ("ok", None)
    assert reason in found.refusal


def test_refuses_where_it_is_off_least_of_all_lines() -> None:
    """Differences along the first line are lost in rounding, by more than the complex step is off on the second."""
    x = np.array([0.25, 0.75])

    def forward(x: Any) -> Any:
        return np.sin(x) + far + part * abs(x), x

    far, part = np.array([1e9, 0]), np.array([0, 1e-5])
    (found,) = check(forward, lambda dout, x: dout * (np.cos(x) + part), (x,)).inputs
    assert found.verdict == "ok"
    assert found.complex_error is None
    assert "not analytic" in found.refusal


def test_refuses_where_it_is_off_though_another_line_shows_that_the_gradient_is_wrong() -> None:
    x = np.array([0.25, 0.75])
    (found,) = check(lambda x: (x + [0, 0.1] * abs(x), None), lambda dout, cache: dout * [2.0, 1.1], (x,)).inputs
    assert found.verdict == "wrong"
    assert found.complex_error is None
    assert "not analytic" in found.refusal


def test_refuses_real_output() -> None:
    """For complex input."""
    (found,) = check(lambda x: (abs(x), x), lambda dout, x: dout * np.sign(x), (np.array([0.3, -2.0]),)).inputs
    assert (found.verdict, found.refusal) == ("ok", "forward returned float64 for complex input")


def test_accepts_a_clip_away_from_its_bounds() -> None:
    """NumPy orders complex numbers by their real part, so what it clips is right to either side."""
    x = np.array([[0.3, -0.2], [2.0, -3.0]])
    (found,) = check(lambda x: (np.clip(x, -1, 1), x), lambda dout, x: dout * (abs(x) < 1), (x,)).inputs
    assert (found.verdict, found.complex_error) == ("ok", 0.0)


def test_has_no_cancellation() -> None:
    """Where differences are left with few digits it has them all."""

    def deviation(x: Any) -> Any:
        return np.sqrt(np.mean((x - np.mean(x, axis=0)) ** 2, axis=0) + 1e-12)

    x = 2e-3 * np.random.default_rng(0).standard_normal((6, 2)) + 1e4
    (found,) = check(normalise(deviation), backward, (x,)).inputs
    assert found.verdict == "ok"
    assert found.complex_error < 1e-9 < found.error

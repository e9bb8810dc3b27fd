"""Moving averages against the plain recurrence."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabn_ref.norms import batch_norm, checks, eval_norm, sync_batch_norm
from mabn_ref.norms.common import ema, in_force, sma
from tests.strategies import seeds


@given(groups=st.integers(1, 40), decay=st.sampled_from([0.0, 0.3, 0.98, 0.999, 1.0]), seed=seeds)
def test_ema_is_the_recurrence(groups: int, decay: float, seed: int) -> None:
    """eq: averages, ema-forward"""
    rng = np.random.default_rng(seed)
    old, values = rng.standard_normal(3), rng.standard_normal((groups, 3))
    before, after = ema(old, values, decay)
    for t in range(groups):
        np.testing.assert_allclose(before[t], old, rtol=0, atol=1e-14)
        old = decay * old + (1 - decay) * values[t]
        np.testing.assert_allclose(after[t], old, rtol=0, atol=1e-14)


@pytest.mark.parametrize("module", [batch_norm, sync_batch_norm, eval_norm])
def test_without_a_decay_the_statistics_are_means_of_all_batches(module: Any) -> None:
    """Whatever the start, and however the batches are spread over calls. eq: cumulative-average"""
    batches = 3 + np.random.default_rng(0).standard_normal((12, 4, 5, 2))
    config = module.Config(decay=None, norm_batch=4)
    state = module.init(2, config, dtype=np.float64)
    for call in np.split(batches, [1, 4, 9]):
        x = call.reshape(-1, 5, 2)
        _, _, state = module.forward(x, np.ones(2), np.zeros(2), state, config)
    np.testing.assert_allclose(state.mean, batches.mean(axis=(0, 1, 2)), rtol=1e-13)
    np.testing.assert_allclose(state.var, batches.var(axis=(1, 2)).mean(axis=0), rtol=1e-13)


def test_a_mean_of_all_values_needs_to_know_how_many_there_were() -> None:
    with pytest.raises(
        ValueError, match=r"decay is None, expected a number in \[0, 1\], or None together with `seen`"
    ):
        ema(np.ones(1), np.ones((1, 1)), None)
    with pytest.raises(ValueError, match=r"decay is 1.5, expected a number in \[0, 1\]"):
        ema(np.ones(1), np.ones((1, 1)), 1.5, seen=0)


@given(window=st.integers(1, 40), groups=st.integers(1, 40), calls=st.integers(1, 4), seed=seeds)
def test_sma_is_the_mean_of_a_deque(window: int, groups: int, calls: int, seed: int) -> None:
    """eq: averages, sma-backward"""
    rng = np.random.default_rng(seed)
    plain: deque[np.ndarray] = deque(maxlen=window)
    held = np.zeros((window, 2))
    for call in range(calls):
        values = rng.standard_normal((groups, 2))
        averages, held = sma(held, values, seen=call * groups)
        for t in range(groups):
            plain.append(values[t])
            np.testing.assert_allclose(averages[t], np.mean(plain, axis=0), rtol=0, atol=1e-14)
    np.testing.assert_array_equal(held[window - len(plain) :], np.array(plain))


def test_sma_does_not_cancel() -> None:
    """A huge value leaves the average with its window; a difference of cumulative sums would keep its rounding."""
    values = np.array([[1e16], [1.0], [1.0], [1.0]])
    averages, _ = sma(np.zeros((2, 1)), values)
    assert averages[2:].ravel().tolist() == [1.0, 1.0]


def test_nan_reaches_only_the_averages_that_hold_it() -> None:
    values = np.array([[1.0], [np.nan], [1.0], [1.0], [1.0]])
    averages, _ = sma(np.ones((2, 1)), values)
    assert np.isnan(averages).ravel().tolist() == [False, True, True, False, False]
    before, after = ema(np.ones(1), values, 0.5)
    assert np.isnan(after).ravel().tolist() == [False, True, True, True, True]
    assert np.isnan(before).ravel().tolist() == [False, False, True, True, True]


@pytest.mark.parametrize(("first", "last"), [(1.0, 3.0), (3.0, 1.0)], ids=["widens", "narrows"])
def test_a_ramp_gives_each_normalisation_batch_its_own_bound(first: float, last: float) -> None:
    ramp = checks.Ramp(start=10, stop=14, first=first, last=last)
    for seen, expected in ((0, first), (10, first + (last - first) * np.arange(1, 4) / 4), (20, last)):
        found = in_force(ramp, np.ones((3, 2, 1)), seen)
        np.testing.assert_array_equal(np.reshape(found, -1), expected)
        assert np.shape(found) == (() if np.ndim(expected) == 0 else (3, 1, 1))
    assert in_force(2, np.ones((3, 2, 1)), 0) == 2.0

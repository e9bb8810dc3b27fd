"""Unified Normalization: its authors' code step by step, what is an outlier, and a window of one batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mabn_ref.mistakes.gradient_table import equation
from mabn_ref.mistakes.oracles import gradient
from mabn_ref.mistakes.random_inputs import RIGHT_DRAWS
from mabn_ref.norms import modified_batch_norm, unified_norm
from tests.norms.several_calls import drawn, follow_the_authors, follow_the_recurrence, run


@pytest.mark.parametrize("part", ["", "outliers/"])
def test_the_authors_code_step_by_step(part: str) -> None:
    """Through warm-up, with a batch six times the others.

    eq: unified-mean, unified-normalise, unified-psi, unified-backward, ema-forward, mabn-affine-backward
    """
    follow_the_authors(unified_norm, part)


def test_the_authors_code_where_r_is_other_than_one() -> None:
    """From iteration 1001 on. eq: unified-mean, unified-normalise, unified-psi, unified-backward, ema-forward"""
    follow_the_authors(unified_norm, "late/", chi2_window=np.ones((3, 3)), iteration=1000)


@pytest.mark.parametrize(
    "settings", [{}, {"outliers": True, "window": 3, "warmup": 0}, {"window": 2, "warmup": 4, "count": 7}]
)
def test_runs_follow_the_plain_recurrence(settings: dict[str, Any]) -> None:
    """eq: unified-mean, unified-normalise, unified-psi, unified-backward, modified-infer"""
    follow_the_recurrence(unified_norm, settings)


def test_with_a_window_of_one_batch_it_is_a_derivative() -> None:
    """eq: unified-backward"""
    assert equation("unified_norm") == "unified-backward, m = 1"
    for seed in range(3):
        assert gradient("unified_norm", unified_norm, RIGHT_DRAWS[unified_norm](np.random.default_rng(seed))).accepted


def test_a_window_of_one_is_modified_batch_norm() -> None:
    """eq: unified-mean, unified-normalise, unified-backward, modified-backward"""
    config, theirs = unified_norm.Config(window=1, decay=0.5), modified_batch_norm.Config(decay=0.5)
    ours, state = run(unified_norm, config, *drawn(), unified_norm.init(3, config, dtype=float))
    found, other = run(modified_batch_norm, theirs, *drawn(), modified_batch_norm.init(3, theirs, dtype=float))
    for a, b in zip([*ours, state.chi2], [*found, other.chi2], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("window", [2, 3])
@pytest.mark.parametrize("channels", [1, 4])
def test_an_outlier_is_what_the_spread_of_the_window_does_not_allow(window: int, channels: int) -> None:
    """By the definition, over batches most of which are near its border.

    eq: unified-mean
    """
    config, one = unified_norm.Config(window=window, outliers=True, norm_batch=1), np.ones(channels)
    verdicts = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        before, width = rng.uniform(0.5, 1.5, (window, channels)), rng.uniform(0.05, 1.2)
        batch = np.exp(width * rng.standard_normal((1, channels)))
        state = unified_norm.init(channels, config, dtype=float)._replace(chi2_window=before, iteration=50)
        _, cache, after = unified_norm.forward(batch**0.5, one, 0 * one, state, config)
        held = np.concatenate([before[1:], batch])
        apart = np.mean(held, axis=0) - np.exp(np.mean(np.log(held), axis=0))
        far = bool(np.any(apart > window * np.var(before**0.5, ddof=1)))
        assert cache.alone == (far,), seed
        np.testing.assert_allclose(after.chi2_window[-1], state.chi2 if far else batch[0], rtol=1e-14)
        verdicts.append(far)
    assert 20 < sum(verdicts) < 180


def test_a_batch_of_zeros_gives_finite_numbers() -> None:
    config = unified_norm.Config(window=2)
    xs, dzs, gamma, beta = drawn()
    xs[2] = 0
    found, _ = run(unified_norm, config, xs, dzs, gamma, beta, unified_norm.init(3, config, dtype=float))
    assert all(np.isfinite(a).all() for a in found)
    np.testing.assert_array_equal(found[0][2], np.broadcast_to(beta, (5, 3)))


def test_the_authors_settings() -> None:
    assert unified_norm.Config.authors() == unified_norm.Config(warmup=4000, renorm_from=4001)

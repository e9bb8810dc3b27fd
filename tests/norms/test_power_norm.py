"""PowerNorm: its authors' code step by step, and what it is beside MABN and Online Normalization."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mabn_ref.mistakes.oracles import gradient
from mabn_ref.mistakes.random_inputs import RIGHT_DRAWS
from mabn_ref.norms import mabn, online_norm, power_norm
from tests.norms.several_calls import drawn, follow_the_authors, follow_the_recurrence, run


def test_the_authors_code_step_by_step() -> None:
    """Through warm-up, with a batch six times the others; without its scaling of groups of channels.

    eq: power-normalise, power-control, power-backward, ema-forward, mabn-affine-backward
    """
    follow_the_authors(power_norm)


@pytest.mark.parametrize("settings", [{"warmup": 0}, {"warmup": 5, "backward_by": "batch"}])
def test_runs_follow_the_plain_recurrence(settings: dict[str, Any]) -> None:
    """eq: power-normalise, power-control, power-backward, modified-infer"""
    follow_the_recurrence(power_norm, settings)


def test_before_v_has_built_up_one_batch_is_a_derivative() -> None:
    """eq: power-backward"""
    for seed in range(3):
        assert gradient("power_norm", power_norm, RIGHT_DRAWS[power_norm](np.random.default_rng(seed))).accepted


def test_powernorm_has_the_output_of_mabn_where_nothing_is_clipped() -> None:
    """eq: power-normalise, mabn-forward, mabn-renormalise"""
    config, theirs = power_norm.Config(decay=0.9), mabn.Config(decay=0.9, clip=1e9, window=3)
    ours, _ = run(power_norm, config, *drawn(), power_norm.init(3, config, dtype=float))
    found, _ = run(mabn, theirs, *drawn(), mabn.init(3, theirs, dtype=float))
    np.testing.assert_allclose(ours[0], found[0], rtol=1e-12)
    assert np.abs(ours[1] - found[1]).max() > 0.1


def test_powernorms_control_is_online_normalizations_with_a_batch_for_a_sample() -> None:
    """Where the mean stays 0, with samples whose mean is 0 and gradients that are as well.

    eq: power-control, online-control-v
    """
    xs, dzs, gamma, beta = drawn()
    xs, dzs = (a - a.mean(axis=1, keepdims=True) for a in (xs, dzs))
    config = power_norm.Config(decay=0.9, decay_backward=0.8)
    ours, state = run(power_norm, config, xs, dzs, gamma, beta, power_norm.init(3, config, dtype=float))
    theirs = online_norm.Config(decay_forward=0.9, decay_backward=0.8, layer_scaling=False)
    found, other = run(
        online_norm, theirs, xs[:, None], dzs[:, None], gamma, beta, online_norm.init(3, theirs, dtype=float)
    )
    np.testing.assert_allclose(ours[1], found[1][:, 0], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(state.v, other.v, rtol=1e-11)


def test_the_authors_settings() -> None:
    assert power_norm.Config.authors() == power_norm.Config(warmup=10_000, backward_by="batch")
    with pytest.raises(ValueError, match="backward_by is 'batches', expected one of 'moving', 'batch'"):
        power_norm.Config(backward_by="batches")

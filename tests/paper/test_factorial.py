"""The cells of the factorial."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mabn_ref.norms import moving_statistics
from mabn_ref.paper.table4 import moving
from mabn_ref.train.config import recipe
from mabn_ref.train.runs import run_one


@pytest.mark.parametrize(
    ("norm", "form", "forward", "backward"),
    [
        ("bn", "vanilla", "batch", "batch"),
        ("modified-bn", "modified", "batch", "batch"),
        ("mabn", "modified", "sma", "sma"),
    ],
)
def test_the_cells_that_are_normalisers_train_as_they_do(norm: str, form: str, forward: str, backward: str) -> None:
    """The same run but for rounding, r and its start, clip, window and decay included."""
    tiny: dict[str, Any] = {"width": 4, "epochs": 3, "train_size": 96, "test_size": 20, "norm_batch": 2}
    renormalised = {"renorm_after": 4, "clip": 1.1}
    theirs = run_one(recipe(norm, **tiny, **(renormalised if norm == "mabn" else {})))
    tiny |= renormalised
    averages = {"form": form, "forward_average": forward, "backward_average": backward}
    ours = run_one(recipe("moving", **averages, **tiny))
    for a, b in zip(ours["epochs"], theirs["epochs"], strict=True):
        assert a["train_loss"] == pytest.approx(b["train_loss"], rel=2e-4)
        assert a["test_error"] == b["test_error"]
    other = run_one(recipe("moving", **averages | {"forward_average": "ema"}, **tiny))
    assert other["epochs"][-1]["train_loss"] != pytest.approx(theirs["epochs"][-1]["train_loss"], rel=2e-4)


def test_row_7_of_table_2_is_mabn_with_a_window_of_one() -> None:
    """Exponential averages in forward and the batch's Psi, by two ways through the package.

    eq: moving-forward, mabn-forward, mabn-backward
    """
    tiny: dict[str, Any] = {"width": 4, "epochs": 3, "train_size": 96, "test_size": 20, "norm_batch": 2}
    tiny |= {"renorm_after": 4, "clip": 1.1, "centralized": True}
    row_7 = run_one(recipe(**tiny | moving("modified", "ema", "batch", True)))
    mabn = run_one(recipe("mabn", window=1, **tiny))
    for a, b in zip(row_7["epochs"], mabn["epochs"], strict=True):
        assert a["train_loss"] == pytest.approx(b["train_loss"], rel=2e-4)
    other = run_one(recipe("mabn", window=2, **tiny))
    assert other["epochs"][-1]["train_loss"] != pytest.approx(mabn["epochs"][-1]["train_loss"], rel=2e-4)


def ten_calls(form: str, forward: str, **settings: Any) -> tuple[Any, ...]:
    """Ten calls on 8 samples in batches of 2, and what the last gives: z, its cache, dx, g and Psi, the state."""
    unclipped: dict[str, Any] = {"eps": 0.0, "window": 4, "decay": 0.9, "r_max": 1e9, "d_max": 1e9}
    config = moving_statistics.Config(norm_batch=2, form=form, forward=forward, **unclipped | settings)
    rng = np.random.default_rng(0)
    gamma, beta = rng.uniform(0.5, 2, 5), rng.standard_normal(5)
    state = moving_statistics.init(5, config, dtype=np.float64)
    for _ in range(10):
        x, dz = rng.standard_normal((2, 8, 3, 3, 5)) * rng.uniform(0.5, 2, (2, 8, 1, 1, 1)) + rng.standard_normal(5)
        z, cache, state = moving_statistics.forward(x, gamma, beta, state, config)
        dx, _, _, state = moving_statistics.backward(dz, cache, state)
    return x, gamma, dz, z, cache, dx, moving_statistics.gradient_statistics(dz, cache), state


@pytest.mark.parametrize("form", ["vanilla", "modified"])
def test_with_r_unclipped_a_window_in_forward_is_an_exponential_average_in_forward(form: str) -> None:
    """z, Psi and what inference reads are the same; dx is not, for it divides by what y was formed with."""
    *_, z, _, dx, statistics, state = ten_calls(form, "sma")
    *_, z_ema, _, dx_ema, statistics_ema, state_ema = ten_calls(form, "ema")
    assert np.max(np.abs(z - z_ema)) <= 2e-15 * np.max(np.abs(z))
    np.testing.assert_array_equal(state.var, state_ema.var)
    np.testing.assert_array_equal(state.mean, state_ema.mean)
    assert np.max(np.abs(dx - dx_ema)) > 0.05 * np.max(np.abs(dx))
    if form == "modified":
        np.testing.assert_allclose(statistics[1], statistics_ema[1], rtol=1e-13)
    for off in ({"renorm_from": 1000}, {"r_max": 1.05, "d_max": 0.05}):
        clipped, clipped_ema = (ten_calls(form, forward, **off)[3] for forward in ("sma", "ema"))
        assert np.max(np.abs(clipped - clipped_ema)) > 0.05 * np.max(np.abs(z)), off


def test_the_two_differ_in_the_scale_of_what_backward_subtracts() -> None:
    """In the modified form dx is gamma dz / chi-hat less x Psi / chi^2, with the window's chi or the batch's."""
    (x, gamma, dz, *_, cache, dx, (_, psi), _), ema = ten_calls("modified", "sma"), ten_calls("modified", "ema")
    xs, dzs, gradients = (a.reshape(4, -1, 5) for a in (x, dz, dx))
    sigma, r = cache.sigma.reshape(4, 5), cache.r.reshape(4, 5)
    hat = sigma / r
    left = gamma * dzs / hat[:, None, :] - gradients
    np.testing.assert_allclose(left, xs * (psi / sigma**2)[:, None, :], rtol=1e-9, atol=1e-12)
    batch = np.mean(xs**2, axis=1)
    left_ema = gamma * dzs / hat[:, None, :] - ema[5].reshape(4, -1, 5)
    np.testing.assert_allclose(left_ema, xs * (psi / batch)[:, None, :], rtol=1e-9, atol=1e-12)

"""Recorded runs of the authors' code, replayed step by step."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mabn_ref.norms import mabn_variants as mabn

TRACES = Path(__file__).parent.parent / "traces"


def relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.max(np.abs(ours - theirs)) / np.max(np.abs(theirs)))


@pytest.fixture(scope="module")
def trace() -> dict[str, np.ndarray]:
    with np.load(TRACES / "mabn_formal.npz", allow_pickle=False) as file:
        return dict(file)


def settings(trace: dict[str, np.ndarray], **changes: object) -> mabn.Config:
    theirs = json.loads(str(trace["config"]))
    keywords = {name: theirs[name] for name in ("norm_batch", "window", "decay", "eps", "clip", "renorm_from")}
    return mabn.Config.megvii(**{**keywords, "warmup": theirs["warmup_iters"], **changes})


def replay(trace: dict[str, np.ndarray], config: mabn.Config, enough: float = np.inf) -> dict[str, float]:
    """Worst relative error of each quantity over the run, a step at a time, until one is more than enough."""
    gamma, beta = trace["gamma"], trace["beta"]
    state = mabn.init(len(gamma), config, dtype=np.float64)
    worst = dict.fromkeys(("z", "dx", "dgamma", "dbeta", "chi2"), 0.0)
    for step in range(len(trace["x"])):
        x, dz, z_, dx_ = (np.moveaxis(trace[k][step], 1, -1) for k in ("x", "dy", "y", "dx"))
        z, cache, state = mabn.forward(x, gamma, beta, state, config)
        dx, dgamma, dbeta, state = mabn.backward(dz, cache, state)
        theirs = (z_, dx_, trace["dgamma"][step], trace["dbeta"][step], trace["state_running_var"][step])
        for name, a, b in zip(worst, (z, dx, dgamma, dbeta, state.chi2), theirs, strict=True):
            worst[name] = max(worst[name], relative(a, b))
        if max(worst.values()) > enough:
            return worst
    z = mabn.infer(np.moveaxis(trace["x_eval"], 1, -1), gamma, beta, state, config)
    return worst | {"infer": relative(np.moveaxis(z, -1, 1), trace["y_eval"])}


def test_mabn_follows_the_authors_code_for_1100_steps(trace: dict[str, np.ndarray]) -> None:
    """eq: mabn-forward, mabn-renormalise, mabn-backward, mabn-affine-backward, sma-backward, ema-forward"""
    assert len(trace["x"]) == 1100
    worst = replay(trace, settings(trace))
    assert max(worst.values()) < 1e-12, worst


@pytest.mark.parametrize(
    "change",
    [
        {"ema_of": "batch"},
        {"ema_read": "after"},
        {"partial_window": "mean", "warmup": 0},
        {"renorm_from": 1000},
        {"renorm_from": 1002},
        {"warmup": 19},
        {"window": 5},
        {"decay": 0.981},
        {"clip": 4.0},
        {"eps": 2e-5},
        {"ema_start": "first"},
    ],
)
def test_every_setting_matters_to_the_replay(trace: dict[str, np.ndarray], change: dict[str, object]) -> None:
    """The trace would not catch a setting that leaves its numbers alone."""
    assert max(replay(trace, settings(trace, **change), enough=1e-9).values()) > 1e-9

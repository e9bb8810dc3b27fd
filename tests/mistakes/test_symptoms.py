"""What is seen of a mistake first is found by running it."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from mabn_ref.mistakes import MISTAKES, named, wrong
from mabn_ref.mistakes.symptoms import NOTHING_SPECIAL, SYMPTOMS, Case, symptoms

seen_of = functools.cache(lambda name: symptoms(named(name)))


@pytest.mark.parametrize(
    ("seen", "name"),
    [
        ("The training loss is fine, but evaluation is bad", "mabn-infer-window"),
        ("At inference an output depends on the other images in the call", "eval-whole-batch"),
        ("A gradient check passes with an upstream gradient of ones", "bn-no-psi"),
        ("A gradient check passes, but the output is wrong", "bn-eps-outside"),
        ("Right at first, while gamma is 1", "mabn-psi-without-gamma"),
        ("Wrong only where the variance is small; right with eps = 0", "brn-eps-twice"),
        ("Right as long as a call is one normalisation batch", "bn-whole-call-backward"),
        ("Right for vectors, wrong for images", "bn-positions-apart"),
        ("Works at |B| = 32, but not at |B| = 2", "bn-unbiased-variance"),
        ("Works at |B| = 32, but not at |B| = 2", "mabn-chi-averaged"),
        ("The first batch is right, later ones drift away", "mabn-psi-of-this-batch"),
        ("The first batch is right, later ones drift away", "sgd-decay-beside-velocity"),
        ("Wrong at first, right after some batches", "mabn-zeros-counted"),
        ("dx is right, but the gradients of the parameters are not", "linear-gradients-averaged"),
        ("The output is right, but dx is not", "conv2d-padding-kept"),
        (NOTHING_SPECIAL, "sgd-velocity-averaged"),
    ],
)
def test_a_symptom_is_seen_of_what_has_it_and_not_of_all(seen: str, name: str) -> None:
    assert seen in seen_of(name)
    assert seen not in seen_of("bn-channels-together" if name != "bn-eps-outside" else "bn-no-g")


@pytest.mark.parametrize("name", ["brn-d-over-batch-sigma", "brn-clip-from-above-only"])
def test_what_is_wrong_wherever_averages_lag_does_not_go_away_with_more_samples(name: str) -> None:
    """It seemed to where the inputs had the mean and scale with which moving statistics start."""
    assert "Works at |B| = 32, but not at |B| = 2" not in seen_of(name)


def test_a_symptom_is_seen_on_any_draw() -> None:
    """Which are drawn is chance; what a page says must not be."""
    for name in ("unified-arithmetic-mean", "mabn-chi-averaged", "bn-unbiased-variance", "mabn-window-one-short"):
        mistake, draws = named(name), range(2, 8)
        cases = [Case(mistake, wrong(mistake), mistake.draw(np.random.default_rng(draw))) for draw in draws]
        found = {tuple(seen for seen, is_seen in SYMPTOMS.items() if is_seen(case)) for case in cases}
        assert len(found) == 1, (name, found)


def test_every_mistake_is_seen_and_every_symptom_is_of_some() -> None:
    found = {mistake.name: seen_of(mistake.name) for mistake in MISTAKES}
    assert {seen for those in found.values() for seen in those} == {*SYMPTOMS, NOTHING_SPECIAL}
    assert all(found.values())

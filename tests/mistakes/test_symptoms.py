"""What is seen of a mistake first is found by running it."""

from __future__ import annotations

import functools

import pytest

from mabn_ref.mistakes import MISTAKES, named
from mabn_ref.mistakes.symptoms import NOTHING_SPECIAL, SYMPTOMS, symptoms

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
        ("The first batch is right, later ones drift away", "mabn-psi-of-this-batch"),
        ("dx is right, but the gradients of the parameters are not", "linear-gradients-averaged"),
        ("The output is right, but dx is not", "conv2d-padding-kept"),
        (NOTHING_SPECIAL, "sgd-velocity-averaged"),
    ],
)
def test_a_symptom_is_seen_of_what_has_it_and_not_of_all(seen: str, name: str) -> None:
    assert seen in seen_of(name)
    assert seen not in seen_of("bn-channels-together" if name != "bn-eps-outside" else "bn-no-g")


def test_every_mistake_is_seen_and_every_symptom_is_of_some() -> None:
    found = {mistake.name: seen_of(mistake.name) for mistake in MISTAKES}
    assert {seen for those in found.values() for seen in those} == {*SYMPTOMS, NOTHING_SPECIAL}
    assert all(found.values())

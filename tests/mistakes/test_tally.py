"""What `mabn-ref mistakes` counts and says when the catalogue or an implementation is not what it should be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mabn_ref.mistakes import MISTAKES, named, tally, wrong
from mabn_ref.mistakes.random_inputs import RIGHT_DRAWS
from mabn_ref.norms import batch_norm, mabn, mabn_variants

FEW = (named("bn-no-eps"), named("sgd-velocity-averaged"))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(tally, "MISTAKES", FEW)
    return monkeypatch


def test_it_says_what_every_oracle_judged_and_both_counts(few: Any) -> None:
    steps: list[None] = []
    tallies = tally.judge(3, 4, lambda: steps.append(None))
    assert len(steps) == len(tallies) == tally.passes() == 4
    lines = tally.summary(tallies).splitlines()
    oracles = dict.fromkeys(mistake.oracle for mistake in FEW)
    assert [line[:20].strip() for line in lines[1:-2]] == list(oracles)
    assert [line[20:].split()[::2] for line in lines[1:-2]] == [["1", "1"]] * len(oracles)
    assert lines[-2:] == ["6 of 6 wrong passes rejected, 3 of each", "8 of 8 right passes accepted, 4 of each"]


def test_the_errors_are_the_nearest_to_the_other_verdict() -> None:
    """Of wrong passes the least, of right ones the largest."""
    made = [
        tally.Tally(name, right, "forward", 2, 2, closest, "")
        for name, right, closest in [("a", False, 0.5), ("b", False, 0.25), ("c", True, 1e-15), ("d", True, 1e-12)]
    ]
    assert tally.summary(made).splitlines()[1].split() == ["forward", "2", "2.5e-01", "2", "1.0e-12"]


def test_an_escape_is_shown(few: Any) -> None:
    few.setattr(tally, "MISTAKES", (replace(FEW[0], edits={}),))
    tallies = tally.judge(2, 1)
    assert tallies[0].misjudged
    lines = tally.summary(tallies).splitlines()
    assert lines[2] == "wrong pass bn-no-eps: rejected by forward on 0 of 2 draws"
    assert lines[3].startswith("    draw 0: ")
    assert lines[-2].startswith("0 of 2 wrong passes rejected")


def test_a_false_alarm_is_shown(few: Any) -> None:
    few.setattr(batch_norm, "forward", wrong(FEW[0]).forward)
    text = tally.summary(tally.judge(1, 2))
    assert "right pass batch_norm: accepted by forward on 0 of 2 draws" in text
    assert "2 of 4 right passes accepted" in text
    assert "expected" in text


def test_right_passes_are_judged_by_every_oracle_that_a_mistake_of_theirs_names() -> None:
    pairs = set(tally.right_passes())
    of_variants = {(mabn_variants, mistake.oracle) for mistake in MISTAKES if mistake.subject is mabn}
    assert pairs == {(mistake.subject, mistake.oracle) for mistake in MISTAKES} | of_variants
    assert {module for module, _ in pairs} <= set(RIGHT_DRAWS)

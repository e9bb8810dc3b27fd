"""The command: its counts, and its exit code when the catalogue or an implementation is not what it should be."""

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


def test_it_prints_both_counts(few: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert tally.count(draws=3, seeds=4) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in out] == [
        "wrong", "bn-no-eps", "sgd-velocity-averaged", "right", "batch_norm", "optimiser", "6"
    ]  # fmt: skip
    assert out[1].split()[1:3] == ["forward", "3/3"]
    assert out[-1].startswith("6 of 6 wrong passes rejected, 3 of each; 8 of 8 right passes accepted, 4 of each; ")


def test_an_escape_fails_and_is_shown(few: Any, capsys: pytest.CaptureFixture[str]) -> None:
    few.setattr(tally, "MISTAKES", (replace(FEW[0], edits={}),))
    assert tally.count(draws=2, seeds=1) == 1
    out = capsys.readouterr().out
    assert "0/2" in out
    assert "    draw 0: " in out
    assert "0 of 2 wrong passes rejected" in out


def test_a_false_alarm_fails_and_is_shown(few: Any, capsys: pytest.CaptureFixture[str]) -> None:
    few.setattr(batch_norm, "forward", wrong(FEW[0]).forward)
    assert tally.count(draws=1, seeds=2) == 1
    out = capsys.readouterr().out
    assert "2 of 4 right passes accepted" in out
    assert "expected" in out


def test_right_passes_are_judged_by_every_oracle_that_a_mistake_of_theirs_names() -> None:
    pairs = set(tally.right_passes())
    of_variants = {(mabn_variants, mistake.oracle) for mistake in MISTAKES if mistake.subject is mabn}
    assert pairs == {(mistake.subject, mistake.oracle) for mistake in MISTAKES} | of_variants
    assert {module for module, _ in pairs} <= set(RIGHT_DRAWS)

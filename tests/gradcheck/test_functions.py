"""The check on functions of every kind of trouble, and what is recorded of other checkers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mabn_ref.gradcheck import check
from mabn_ref.gradcheck.probes import SMALL, directions
from tests.gradcheck.functions import Function, build

FUNCTIONS = build()
KEPT = Path(__file__).parents[2] / "docs" / "results" / "gradcheck" / "checkers.json"


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_each_has_the_verdict_that_it_deserves(function: Function) -> None:
    result = check(function.forward, function.backward, function.inputs)
    if function.coarse:
        assert result.verdict in ("ok", "undecided"), result
        assert result.verdict == "ok" or result.worst.reason.startswith("forward is too coarse: "), result
    elif function.right:
        result.raise_for_error()
    else:
        # what the noise of forward hides may be undecided, and is no success either
        assert result.verdict in ("wrong", "undecided"), result


def test_the_record_is_of_these_functions() -> None:
    kept = json.loads(KEPT.read_text(encoding="utf-8"))["functions"]
    assert [(f["name"], f["right"], f["coarse"]) for f in kept] == [(f.name, f.right, f.coarse) for f in FUNCTIONS]
    for f in kept:
        assert f["coarse"] or f["accepted"]["mabn_ref"] == f["right"], f["name"]


def test_as_many_are_wrong_as_right() -> None:
    assert len(FUNCTIONS) >= 60
    assert abs(sum(f.right for f in FUNCTIONS) - sum(not f.right for f in FUNCTIONS)) <= 8


def test_a_large_input_is_looked_at_along_three_directions() -> None:
    """Which no element is left out of; a small one, element by element."""
    lines = directions(np.ones(SMALL + 1), np.random.default_rng(0))
    assert lines.shape == (3, SMALL + 1)
    assert np.linalg.matrix_rank(lines) == 3
    assert (lines != 0).all()
    units = 2.0 ** np.arange(SMALL + 1)
    assert np.array_equal(directions(units, np.random.default_rng(0)), units * lines)
    assert np.array_equal(directions(np.full(SMALL, 2.0), np.random.default_rng(0)), 2 * np.eye(SMALL))

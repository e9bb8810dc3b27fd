"""Rows, paired differences and verdicts."""

from __future__ import annotations

from typing import Any

import pytest

from mabn_ref.paper.claims import Claim, Measured, Row, configs, error_table, measure, verdict
from mabn_ref.paper.study import Context
from mabn_ref.train.config import RunConfig

ROWS = [Row("A", {"norm": "bn", "norm_batch": 2}, "35.22"), Row("B", {"norm": "mabn"})]
CONTEXT = Context((0, 1, 2), {"epochs": 1})


def record(config: RunConfig, error: float, status: str = "done") -> dict[str, Any]:
    epochs = [{"test_error": 99.0}, {"test_error": error}] if status == "done" else []
    return {"status": status, "message": "step 3: a loss", "config": config.as_dict(), "epochs": epochs}


def test_runs_are_paired_by_seed_one_seed_after_the_other() -> None:
    runs = configs(ROWS, CONTEXT)
    assert [(run.norm, run.seed) for run in runs] == [(norm, seed) for seed in range(3) for norm in ("bn", "mabn")]
    assert {run.epochs for run in runs} == {1}


def test_records_are_sorted_by_row_and_what_diverged_or_is_missing_is_counted() -> None:
    runs = configs(ROWS, CONTEXT)
    records = [record(runs[0], 50.0), record(runs[1], 40.0), record(runs[2], 0.0, "diverged"), record(runs[4], 51.5)]
    records.append(record(RunConfig(norm="bn", epochs=7), 1.0))  # another run's
    found = measure(ROWS, CONTEXT, records)
    assert found["A"] == Measured({0: 50.0, 2: 51.5}, {1: "step 3: a loss"}, 0)
    assert found["B"] == Measured({0: 40.0}, {}, 2)
    table = error_table("Errors", ROWS, found, ("A",))
    assert table.header == ("", "paper %", "runs", "error %", "minus A")
    assert table.rows == [
        ("A", "35.22", "2, 1 diverged", "50.75 (2 runs)", "-"),
        ("B", "-", "1, 2 missing", "40.00 (1 run)", "-10.00 (1 run)"),
    ]


def test_a_row_that_always_diverged_says_so() -> None:
    found = {"A": Measured({}, {0: "x", 1: "x"}, 0), "B": Measured({}, {}, 2)}
    assert [row[2:] for row in error_table("", ROWS, found).rows] == [
        ("0, 2 diverged", "diverged"),
        ("0, 2 missing", "none"),
    ]


@pytest.mark.parametrize(
    ("a", "lower", "expected"),
    [
        ([40.0, 41.0, 42.1], True, "A below B: holds; the difference is -9.97 ± 0.14 over 3 pairs"),
        ([60.0, 61.0, 62.1], True, "A below B: the opposite holds; the difference is +10.03 ± 0.14"),
        ([45.0, 56.0, 52.0], True, "A below B: not decided; the difference is +0.00 ± 12.42"),
        ([45.0, 56.0, 52.0], False, "A like B: no difference found; the difference is +0.00 ± 12.42"),
        ([60.0, 61.0, 62.1], False, "A like B: does not hold; the difference is +10.03 ± 0.14"),
        ([60.0, 61.0], True, "A below B: no verdict, fewer than 3 pairs (Table 9)"),
        ([], False, "A like B: no verdict, fewer than 3 pairs (Table 9)"),
    ],
)
def test_a_verdict_is_what_the_interval_says(a: list[float], lower: bool, expected: str) -> None:
    found = {"A": Measured(dict(enumerate(a)), {}, 0), "B": Measured({0: 50.0, 1: 51.0, 2: 52.0}, {}, 0)}
    assert verdict(Claim("A", "B", lower, "Table 9"), found).startswith(expected)


def test_a_verdict_says_that_runs_diverged() -> None:
    b = Measured({0: 50.0, 1: 51.0, 2: 52.0, 3: 53.0}, {}, 0)
    some = {"A": Measured({0: 40.0, 1: 41.0, 2: 42.1}, {3: "x"}, 0), "B": b}
    assert "over 3 pairs, 1 run that diverged left out" in verdict(Claim("A", "B", True, "T"), some)
    none = {"A": Measured({}, dict.fromkeys(range(4), "x"), 0), "B": b}
    assert "no verdict, fewer than 3 pairs, 4 runs diverged" in verdict(Claim("A", "B", True, "T"), none)

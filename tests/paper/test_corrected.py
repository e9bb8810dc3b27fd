"""p-values against published ones, the corrections against their papers' example, and the family of verdicts."""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mabn_ref.paper.corrections import benjamini_hochberg, family, holm, p_value
from mabn_ref.paper.study import STUDIES, Context
from mabn_ref.train import results
from mabn_ref.train.config import RunConfig
from mabn_ref.train.table_layout import Interval, mean_interval, paired_difference, t_quantile, text
from tests.paper.made_up import records

BH_1995 = [
    0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344,
    0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0,
]  # fmt: skip
"""The p-values of the example in section 3.2 of Benjamini and Hochberg (1995)."""


def test_the_p_value_of_students_sleep_data() -> None:
    """The paired test of Student (1908) as R documents it: t = -4.0621, df = 9, p-value = 0.002833."""
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    difference = paired_difference(dict(enumerate(first)), dict(enumerate(second)))
    assert difference is not None
    assert p_value(difference) == pytest.approx(0.002833, abs=5e-7)


@pytest.mark.parametrize(
    ("freedom", "t", "p"),
    [  # the printed tables of Student's t
        (1, 1.0, 0.5), (1, 6.314, 0.10), (1, 63.657, 0.01),
        (2, 2.920, 0.10), (2, 9.925, 0.01), (3, 2.353, 0.10), (3, 5.841, 0.01),
        (4, 2.132, 0.10), (4, 4.604, 0.01), (4, 8.610, 0.001),
        (5, 2.015, 0.10), (9, 3.250, 0.01), (10, 3.169, 0.01), (19, 2.861, 0.01), (20, 3.850, 0.001),
    ],
)  # fmt: skip
def test_p_values_of_the_printed_tables(freedom: int, t: float, p: float) -> None:
    for mean in (t, -t):
        assert p_value(Interval(mean, t_quantile(freedom), freedom + 1)) == pytest.approx(p, rel=2e-3)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 8, 30])
def test_p_values_against_the_integral_of_the_density(freedom: int) -> None:
    """Simpson's rule, at a value that no table has."""
    t = 1.2345
    x = np.linspace(0, t, 2001)
    scale = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - 0.5 * math.log(freedom * math.pi)
    density = np.exp(scale - (freedom + 1) / 2 * np.log1p(x**2 / freedom))
    weights = np.ones_like(x)
    weights[1:-1:2], weights[2:-1:2] = 4, 2
    above = 1 - 2 * float(np.sum(weights * density)) * (x[1] - x[0]) / 3
    assert p_value(Interval(t, t_quantile(freedom), freedom + 1)) == pytest.approx(above, abs=1e-10)


def test_a_difference_without_spread_or_interval() -> None:
    assert p_value(Interval(-2.0, 0.0, 3)) == 0
    assert p_value(Interval(0.0, 0.0, 3)) == 1
    with pytest.raises(ValueError, match="expected one with an interval"):
        p_value(mean_interval([1.0]))


def test_the_example_of_benjamini_and_hochberg() -> None:
    """Their procedure rejects the first four; Bonferroni's, and so Holm's here, the first three."""
    shuffled = np.random.default_rng(0).permutation(15)
    p_values = [BH_1995[place] for place in shuffled]
    for procedure, count in ((benjamini_hochberg, 4), (holm, 3)):
        assert procedure(BH_1995) == [True] * count + [False] * (15 - count)
        assert procedure(p_values) == [bool(place < count) for place in shuffled]


def test_the_one_steps_up_and_the_other_down() -> None:
    """Bounds of BH: 1/60, 2/60, 3/60; of Holm: 1/60, 1/40, 1/20."""
    for p_values, by_bh, by_holm in [
        ([0.040, 0.045, 0.049], 3, 0),  # only the last is within its bound
        ([0.010, 0.024, 0.060], 2, 2),
        ([0.010, 0.030, 0.040], 3, 1),
        ([0.020, 0.034, 0.060], 0, 0),
        ([1 / 60, 1 / 40, 1 / 20], 3, 3),  # on the bounds
    ]:
        assert sum(benjamini_hochberg(p_values)) == by_bh, p_values
        assert sum(holm(p_values)) == by_holm, p_values
    assert benjamini_hochberg([]) == holm([]) == []
    assert benjamini_hochberg([0.2, 0.3], level=0.4) == [True, True]


def write(folder: Path, name: str, errors: dict[tuple[str, int], tuple[float, ...]]) -> None:
    """A study's file with its records; the errors by normaliser and |B|, and 40 to 42 for all others."""
    study, context = STUDIES[name], Context((0, 1, 2), {"epochs": 1})

    def error(config: RunConfig) -> float:
        return errors.get((config.norm, config.norm_batch), (40.0, 41.0, 42.0))[config.seed]

    results.prepare(folder / study.file)
    for record in records(study.plan(context, []), error):
        results.append(folder / study.file, record)
    outcome = study.outcome(context, results.read(folder / study.file))
    content: dict[str, Any] = {
        "study": name,
        "runs": 1,
        "seeds": context.seeds,
        "settings": context.settings,
        "layer": context.layer,
    }
    (folder / f"{name}.json").write_text(json.dumps(content | {"verdicts": outcome.verdicts}))


@pytest.mark.parametrize(("lower", "p", "fallen"), [(3, 0.0351, True), (5, 0.0131, False)])
def test_a_difference_counts_once_and_falls_by_the_number_of_others(
    tmp_path: Path, lower: int, p: float, fallen: bool
) -> None:
    """BRN 2 is lower by a - 1, a and a + 1, and nothing else differs: two distinct differences, so half the level.

    t is a times the root of 3, with 2 degrees of freedom; p is 1 - t / sqrt(2 + t^2).
    """
    brn = tuple(40.0 + seed - (lower - 1 + seed) for seed in range(3))
    write(tmp_path, "table1", {("brn", 2): brn})
    found = family(tmp_path)
    assert len(found) == 7
    assert sum(judged.first for judged in found) == 2
    of_brn = {judged.line.partition(":")[0]: judged for judged in found if judged.p < 1}
    assert list(of_brn) == ["MABN 2 + WC below BRN 2", "BRN 2 below BN 2"]
    for judged in of_brn.values():
        assert judged.p == pytest.approx(p, abs=5e-5)
        assert (judged.fallen, judged.kept, judged.holm) == (fallen, not fallen, not fallen)
    assert not any(judged.fallen or judged.kept for judged in found if judged.p == 1)


def test_studies_that_share_runs_share_their_differences(tmp_path: Path) -> None:
    write(tmp_path, "table1", {("brn", 2): (38.0, 38.0, 38.0)})
    alone = family(tmp_path)
    write(tmp_path / "again", "table1", {("brn", 2): (38.0, 38.0, 38.0)})
    both = family(tmp_path)
    assert [judged[1:5] for judged in both] == [judged[1:5] for judged in alone] * 2
    assert sum(judged.first for judged in both) == sum(judged.first for judged in alone)


def test_files_that_judge_no_pairs_add_nothing(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"results": {}}')
    write(tmp_path, "table2", {})
    found = family(tmp_path)
    assert {judged.file.name for judged in found} == {"table2.json"}
    (tmp_path / STUDIES["table2"].file).unlink()
    assert family(tmp_path) == []


PAIRED = ("table1", "figure1b", "table2", "table4", "credit", "window", "related", "search", "equation6", "table8")


@pytest.mark.parametrize("name", PAIRED)
def test_every_verdict_has_the_difference_that_it_names(name: str) -> None:
    study = STUDIES[name]
    context = Context((0, 1, 2), {"epochs": 1, "width": 16, "lr": 0.1, "test_size": 4})
    found: list[dict[str, Any]] = []
    while missing := [run for run in study.plan(context, found) if not results.find(found, run)]:
        found += records(missing, lambda config: 40 + hash_of(config) % 997 / 100)
    for number, record in enumerate(found):
        error = record["epochs"][0]["test_error"]
        record |= {"mean_iou": error, "predictions": ["0" * 1024] * 4}
        record |= {"population_error": error + number % 7, "augmented_error": error + number % 5}
    outcome = study.outcome(context, found)
    assert len(outcome.differences) == len(outcome.verdicts) > 0
    for line, difference in zip(outcome.verdicts, outcome.differences, strict=True):
        assert text(difference, "+") in line


def hash_of(config: RunConfig) -> int:
    """A number that every process makes of a configuration alike."""
    return zlib.crc32(repr(config.as_dict()).encode())

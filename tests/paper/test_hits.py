"""Which test images were right, and intervals that count images as well as seeds."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from mabn_ref.paper.claims import Claim, Measured, between, differences_to, verdict
from mabn_ref.paper.corrections import p_value
from mabn_ref.paper.hits import packed, two_way, unpacked
from mabn_ref.train.table_layout import Interval, mean_interval, paired_difference, t_quantile
from tests.strategies import many


@pytest.mark.parametrize("count", [1, 7, 8, 9, 6000])
def test_what_was_packed_comes_out_of_json(count: int) -> None:
    right = np.random.default_rng(count).random(count) < 0.6
    kept = packed(right)
    assert len(kept["bits"]) <= count / 6 + 4
    again = unpacked(json.loads(json.dumps(kept)))
    assert again.dtype == bool
    np.testing.assert_array_equal(again, right)


def by_hand(values: list[list[float]]) -> tuple[float, float, float]:
    """Mean, variance of the mean and degrees of freedom, in sums over single cells."""
    seeds, images = len(values), len(values[0])
    mean = sum(map(sum, values)) / (seeds * images)
    rows = [sum(row) / images for row in values]
    columns = [sum(column) / seeds for column in zip(*values, strict=True)]
    of_rows = images * sum((row - mean) ** 2 for row in rows) / (seeds - 1)
    of_columns = seeds * sum((column - mean) ** 2 for column in columns) / (images - 1)
    rest = sum((values[s][i] - rows[s] - columns[i] + mean) ** 2 for s in range(seeds) for i in range(images)) / (
        (seeds - 1) * (images - 1)
    )
    further = max(of_columns - rest, 0.0)
    return mean, (of_rows + further) / (seeds * images), (seeds - 1) * (1 + further / of_rows) ** 2


@pytest.mark.parametrize("spread", [0.0, 0.3, 3.0])
def test_the_interval_is_that_of_the_mean_squares(spread: float) -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=(4, 9)) + spread * rng.normal(size=9) + 0.5 * rng.normal(size=(4, 1))
    mean, variance, freedom = by_hand(values.tolist())
    found = two_way(values)
    assert found.mean == pytest.approx(mean)
    assert found.runs == 4
    assert found.freedom == min(8, int(freedom))
    assert found.half == pytest.approx(t_quantile(found.freedom) * math.sqrt(variance))


def covered(draws: int, *, of_seed: float, of_image: float) -> tuple[float, float]:
    """How often the interval over seeds and images, and the one over seeds alone, hold the true mean, 1."""
    rng, seeds, images = np.random.default_rng(20), 3, 60
    both = alone = 0
    for _ in range(draws):
        values = 1 + of_seed * rng.normal(size=(seeds, 1)) + of_image * rng.normal(size=images)
        values = values + rng.normal(size=(seeds, images))
        found, old = two_way(values), mean_interval(values.mean(axis=1).tolist())
        assert found.half is not None
        assert old.half is not None
        both += abs(found.mean - 1) <= found.half
        alone += abs(old.mean - 1) <= old.half
    return both / draws, alone / draws


@pytest.mark.parametrize(
    ("of_seed", "of_image"),
    [(0.0, 0.0), (0.3, 0.0), (0.1, 0.6), (0.0, 2.0)],
    ids=["chance", "seeds", "both", "images"],
)
def test_it_holds_the_true_mean_as_often_as_it_says(of_seed: float, of_image: float) -> None:
    """Simulated with the truth known; where images differ, seeds alone promise too much."""
    draws = many(200, 4000)
    both, alone = covered(draws, of_seed=of_seed, of_image=of_image)
    error = 4 * math.sqrt(0.05 * 0.95 / draws)
    assert 0.94 - error < both
    if of_image == 2:
        assert both < 0.95 + error
        assert alone < 0.8


def test_without_variation_there_is_no_width() -> None:
    assert two_way(np.full((3, 5), 2.0)) == Interval(2.0, 0.0, 3, 4)
    assert two_way(np.ones((2, 5))) == Interval(1.0, None, 2)
    alike = two_way(
        np.tile([1.0, 0.0, 0.0, 1.0, 0.0], (3, 1))
    )  # seeds agree on every image: it has the images' width
    assert alike.half == pytest.approx(t_quantile(4) * math.sqrt(0.3 / 5))
    assert alike.freedom == 4


def test_seeds_with_equal_means_leave_the_width_of_the_images() -> None:
    """Each seed gains another image: chance alone, and nothing that would be there with other seeds."""
    for images in range(5, 60):
        found = two_way(100 * np.eye(3, images))
        assert found.half == pytest.approx(t_quantile(images - 1) * 100 / math.sqrt(3 * images * (images - 1)))
        assert (found.freedom, found.runs) == (images - 1, 3)
        assert p_value(found) > 0.05
    # where images matter, too, it is the interval over the means of the images
    both = two_way(np.concatenate([np.full((3, 5), 100.0), 100 * np.eye(3, 7)], axis=1))
    over_images = np.array([100.0] * 5 + [100 / 3] * 3 + [0.0] * 4)
    assert both.half == pytest.approx(t_quantile(11) * np.std(over_images, ddof=1) / math.sqrt(12))
    assert both.freedom == 11


def test_a_verdict_goes_by_images_where_records_have_them() -> None:
    """Three seeds that agree by chance are not enough where only a few images make the difference."""
    a = {seed: np.arange(40) < 22 for seed in range(3)}
    b = {seed: np.arange(40) < 20 for seed in range(3)}
    errors = {
        name: {seed: 100 - 100 * float(hit.mean()) for seed, hit in hits.items()}
        for name, hits in (("A", a), ("B", b))
    }
    found = {"A": Measured(errors["A"], {}, 0, a), "B": Measured(errors["B"], {}, 0, b)}
    claim = Claim("A", "B", True, "made up")
    interval = between(found["A"], found["B"])
    assert interval is not None
    assert (interval.mean, interval.runs, interval.freedom) == (-5.0, 3, 39)
    assert interval.half == pytest.approx(t_quantile(39) * 100 * np.std(a[0] * 1.0 - b[0], ddof=1) / math.sqrt(40))
    assert "not decided" in verdict(claim, found)
    assert differences_to(["B"], "A", found) == [f"-5.00 ± {interval.half:.2f}"]
    assert p_value(interval) == pytest.approx(0.1599, abs=1e-4)  # of t = 1.4327 at 39 degrees of freedom
    without = {name: row._replace(hits=None) for name, row in found.items()}
    assert "holds" in verdict(claim, without)
    none = found | {"B": found["B"]._replace(errors={5: 50.0}, hits={5: b[0]})}
    assert between(none["A"], none["B"]) is None


def test_images_count_only_where_all_seeds_have_them() -> None:
    right = {seed: np.array([True, False]) for seed in range(3)}
    both = Measured({0: 50.0, 1: 50.0, 2: 50.0, 3: 90.0}, {}, 0, right), Measured(dict.fromkeys(range(4), 0.0), {}, 0)
    all_of_them = Measured(dict.fromkeys(range(4), 0.0), {}, 0, right)
    assert between(*both) == between(both[0], all_of_them) == paired_difference(both[0].errors, both[1].errors)
    assert between(both[0], all_of_them).mean == 60  # type: ignore[union-attr]

"""t intervals, against the integral of Student's density."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mabn_ref.train.table_layout import Interval, Table, mean_interval, paired_difference, t_quantile, text


@pytest.mark.parametrize("freedom", [*range(1, 26), 30, 60, 1000])
def test_the_quantile_leaves_two_and_a_half_percent_above(freedom: int) -> None:
    # Simpson's rule over [0, t] for the density; the half below 0 is known.
    x = np.linspace(0, t_quantile(freedom), 20_001)
    log_scale = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - 0.5 * math.log(freedom * math.pi)
    density = np.exp(log_scale - (freedom + 1) / 2 * np.log1p(x**2 / freedom))
    weights = np.ones_like(x)
    weights[1:-1:2], weights[2:-1:2] = 4, 2
    below = 0.5 + float(np.sum(weights * density)) * (x[1] - x[0]) / 3
    assert below == pytest.approx(0.975, abs=5e-6)


def test_mean_interval_of_a_known_sample() -> None:
    # Standard deviation 2, three values: 4.3027 * 2 / sqrt(3).
    interval = mean_interval([1.0, 3.0, 5.0])
    assert interval[:3] == pytest.approx((3.0, 4.3027 * 2 / math.sqrt(3), 3))


def test_one_value_has_no_interval() -> None:
    assert mean_interval([4.0]) == Interval(4.0, None, 1)


def test_two_values_have_none_either() -> None:
    """That two differ little is chance as often as not."""
    assert mean_interval([4.0, 4.0]) == Interval(4.0, None, 2)
    assert text(mean_interval([4.0, 5.0])) == "4.50 (2 runs)"


def test_a_difference_is_paired_by_seed_not_by_place() -> None:
    baseline = {0: 10.0, 1: 20.0, 2: 30.0}
    difference = paired_difference({2: 31.0, 0: 11.0, 1: 21.0}, baseline)
    assert difference is not None
    assert difference[:3] == pytest.approx((1.0, 0.0, 3))
    assert paired_difference({7: 1.0}, baseline) is None


def test_no_degrees_of_freedom_is_refused() -> None:
    with pytest.raises(ValueError, match="freedom is 0"):
        t_quantile(0)


def test_a_table_wider_than_a_terminal_goes_on_below_with_its_names() -> None:
    rows = [("Small batches",), ("  BN 2", "a" * 30, "b" * 30, "c" * 30, "d"), ("  MABN 2", "1", "2", "3", "4")]
    lines = str(Table("Errors", ("", "first", "second", "third", "fourth"), rows)).splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split() for line in lines if line.startswith("  ") and line.strip()[0] != "B"] == [
        ["first", "second"],
        ["MABN", "2", "1", "2"],
        ["third", "fourth"],
        ["MABN", "2", "3", "4"],
    ]
    assert lines.count("Small batches") == 2


def test_a_column_wider_than_a_terminal_stands_alone() -> None:
    lines = str(Table("", ("", "first", "second"), [("BN 2", "a" * 100, "b")])).splitlines()
    assert [line.split() for line in lines] == [["first"], ["BN", "2", "a" * 100], [], ["second"], ["BN", "2", "b"]]

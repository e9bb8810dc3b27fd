"""Pictures show the means and the whole 95 % intervals of all runs."""

from __future__ import annotations

from typing import Any

import pytest

from mabn_ref.train import plotting
from mabn_ref.train.table_layout import Interval

HALF = 4.3027 / 3**0.5
"""Half of the interval of three errors that are one apart."""


def row(label: str, *errors: float) -> dict[str, Any]:
    return {"label": label, "errors": {str(seed): error for seed, error in enumerate(errors)}, "diverged": {}}


def bars(axes: Any, axis: int) -> list[tuple[float, float]]:
    """The ends of every error bar."""
    segments = [bar.get_segments() for container in axes.containers for bar in container.lines[2]]
    return [(float(ends[0][axis]), float(ends[1][axis])) for found in segments for ends in found]


def test_errors_by_row() -> None:
    rows = [row("A", 40.0, 41.0, 42.0), row("B"), row("C", 50.0, 51.0, 52.0)]
    axes = plotting.errors_by_row(rows, "title").axes[0]
    assert bars(axes, axis=0) == [
        pytest.approx((41 - HALF, 41 + HALF), rel=1e-6),
        pytest.approx((51 - HALF, 51 + HALF), rel=1e-6),
    ]
    rings = [list(line.get_xdata()) for line in axes.lines if line.get_marker() == "o"]
    assert rings == [[40.0, 41.0, 42.0], [50.0, 51.0, 52.0]]
    assert [text.get_text() for text in axes.texts] == ["no runs"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["A", "B", "C"]


def test_errors_over_a_number() -> None:
    curves = {"X": {1: row("a", 40.0, 41.0, 42.0), 4: row("b", 30.0, 31.0, 32.0), 8: row("c")}}
    axes = plotting.errors_over(curves, "title", "|B|").axes[0]
    (container,) = axes.containers
    assert list(container.lines[0].get_xdata()) == [1, 4]
    assert list(container.lines[0].get_ydata()) == [41.0, 31.0]
    assert bars(axes, axis=1) == [
        pytest.approx((41 - HALF, 41 + HALF), rel=1e-6),
        pytest.approx((31 - HALF, 31 + HALF), rel=1e-6),
    ]
    rings = [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines if line.get_alpha() == 0.5]
    assert rings == [([1, 1, 1], [40.0, 41.0, 42.0]), ([4, 4, 4], [30.0, 31.0, 32.0])]


def test_differences_around_zero() -> None:
    axes = plotting.intervals({"A": Interval(-2.0, 0.5, 3), "B": None, "C": Interval(1.0, 2.0, 3)}, "t", "l").axes[0]
    assert bars(axes, axis=0) == [(-2.5, -1.5), (-1.0, 3.0)]

"""The pictures of the studies. Needs the extra ``run`` (matplotlib)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mabn_ref.extras import require
from mabn_ref.train.intervals import Interval, mean_interval

__all__ = ["COLOURS", "bands", "errors_by_row", "errors_over", "intervals", "new", "panels"]

COLOURS = ("#000000", "#d55e00", "#0072b2", "#009e73", "#7a7a7a", "#e69f00", "#56b4e9", "#cc79a7")
_LINES, _MARKERS = ("-", "--", "-.", ":"), "os^Dv<>P"


def new(width: float = 8, height: float = 5) -> Any:
    """Return an empty matplotlib Figure, in inches."""
    return require("matplotlib.figure", "run").Figure(figsize=(width, height), dpi=150, layout="constrained")


def errors_by_row(rows: Sequence[Mapping[str, Any]], title: str) -> Any:
    """Draw a point and a 95 % interval a row, and every run as a small ring; rows that diverged say so.

    Parameters
    ----------
    rows : sequence of dict
        Of `mabn_ref.paper.measured.row_data`.
    title : str
    """
    drawing = new(8, 1.2 + 0.32 * len(rows))
    axes = drawing.add_subplot()
    for position, row in enumerate(rows):
        if not row["errors"]:
            axes.annotate(
                "diverged" if row["diverged"] else "no runs", (0.5, position), xycoords=("axes fraction", "data")
            )
            continue
        values = list(row["errors"].values())
        interval = mean_interval(values)
        axes.plot(values, [position] * len(values), "o", color="#7a7a7a", markersize=4, markerfacecolor="none")
        axes.errorbar(interval.mean, position, xerr=interval.half, fmt="s", color="#0072b2", markersize=5, capsize=3)
    axes.set_yticks(range(len(rows)), [row["label"] for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("test error (%), mean with 95 % interval; rings are runs")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    return drawing


def errors_over(curves: Mapping[str, Mapping[int, Mapping[str, Any]]], title: str, label: str) -> Any:
    """Draw errors over a number on a logarithmic axis, a line a name; bars are 95 % intervals.

    Parameters
    ----------
    curves : mapping
        By name and number, rows of `mabn_ref.paper.measured.row_data`.
    title, label : str
        Of the picture and of the number.
    """
    drawing = new()
    axes = drawing.add_subplot()
    places = sorted({place for curve in curves.values() for place in curve})
    for number, (name, curve) in enumerate(curves.items()):
        points = [
            (place, mean_interval(list(row["errors"].values()))) for place, row in curve.items() if row["errors"]
        ]
        axes.errorbar(
            [place * 2 ** (0.05 * (number - (len(curves) - 1) / 2)) for place, _ in points],  # side by side
            [interval.mean for _, interval in points],
            yerr=[interval.half or 0.0 for _, interval in points],
            color=COLOURS[number % len(COLOURS)],
            linestyle=_LINES[number % len(_LINES)],
            marker=_MARKERS[number % len(_MARKERS)],
            markersize=5,
            capsize=3,
            label=name,
        )
    axes.set_xscale("log", base=2)
    axes.set_xticks(places, [str(place) for place in places])
    axes.set_xlabel(label)
    axes.set_ylabel("test error (%), mean with 95 % interval")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize="small")
    return drawing


def intervals(found: Mapping[str, Interval | None], title: str, label: str) -> Any:
    """Draw differences with their 95 % intervals around a line at zero."""
    drawing = new(8, 1.2 + 0.35 * len(found))
    axes = drawing.add_subplot()
    for position, interval in enumerate(found.values()):
        if interval is not None:
            axes.errorbar(interval.mean, position, xerr=interval.half, fmt="s", color="#0072b2", capsize=3)
    axes.axvline(0, color="#7a7a7a", linewidth=1)
    axes.set_yticks(range(len(found)), list(found))
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_xlabel(label)
    axes.set_title(title)
    axes.grid(alpha=0.3)
    return drawing


def panels(
    series: Mapping[str, Mapping[str, Sequence[float]]], title: str, label: str, *, logarithmic: bool = True
) -> Any:
    """Draw a panel a quantity and a line a name in each, over iterations."""
    drawing = new(9, 2.6 * ((len(series) + 1) // 2) + 0.6)
    for number, (quantity, lines) in enumerate(series.items(), start=1):
        axes = drawing.add_subplot((len(series) + 1) // 2, 2, number)
        for k, (name, values) in enumerate(lines.items()):
            axes.plot(
                range(1, len(values) + 1),
                values,
                color=("#0072b2", "#e69f00", "#000000")[k % 3],
                linewidth=0.8,
                label=name,
            )
        if logarithmic and any(value > 0 for values in lines.values() for value in values):
            axes.set_yscale("log")
        axes.set_title(quantity)
        axes.set_xlabel(label)
        axes.grid(alpha=0.3)
        if number == 1 and lines:
            axes.legend(frameon=False, fontsize="small")
    drawing.suptitle(title)
    return drawing


def bands(
    at: Sequence[int],
    series: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]],
    title: str,
    claimed: Mapping[str, Sequence[float]] | None = None,
) -> Any:
    """Draw a panel a sequence and a line a name in each, with 95 % bands, over iterations.

    Parameters
    ----------
    at : sequence of int
        The iterations.
    series : mapping
        By panel and name, "mean", "low" and "high" at these.
    title : str
    claimed : mapping, optional
        What a formula says of each name; dotted, and the axis is logarithmic.
    """
    drawing = new(9, 2.6 * ((len(series) + 1) // 2) + 0.6)
    for number, (panel, lines) in enumerate(series.items(), start=1):
        axes = drawing.add_subplot((len(series) + 1) // 2, 2, number)
        for colour, (name, line) in zip(("#0072b2", "#d55e00"), lines.items(), strict=True):
            axes.fill_between(at, line["low"], line["high"], color=colour, alpha=0.3, linewidth=0)
            axes.plot(at, line["mean"], color=colour, linewidth=0.8, label=name)
            if claimed is not None:
                axes.plot(at, claimed[name], color="black", linestyle=":", linewidth=1)
        if claimed is not None:
            axes.set_yscale("log")
        axes.set_title(panel)
        axes.set_xlabel("iteration")
        axes.grid(alpha=0.3)
        if number == 1:
            axes.legend(frameon=False, fontsize="small")
    drawing.suptitle(title)
    return drawing

"""The pictures of comparisons and studies. Needs the extra ``run`` (matplotlib)."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from mabn_ref.extras import require
from mabn_ref.train.table_layout import Interval, mean_interval

COLOURS = ("#000000", "#d55e00", "#0072b2", "#009e73", "#7a7a7a", "#e69f00", "#56b4e9", "#cc79a7")
LINES = ("-", "--", "-.", ":")
MARKERS = "os^Dv<>PX*hpd"
_GREY, _BLUE = COLOURS[4], COLOURS[2]
NARROW = 5.2
"""The width of a study's picture in inches: narrow, so that its letters can be read on a phone."""
_TITLE = 60  #: letters per line of a title
_RUNS = "mean,\n95 % interval and runs (rings)"


def new(width: float = 8, height: float = 5) -> Any:
    """Return an empty matplotlib Figure, in inches."""
    return require("matplotlib.figure", "run").Figure(figsize=(width, height), dpi=150, layout="constrained")


def finish(axes: Any, title: str, label: str, quantity: str = "", *, legend: bool = False) -> None:
    """Give axes a title and labels and, if asked for and there are labelled lines, a legend."""
    axes.set_title(title, parse_math=False)  # a directory's name may have dollar signs
    axes.set_xlabel(label)
    if quantity:
        axes.set_ylabel(quantity)
    axes.grid(alpha=0.3)
    if legend and axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize="small")


def style(number: int) -> dict[str, Any]:
    """Return the look of line `number`: lines differ in dash and marker as well as in colour."""
    every = {"color": COLOURS, "linestyle": LINES, "marker": MARKERS}
    return {name: values[number % len(values)] for name, values in every.items()} | {"markersize": 5}


def interval_line(axes: Any, places: Sequence[float], found: Sequence[Interval], **style: Any) -> None:
    """Draw a line through means, with a bar for each 95 % interval."""
    halves = [interval.half or 0.0 for interval in found]
    axes.errorbar(places, [interval.mean for interval in found], yerr=halves, capsize=3, **style)


def over_powers_of_two(axes: Any, places: Sequence[int]) -> None:
    """Make the x axis logarithmic, with a tick at each of `places`."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(places, [str(place) for place in places])


def _lines_of_text(title: str, labels: Sequence[str], height: float) -> tuple[Any, Any]:
    """Return a figure and axes with a label per line, from the top; labels are wide, so the figure has the title."""
    drawing = new(NARROW, 1.2 + height * len(labels))
    drawing.suptitle(textwrap.fill(title, _TITLE), parse_math=False)
    axes = drawing.add_subplot()
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    return drawing, axes


def errors_by_row(rows: Sequence[Mapping[str, Any]], title: str, label: str = "test error (%)") -> Any:
    """Draw a mean and a 95 % interval per row, and every run as a small ring; rows without results say why.

    `rows` are those of `mabn_ref.paper.claims.row_data`.
    """
    drawing, axes = _lines_of_text(title, [row["label"] for row in rows], 0.32)
    for position, row in enumerate(rows):
        if not row["errors"]:
            said = "diverged" if row["diverged"] else "no runs"
            axes.annotate(said, (0.5, position), xycoords=("axes fraction", "data"))
            continue
        values = list(row["errors"].values())
        interval = mean_interval(values)
        axes.plot(values, [position] * len(values), "o", color=_GREY, markersize=4, markerfacecolor="none")
        axes.errorbar(interval.mean, position, xerr=interval.half, fmt="s", color=_BLUE, markersize=5, capsize=3)
    finish(axes, "", f"{label}, {_RUNS}")
    return drawing


def errors_over(curves: Mapping[str, Mapping[int, Mapping[str, Any]]], title: str, label: str) -> Any:
    """Draw errors over a number on a logarithmic axis, a line per name; bars are 95 % intervals, rings are runs.

    `curves` holds, by name and number, rows of `mabn_ref.paper.claims.row_data`.
    """
    drawing = new(NARROW, 4.6)
    axes = drawing.add_subplot()
    for number, (name, curve) in enumerate(curves.items()):
        aside = 2 ** (0.05 * (number - (len(curves) - 1) / 2))
        points = [(place * aside, list(row["errors"].values())) for place, row in curve.items() if row["errors"]]
        means = [mean_interval(values) for _, values in points]
        interval_line(axes, [place for place, _ in points], means, label=name, **style(number))
        for place, values in points:
            ring = {"marker": "o", "markersize": 3, "markerfacecolor": "none", "alpha": 0.5, "linestyle": "none"}
            axes.plot([place] * len(values), values, color=COLOURS[number % len(COLOURS)], **ring)
    over_powers_of_two(axes, sorted({place for curve in curves.values() for place in curve}))
    finish(axes, title, label, f"test error (%), {_RUNS}")
    if axes.get_legend_handles_labels()[0]:
        drawing.legend(loc="outside lower center", ncols=2, frameon=False)
    return drawing


def intervals(found: Mapping[str, Interval | None], title: str, label: str) -> Any:
    """Draw differences with their 95 % intervals around a line at zero."""
    drawing, axes = _lines_of_text(title, list(found), 0.35)
    for position, interval in enumerate(found.values()):
        if interval is not None:
            axes.errorbar(interval.mean, position, xerr=interval.half, fmt="s", color=_BLUE, capsize=3)
    axes.axvline(0, color=_GREY, linewidth=1)
    finish(axes, "", label)
    return drawing


def panels(
    at: Sequence[int],
    series: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]],
    title: str,
    label: str,
    *,
    quantity: str = "",
    logarithmic: bool = False,
    claimed: Mapping[str, Sequence[float]] | None = None,
) -> Any:
    """Draw curves over iterations: a panel per quantity, and in it a line per name.

    `at` are the iterations. `series` holds, by panel and name, the values "mean" at these iterations and, for a band,
    "low" and "high". `quantity` labels what all panels show, if no title says so. `claimed` holds the values of a
    formula by name, drawn dotted. With `logarithmic`, panels with a positive value have a logarithmic axis.
    """
    drawing = new(NARROW, 2.2 * ((len(series) + 1) // 2) + 0.6)
    for number, (panel, lines) in enumerate(series.items(), start=1):
        axes = drawing.add_subplot((len(series) + 1) // 2, 2, number)
        looks = ((_BLUE, 1.8), (COLOURS[1], 0.6), (COLOURS[0], 0.6))  # the first shows behind one that covers it
        for (colour, width), (name, line) in zip(looks, lines.items(), strict=False):
            if "low" in line:
                axes.fill_between(at, line["low"], line["high"], color=colour, alpha=0.3, linewidth=0)
            axes.plot(at, line["mean"], color=colour, linewidth=width, label=name)
            if claimed is not None:
                axes.plot(at, claimed[name], color="black", linestyle=":", linewidth=1)
        if logarithmic and any(value > 0 for line in lines.values() for value in line["mean"]):
            axes.set_yscale("log")
        finish(axes, panel, label, legend=number == 1)
    drawing.suptitle(textwrap.fill(title, _TITLE))
    if quantity:
        drawing.supylabel(quantity, fontsize="medium")
    return drawing

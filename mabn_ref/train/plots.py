"""Learning curves as a picture. Needs the extra ``run`` (matplotlib)."""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mabn_ref.extras import require
from mabn_ref.train import atomic
from mabn_ref.train.tables import Row

__all__ = ["figure", "learning_curves"]

_COLOURS = ("#000000", "#d55e00", "#0072b2", "#009e73", "#7a7a7a", "#e69f00", "#56b4e9", "#cc79a7")
_LINES = ("-", "--", "-.", ":")
_MARKERS = "os^Dv<>PX*hpd"


def learning_curves(path: Path, rows: Sequence[Row], title: str) -> None:
    """Write `figure` to a PNG, atomically; the parameters are its."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # in the name of somebody's directory
        atomic.write(path, lambda file: figure(rows, title).savefig(file, format="png"))


def figure(rows: Sequence[Row], title: str) -> Any:
    """Draw the test error after each epoch: a row's mean over the seeds, and a band from the lowest to the highest.

    Lines differ in dash and marker as well as in colour, and are listed from the highest last error to the lowest, so
    that the picture reads in greyscale.

    Parameters
    ----------
    rows : sequence of Row
        Those without a finished run are left out.
    title : str
        Says what was trained on.

    Returns
    -------
    matplotlib.figure.Figure
        One panel.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    drawing = require("matplotlib.figure", "run").Figure(figsize=(8, 5), dpi=150, layout="constrained")
    axes = drawing.add_subplot()
    style = {row.label: number for number, row in enumerate(rows)}
    for row in sorted((row for row in rows if row.curves), key=lambda row: -statistics.fmean(row.errors.values())):
        epochs = list(zip(*row.curves.values(), strict=True))
        mean = [statistics.fmean(values) for values in epochs]
        position, number = range(1, len(mean) + 1), style[row.label]
        colour = _COLOURS[number % len(_COLOURS)]
        axes.plot(
            position,
            mean,
            color=colour,
            linestyle=_LINES[number % len(_LINES)],
            marker=_MARKERS[number % len(_MARKERS)],
            markersize=5,
            markerfacecolor="white" if row.control else colour,
            label=f"{row.label}: {mean[-1]:.1f} %" + (" (control)" if row.control else ""),
        )
        axes.fill_between(
            position, [min(v) for v in epochs], [max(v) for v in epochs], color=colour, alpha=0.12, linewidth=0
        )
    axes.set_xlabel("epoch (passes over the training images)")
    axes.set_ylabel("test error (%)")
    axes.set_title(title, parse_math=False)  # a directory's name may have dollar signs
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(title="after the last epoch (line: mean, band: all seeds)", frameon=False, fontsize="small")
    return drawing

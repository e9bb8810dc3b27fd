"""The directive ``picture``: a drawing that is no graph, by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import svg
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from svg import Box, Point


class PictureDirective(SphinxDirective):
    """One of `PICTURES`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        if self.arguments[0] not in PICTURES:
            raise self.error(f"there is no picture {self.arguments[0]!r}, expected one of {', '.join(PICTURES)}")
        self.env.note_reread()
        return [nodes.raw("", PICTURES[self.arguments[0]](), format="html")]


def projection() -> str:
    """Theorem 2: subtracting g is a projection, which shortens the gradient and takes it away from its target.

    Across is the direction of (1, ..., 1), upwards all others. The target of the modified form, P*, is at (g, h), and
    the modified gradient D* is off it by e along y. Subtracting g takes D* to the axis, the target by g_* alone.
    """
    g, g_star, h, e = 190.0, 46.0, 150.0, 52.0
    x0, y0 = 80.0, 280.0

    def at(across: float, up: float) -> Point:
        return x0 + across, y0 - up

    origin, modified, vanilla = at(0, 0), at(g, h), at(0, h)
    target, vanilla_target = at(g, h + e), at(g - g_star, h + e)
    marks = [
        svg.path([at(-40, 0), at(270, 0)], "line thin"),
        svg.text((356, 296), "along (1, …, 1)", "note", "end"),
        svg.path([at(0, -14), at(0, 264)], "line thin"),
        svg.text(at(8, 258), "all other directions", "note", "start"),
        svg.arrow([origin, at(g - 3, h - 2.4)], "forward"),
        svg.arrow([origin, at(0, h - 4)], "forward"),
        svg.path([vanilla, at(14, h), at(14, h - 14), at(0, h - 14)], "line thin"),
        svg.arrow([at(g - 6, h), at(6, h)], "backward"),
        svg.text(at(g / 2, h + 7), "subtract g", "local"),
        svg.arrow([at(g - 7, h + e), at(g - g_star + 7, h + e)], "backward"),
        svg.text(at(g - g_star / 2, h + e + 26), "the target moves by g*", "local"),
        svg.path([modified, target], "line miss"),
        svg.path([vanilla, vanilla_target], "line miss"),
        _star(target),
        _star(vanilla_target),
        _dot(modified),
        _dot(vanilla),
        svg.text(at(g + 8, h + e + 4), "P*", "name", "start"),
        svg.text(at(g - g_star - 12, h + e + 12), "P", "name", "end"),
        svg.text(at(g + 8, h - 4), "D*", "name", "start"),
        svg.text(at(-10, h + 4), "D", "name", "end"),
        svg.text(at(g + 7, h + e / 2), "miss of D*", "note", "start"),
        svg.text(at(12, h + 40), "miss of D", "note", "start"),
    ]
    marks += [
        svg.text(at(g / 2 + 18, h / 2 - 6), "D*: longer,", "note", "start"),
        svg.text(at(g / 2 + 18, h / 2 - 20), "nearer to its target", "note", "start"),
        svg.text(at(-8, h / 2 + 14), "D: shorter,", "note", "end"),
        svg.text(at(-8, h / 2), "farther from", "note", "end"),
        svg.text(at(-8, h / 2 - 14), "its target", "note", "end"),
    ]
    said = (
        "Two arrows from the origin. The longer one is the modified gradient D*, the shorter one the vanilla one "
        "D, its projection: subtracting g moves D* straight to the axis that is perpendicular to (1, ..., 1). The "
        "target moves the same way, from P* to P, but only by g*. So D ends farther from P than D* is from P*."
    )
    return _figure(svg.drawing("picture-projection", "Subtracting g as a projection", said, 304, marks))


def time_line() -> str:
    """The adjoint: the window of iterations that MABN averages over and the one that the derivative does."""
    pitch, m = 45.0, 4
    ticks = {k: 180.0 + pitch * k for k in range(-m + 1, m)}
    box_y, past_y, future_y = 112.0, 176.0, 250.0
    marks = [
        svg.text((180, 14), "forward: the batch of iteration t is in the windows", "note"),
        svg.text((180, 29), "of t and of the m − 1 iterations after it", "note"),
    ]
    for k in range(1, m):
        half = pitch * k / 2
        turns = [math.pi * i / 16 for i in range(17)]
        rise = 10.0 + 11.0 * k
        arc = [(180 + half - half * math.cos(a), box_y - 17 - rise * math.sin(a)) for a in turns]
        marks.append(svg.arrow(arc, "forward"))
    for k, x in ticks.items():
        marks.append(svg.rectangle(Box(x, box_y, 36, 28), "box here" if k == 0 else "box"))
        marks.append(svg.text((x, box_y + 4), "t" if k == 0 else f"t{'+' if k > 0 else '−'}{abs(k)}", "name"))
    marks.append(svg.arrow([(8, box_y + 26), (352, box_y + 26)], "forward"))
    marks.append(svg.text((352, box_y + 40), "time", "note", "end"))
    for y, first, last, style, said in (
        (past_y, -m + 1, 0, "past", "MABN averages Ψ over the past window:"),
        (future_y, 0, m - 1, "future", "the derivative needs the future one:"),
    ):
        middle = (ticks[first] + ticks[last]) / 2
        width = ticks[last] - ticks[first] + 36
        marks.append(svg.rectangle(Box(middle, y + 16, width, 26), f"box {style}"))
        marks.append(svg.text((middle, y + 20), "Ψ known" if style == "past" else "Ψ not known yet", "name"))
        marks.append(
            svg.text(
                (12, y - 5) if style == "past" else (348, y - 5), said, "note", "start" if style == "past" else "end"
            )
        )
        marks.append(svg.path([(middle, y + 29), (middle, y + 38)], "line"))
        side = "behind" if style == "past" else "ahead"
        marks.append(svg.text((middle, y + 50), f"centre (m − 1)/2 {side}", "note"))
    said = (
        "Seven iterations in a row, t minus 3 to t plus 3, for a window of m = 4. Arrows from iteration t reach t "
        "plus 1, 2 and 3: its batch is in their windows too. Below, a solid bar from t minus 3 to t is the past "
        "window, which MABN averages over; a dashed bar from t to t plus 3 is the future one, which the "
        "derivative needs."
    )
    return _figure(
        svg.drawing("picture-time-line", "The window that is used and the one that would be true", said, 306, marks)
    )


SHEETS: dict[str, tuple[str, Callable[[int, int, int], bool]]] = {
    "BN": ("a column over both samples", lambda sample, position, channel: channel == 1),
    "MABN": ("the same column, also in the batches before", lambda sample, position, channel: channel == 1),
    "modified BN": ("a column over both samples", lambda sample, position, channel: channel == 1),
    "instance norm": ("a column in one sample", lambda sample, position, channel: channel == 1 and sample == 0),
    "FRN, IN": ("a column in one sample", lambda sample, position, channel: channel == 1 and sample == 0),
    "FRN": ("the part of a column in one sample", lambda sample, position, channel: channel == 1 and sample == 0),
    "RMSNorm": ("one row", lambda sample, position, channel: (sample, position) == (0, 1)),
    "layer norm": ("all of one sample", lambda sample, position, channel: sample == 0),
    "group norm": (
        "half of the columns in one sample",
        lambda sample, position, channel: sample == 0 and channel < 2,
    ),
}
"""What shares a statistic, in words and as a condition on sample, position and channel."""
_EARLIER = {"MABN": 2}
"""How many sheets of earlier batches are drawn behind."""


def axes(name: str, shown: tuple[str, ...]) -> str:
    """Sheets of 2 samples of 3 positions, the rows, by 4 channels, on which what shares a statistic is filled."""
    marks, cell, height = [], 18.0, 166.0
    for k, title in enumerate(shown):
        left, top = 24 + 118 * (k % 3), 34 + height * (k // 3)
        marks.append(svg.text((left + 2 * cell, top - 12), title, "note"))
        for back in range(_EARLIER.get(title, 0), -1, -1):
            middle = left + 2 * cell + 9 * back, top + 3 * cell + 4 + 9 * back
            marks.append(svg.rectangle(Box(*middle, 4 * cell, 6 * cell + 8), "box map"))
            for row in range(24):
                sample, position, channel = row // 12, row // 4 % 3, row % 4
                filled = SHEETS[title][1](sample, position, channel)
                x, y = left + (channel + 0.5) * cell, top + (row // 4 + 0.5) * cell + 8 * sample
                box = Box(x + 9 * back, y + 9 * back, cell, cell)
                marks.append(svg.rectangle(box, "box map here" if filled else "box map"))
        if k % 3 == 0:
            marks += [
                _upright((left - 8, top + (1.5 + 3.4 * sample) * cell), f"sample {sample + 1}") for sample in (0, 1)
            ]
            marks.append(svg.text((left + 2 * cell, top + 6 * cell + 21), "channels", "note"))
    said = (
        "Sheets of two samples with three positions each, the rows, by four channels, the columns. Filled is "
        + "; ".join(f"for {title}, {SHEETS[title][0]}" for title in shown)
    )
    rows = -(-len(shown) // 3)
    return _figure(svg.drawing(f"picture-{name}", "What shares a statistic", said + ".", height * rows + 4, marks))


def _upright(at: Point, said: str) -> str:
    x, y = at
    return f'<g transform="rotate(-90 {x:.0f} {y:.0f})">{svg.text(at, said, "note")}</g>'


def _dot(at: Point) -> str:
    return f'<circle cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="4" class="head"/>'


def _star(at: Point) -> str:
    x, y = at
    return "".join(svg.path([(x - a, y - b), (x + a, y + b)], "line") for a, b in ((6, 0), (0, 6), (4, 4), (4, -4)))


def _figure(image: str) -> str:
    return f'<figure class="graph">{image}</figure>'


PICTURES: dict[str, Callable[[], str]] = {
    "projection": projection,
    "time-line": time_line,
    "axes-of-mean-squares": lambda: axes("axes-of-mean-squares", ("modified BN", "FRN", "RMSNorm")),
    "axes-of-samples": lambda: axes("axes-of-samples", ("layer norm", "group norm", "instance norm")),
    "axes-of-the-family": lambda: axes(
        "axes-of-the-family",
        ("BN", "MABN", "FRN, IN", "layer norm", "group norm", "RMSNorm"),
    ),
}


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("picture", PictureDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

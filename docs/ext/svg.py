"""The few marks that the drawings of the pages are made of, as SVG. Colours are classes of ``drawings.css``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from itertools import pairwise
from typing import NamedTuple

WIDTH = 360
"""Of every drawing, in units that are pixels on a phone."""

Point = tuple[float, float]


class Box(NamedTuple):
    """A rectangle by its centre."""

    x: float
    y: float
    width: float
    height: float


def drawing(name: str, title: str, text: str, height: float, marks: Sequence[str], *, links: bool = False) -> str:
    """A whole drawing with its alternative text; `name` keeps its identifiers apart from others on the page."""
    role = "group" if links else "img"  # what is in an img is not announced, links neither
    head = (
        f'<svg class="drawing" viewBox="0 0 {WIDTH} {height:g}" role="{role}" '
        f'aria-labelledby="{name}-title {name}-text" xmlns="http://www.w3.org/2000/svg">'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-text">{escape(text)}</desc>'
    )
    return "\n".join([head, *marks, "</svg>"])


def text(at: Point, said: str, style: str = "", anchor: str = "middle") -> str:
    """One line of text, its middle (or start, or end) at a point of its base line."""
    return f'<text x="{at[0]:.1f}" y="{at[1]:.1f}" text-anchor="{anchor}" class="{style}">{escape(said)}</text>'


def rectangle(box: Box, style: str) -> str:
    """A box with round corners."""
    x, y, width, height = box
    return (
        f'<rect x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" width="{width:g}" height="{height:g}" rx="5" '
        f'class="{style}"/>'
    )


def path(points: Sequence[Point], style: str) -> str:
    """A line through points."""
    d = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return f'<path d="{d}" class="{style}"/>'


def arrow(points: Sequence[Point], style: str) -> str:
    """A line through points with a head at the last."""
    (x0, y0), (x1, y1) = points[-2:]
    angle = math.atan2(y1 - y0, x1 - x0)
    head = [(x1 - 8 * math.cos(angle + a), y1 - 8 * math.sin(angle + a)) for a in (0.42, -0.42)]
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in ((x1, y1), *head))
    neck = (x1 - 6 * math.cos(angle), y1 - 6 * math.sin(angle))
    return path([*points[:-1], neck], f"line {style}") + f'<polygon points="{corners}" class="head {style}"/>'


def width(said: str) -> float:
    """Of a text of 12 pixels, in a wide font."""
    return sum(3.8 if letter in " /(),.·|" else 7.2 for letter in said)


def beside(points: Sequence[Point], said: str, style: str, fraction: float = 0.5) -> str:
    """A text to the right of a line that just does not touch it."""
    (x, y), (dx, dy) = along(points, fraction)
    if abs(dx) < 0.1:
        return text((x - dy * 6, y + 4), said, style, "start" if dy < 0 else "end")
    reach = 5.0 + abs(dy) * width(said) / 2 + abs(dx) * 6.0
    return text((x - dy * reach, y + dx * reach + 4), said, style)


def scissors(at: Point, angle: float = 0.0) -> str:
    """Open scissors whose blades point along `angle`, in degrees."""
    return (
        f'<g class="scissors" transform="translate({at[0]:.1f} {at[1]:.1f}) rotate({angle:.0f})">'
        '<path d="M-5 -3.5L9 4.5M-5 3.5L9 -4.5"/><circle cx="-8" cy="-5" r="3.2"/>'
        '<circle cx="-8" cy="5" r="3.2"/></g>'
    )


def link(href: str, said: str, marks: str) -> str:
    """Marks that lead somewhere, reached by keyboard too; `said` is what a reader hears."""
    return f'<a href="{escape(href)}" aria-label="{escape(said)}">{marks}</a>' if href else marks


def between(start: Box, end: Box, via: Sequence[Point] = (), offset: float = 0.0) -> list[Point]:
    """The way from one box to another through `via`, `offset` to the left of it, cut at the boxes' edges."""
    points = [(start.x, start.y), *via, (end.x, end.y)]
    moved: list[Point] = []
    for i, (x, y) in enumerate(points):
        (ax, ay), (bx, by) = points[max(i - 1, 0)], points[min(i + 1, len(points) - 1)]
        length = math.hypot(bx - ax, by - ay)
        moved.append((x + offset * (by - ay) / length, y - offset * (bx - ax) / length))
    moved[0] = _edge(start, moved[0], moved[1])
    moved[-1] = _edge(end, moved[-1], moved[-2])
    return moved


def _edge(box: Box, inside: Point, towards: Point) -> Point:
    """Where the way from a point in a box leaves it, a little outside."""
    dx, dy = towards[0] - inside[0], towards[1] - inside[1]
    ways = []
    for d, at, middle, size in ((dx, inside[0], box.x, box.width), (dy, inside[1], box.y, box.height)):
        if d:
            ways.append((middle + math.copysign(size / 2 + 2, d) - at) / d)
    t = min(ways)
    return inside[0] + t * dx, inside[1] + t * dy


def along(points: Sequence[Point], fraction: float = 0.5) -> tuple[Point, Point]:
    """The point that is a fraction along a line, and the direction of the line there."""
    lengths = [math.dist(a, b) for a, b in pairwise(points)]
    left = sum(lengths) * fraction
    for (a, b), length in zip(pairwise(points), lengths, strict=True):
        direction = ((b[0] - a[0]) / length, (b[1] - a[1]) / length)
        if left <= length:
            break
        left -= length
    return (a[0] + direction[0] * left, a[1] + direction[1] * left), direction

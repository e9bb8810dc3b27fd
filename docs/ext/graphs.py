"""The directive ``graph``: the computation graph of a normaliser, or one node of it, as a drawing in the page.

::

    .. graph:: batch_norm
    .. graph:: batch_norm
       :node: var

Forward arrows are black, backward ones red and dashed. A box leads to its equation, a local derivative to the line of
code that multiplies by it; what else belongs to a step, its line of ``forward`` and its exercise, is linked below.
What is drawn is in ``steps``; a build with ``-W`` fails where it names something that does not exist.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import scan
import steps
import svg
from docutils import nodes
from docutils.parsers.rst import directives
from equations import anchor, code_page, equations
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from steps import Arrow, Graph, Node
from svg import Box, Point

logger = logging.getLogger(__name__)

_PITCH, _TOP, _HEIGHT = 80, 76, 42
"""Between rows, above the first of them, and of a box."""

_CARDS = 6
"""By how much the cards of a memory stick out behind the first."""

_COLUMNS = {
    False: ((66, 128), (272, 128), (272, 128)),
    True: ((44, 84), (172, 100), (300, 92)),
}
"""The middles and the widths of boxes, by whether there is a third column."""

_APART = 4.5
"""Each of two opposite arrows from the line between their boxes."""

Resolve = Callable[[str, str], str]
"""From a page and a place on it to an address."""


class Drawing(nodes.General, nodes.Element):
    """Stands for a drawing until the pages that it leads to are known."""


class GraphDirective(SphinxDirective):
    """A graph, or with ``:node:`` one of its nodes and what it is connected to."""

    required_arguments = 1
    option_spec = {"node": directives.unchanged}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        if self.arguments[0] not in steps.GRAPHS:
            raise self.error(f"there is no graph {self.arguments[0]!r}, expected one of {', '.join(steps.GRAPHS)}")
        graph, name = steps.GRAPHS[self.arguments[0]], self.options.get("node", "")
        if name and name not in [node.name for node in graph.nodes]:
            raise self.error(f"the graph {self.arguments[0]!r} has no node {name!r}")
        self.env.note_reread()  # lines of code may have moved
        return [Drawing(graph=self.arguments[0], node=name)]


class ResolveDrawings(SphinxPostTransform):
    """Put the drawings into the pages."""

    default_priority = 5

    def run(self, **kwargs: Any) -> None:
        for drawing in list(self.document.findall(Drawing)):
            graph, name = steps.GRAPHS[drawing["graph"]], drawing["node"]
            places = _Places(graph, Path(self.config.source_root), self.env, self._address)
            html = frame(graph, graph.node(name), places) if name else whole(graph, places)
            drawing.replace_self(nodes.raw("", html, format="html"))

    def _address(self, page: str, fragment: str) -> str:
        if page not in self.env.found_docs:
            return ""
        here = self.env.current_document.docname
        uri = "" if page == here else self.app.builder.get_relative_uri(here, page)
        return f"{uri}#{fragment}" if fragment else uri


class _Places:
    """Addresses of what belongs to the steps of one graph."""

    def __init__(self, graph: Graph, root: Path, env: BuildEnvironment, resolve: Resolve) -> None:
        self._graph, self._root, self._pages, self._resolve = graph, root, equations(env), resolve

    def equation(self, label: str) -> str:
        page = self._pages[label].page if label in self._pages else ""
        return self._resolve(page, nodes.make_id(f"equation-{label}"))

    def number(self, label: str) -> str:
        number = self._pages[label].number if label in self._pages else None
        return f" ({number})" if number else ""

    def forward(self, node: Node) -> tuple[str, str]:
        return self._code(steps.forward_place(self._graph, node, self._root) if node.line else None)

    def backward(self, arrow: Arrow) -> tuple[str, str]:
        return self._code(steps.backward_place(self._graph, arrow, self._root) if arrow.line else None)

    def _code(self, place: scan.Place | None) -> tuple[str, str]:
        if place is None:
            return "", ""
        return self._resolve(code_page(place.path), anchor(place)), f"{place.name}, line {place.line}"

    def exercise(self, node: Node) -> tuple[str, str]:
        folder, _, function = node.exercise.partition(".")
        return self._resolve(f"course/{folder}", ""), f"exercise {folder[:2]}, {function}"


def whole(graph: Graph, places: _Places) -> str:
    """The drawing of all nodes, and the list of what belongs to each."""
    boxes = {node.name: _box(graph, node) for node in graph.nodes}
    marks = _legend(graph)
    for arrow in graph.arrows:
        marks += _arrow(graph, arrow, boxes)
    marks += [_node(graph, node, boxes[node.name], places) for node in graph.nodes]
    marks += _labels(graph, boxes, places)
    height = max(box.y for box in boxes.values()) + _HEIGHT / 2 + 8
    name = f"graph-{graph.module.replace('_', '-')}"
    image = svg.drawing(name, graph.title, graph.text, height, marks, links=True)
    lines = "".join(f"<li>{_listed(graph, node, places)}</li>" for node in graph.nodes if node.kind != "gone")
    listed = f"<details><summary>Each step: equation, code, exercise</summary><ul>{lines}</ul></details>"
    return f'<figure class="graph">{image}<figcaption>{listed}</figcaption></figure>'


def _column(graph: Graph, column: float) -> float:
    at, after = _COLUMNS[_three(graph)][int(column)], _COLUMNS[_three(graph)][min(int(column) + 1, 2)]
    return at[0] + (column % 1) * ((after[0] - at[0]) or 128)


def _three(graph: Graph) -> bool:
    return any(node.column > 1 for node in graph.nodes)


def _row(row: float) -> float:
    return _TOP + _PITCH * row


def _box(graph: Graph, node: Node) -> Box:
    x, width = _column(graph, node.column), _COLUMNS[_three(graph)][round(node.column)][1]
    if node.kind == "memory":
        return Box(x, _row(node.row), width + _CARDS, _HEIGHT + _CARDS)
    return Box(x, _row(node.row), width, 30 if node.kind == "parameter" else _HEIGHT)


def _legend(graph: Graph) -> list[str]:
    kinds, marks = {arrow.kind for arrow in graph.arrows}, []
    marks += [svg.arrow([(6, 10), (38, 10)], "forward"), svg.text((44, 14), "forward", "note", "start")]
    marks += [svg.arrow([(134, 10), (102, 10)], "backward")]
    marks += [svg.text((140, 14), "backward, times the local derivative", "note back", "start")]
    if "cut" in kinds:
        marks += [svg.scissors((20, 32)), svg.text((44, 36), "cut: a constant", "note", "start")]
    if any(node.kind == "memory" for node in graph.nodes):
        marks += [
            _memory(Box(154, 32, 30, 20), "memory"),
            svg.text((176, 36), "memory, kept between calls", "note", "start"),
        ]
    if "next" in kinds:
        marks += [
            svg.arrow([(140, 50), (168, 50)], "forward next"),
            svg.text((176, 54), "for the next batch", "note", "start"),
        ]
    if any(node.kind == "gone" for node in graph.nodes):
        marks += [svg.rectangle(Box(18, 32, 24, 14), "box gone"), svg.text((44, 36), "gone", "note", "start")]
    return marks


def _memory(box: Box, style: str) -> str:
    """A stack of cards that fills a box."""
    width, height, behind = box.width - _CARDS, box.height - _CARDS, style.replace("here", "")
    return "".join(
        svg.rectangle(Box(box.x + by, box.y - by, width, height), f"box {style if by < 0 else behind}")
        for by in (3, 0, -3)
    )


def _node(graph: Graph, node: Node, box: Box, places: _Places, style: str = "") -> str:
    if node.kind == "gone":
        said = svg.text((box.x - box.width / 2 + 8, box.y + 4), node.name, "note name gone", "start")
        said += svg.text((box.x + box.width / 2 - 8, box.y + 4), "gone", "note gone", "end")
        return svg.rectangle(box, "box gone") + said
    only_back = {arrow.kind for arrow in graph.arrows if node.name in arrow[:2]} == {"back"}
    style = f"{style} {node.kind} {'back' if only_back else ''}"
    x, y, marks = box.x, box.y, svg.rectangle(box, f"box {style}")
    if node.kind == "memory":
        x, y, marks = x - 3, y + 3, _memory(box, style)
    if node.kind == "parameter":
        marks += svg.text((x, y + 5), node.name, "name")
    else:
        marks += svg.text((x, y - 3), node.name, "name") + svg.text((x, y + 14), node.formula, "formula")
    return svg.link(places.equation(node.label), f"{node.name}, {node.formula}: equation {node.label}", marks)


def _arrow(graph: Graph, arrow: Arrow, boxes: dict[str, Box]) -> list[str]:
    """The lines of an arrow; its local derivative is written later, over all lines."""
    start, end = boxes[arrow.start], boxes[arrow.end]
    via = [(_column(graph, column), _row(row)) for column, row in arrow.via]
    marks = []
    if arrow.kind != "back":
        offset = -_APART if arrow.kind in ("both", "cut") else arrow.aside
        marks.append(svg.arrow(svg.between(start, end, via, offset), _style(arrow)))
    if arrow.kind in ("both", "back"):
        marks.append(svg.arrow(_way_back(graph, arrow, boxes), "backward"))
    if arrow.kind == "cut":
        marks += _cut(svg.between(end, start, via[::-1], -_APART))
    return marks


def _style(arrow: Arrow) -> str:
    return "forward next" if arrow.kind == "next" else "forward"


def _cut(way: list[Point]) -> list[str]:
    """A way back that ends half way, between the blades of scissors that are held away from the way forward."""
    half, (dx, dy) = svg.along(way)
    held = (half[0] - dy * 7, half[1] + dx * 7)
    return [svg.path([way[0], half], "line backward"), svg.scissors(held, math.degrees(math.atan2(-dx, dy)))]


def _way_back(graph: Graph, arrow: Arrow, boxes: dict[str, Box]) -> list[Point]:
    via = [(_column(graph, column), _row(row)) for column, row in arrow.back_via or arrow.via[::-1]]
    return svg.between(boxes[arrow.end], boxes[arrow.start], via, -_APART if arrow.kind == "both" else 0.0)


def _labels(graph: Graph, boxes: dict[str, Box], places: _Places) -> list[str]:
    return [
        _local(arrow, svg.beside(_way_back(graph, arrow, boxes), arrow.local, "local", arrow.label_at), places)
        for arrow in graph.arrows
        if arrow.local
    ]


def _local(arrow: Arrow, label: str, places: _Places) -> str:
    address, line = places.backward(arrow)
    return svg.link(address, f"local derivative {arrow.local}: {line}", label)


def _listed(graph: Graph, node: Node, places: _Places) -> str:
    """What belongs to a node, as links."""
    equation = _linked(places.equation(node.label), f"{node.label}{places.number(node.label)}")
    parts = [f"<code>{escape(node.name)}</code>, {escape(node.formula)}: equation {equation}"]
    if node.line:
        parts.append("code " + _linked(*places.forward(node)))
    back = dict.fromkeys(places.backward(arrow) for arrow in graph.into(node.name) if arrow.line)
    numbered = [(address, said if i == 0 else said.rpartition(" ")[2]) for i, (address, said) in enumerate(back)]
    parts += [", ".join(_linked(*place) for place in numbered)] if back else []
    if node.exercise:
        parts.append(_linked(*places.exercise(node)))
    return " · ".join(parts)


def _linked(address: str, said: str) -> str:
    return f'<a class="reference internal" href="{escape(address)}">{escape(said)}</a>' if address else escape(said)


def frame(graph: Graph, node: Node, places: _Places) -> str:
    """One node, what it takes above it, what takes it below it, and where it is in the graph."""
    takes, users = graph.into(node.name), graph.out_of(node.name) or [Arrow(node.name, "the loss")]
    above = _in_a_row(24, [(arrow.start, arrow.local) for arrow in takes])
    below = _in_a_row(206, [(arrow.end, "") for arrow in users])
    left = min(box.x - box.width / 2 for box in (*above, *below))
    right = max(box.x + box.width / 2 for box in (*above, *below))
    main = Box((left + right) / 2, 122, max(right - left, 150), 54)
    marks = [*_map(graph, node), _node(graph, node, main, places, "here")]
    for arrow, box in zip(takes, above, strict=True):
        marks += [*_upright(arrow, (box.x, box.y + 15), main.y - 29), _small(graph.node(arrow.start), box, places)]
        label = svg.text((box.x + _APART + 6, 74), arrow.local, "local", "start")
        marks += [_local(arrow, label, places)] if arrow.local else []
    for arrow, box in zip(users, below, strict=True):
        marks += _upright(arrow, (box.x, main.y + 29), box.y - 15)
        marks.append(_small(graph.node(arrow.end), box, places) if arrow.end != "the loss" else _after(box))
    arriving = [box.x for arrow, box in zip(users, below, strict=True) if arrow.kind in ("both", "back")]
    if len(arriving) > 1:
        middle = sum(arriving) / 2
        marks += [svg.text((middle, 172), node.arriving, "local"), svg.text((middle, 187), "is the sum", "local")]
    marks += [
        svg.text((x + _APART + 6, 178), node.arriving, "local", "start") for x in arriving if len(arriving) == 1
    ]
    name = f"graph-{graph.module}-{node.name}".replace("_", "-")
    into = ", ".join(f"{arrow.local} on the way to {arrow.start}" for arrow in takes if arrow.local)
    told = (
        f"{node.arriving} comes back to it and is multiplied by {into}." if into else "Nothing goes back through it."
    )
    image = svg.drawing(
        name, f"The step {node.name}", f"{node.name} is {node.formula}. {told}", 230, marks, links=True
    )
    return f'<figure class="graph frame">{image}<figcaption>{_listed(graph, node, places)}</figcaption></figure>'


def _in_a_row(y: float, named: list[tuple[str, str]]) -> list[Box]:
    """Boxes beside one another, each as wide as its name, with room for a label to the right of its middle."""
    least, gap = {1: 98, 2: 80}.get(len(named), 36), 6
    widths = [max(8 * len(name) + 12, least) for name, _ in named]
    if len(named) == 1:
        return [Box(208, y, widths[0], 26)]
    rooms = [max(width / 2, _APART + 10 + svg.width(label)) for width, (_, label) in zip(widths, named, strict=True)]
    x, boxes = 219 - (sum(widths) / 2 + sum(rooms) + gap * (len(rooms) - 1)) / 2, []
    for width, room in zip(widths, rooms, strict=True):
        boxes.append(Box(x + width / 2, y, width, 26))
        x += width / 2 + room + gap
    return boxes


def _upright(arrow: Arrow, start: Point, end: float) -> list[str]:
    """The same arrows as in the whole drawing, from a point straight down."""
    x, y = start
    marks = [] if arrow.kind == "back" else [svg.arrow([(x - _APART, y), (x - _APART, end)], _style(arrow))]
    if arrow.kind in ("both", "back"):
        marks.append(svg.arrow([(x + _APART, end), (x + _APART, y)], "backward"))
    return [*marks, *_cut([(x + _APART, end), (x + _APART, y)])] if arrow.kind == "cut" else marks


def _small(node: Node, box: Box, places: _Places) -> str:
    marks = svg.rectangle(box, f"box {node.kind}") + svg.text((box.x, box.y + 5), node.name, "name")
    return svg.link(places.equation(node.label), f"{node.name}: equation {node.label}", marks)


def _after(box: Box) -> str:
    return svg.rectangle(box, "box parameter") + svg.text((box.x, box.y + 5), "the loss", "formula")


def _map(graph: Graph, here: Node) -> list[str]:
    """The graph in small, without words, the node of the frame filled."""
    scale, marks = 0.21, []
    boxes = {
        node.name: Box(2 + scale * box.x, 4 + scale * (box.y - 30), scale * box.width, scale * box.height)
        for node in graph.nodes
        for box in (_box(graph, node),)
    }
    for arrow in graph.arrows:
        marks.append(svg.path(svg.between(boxes[arrow.start], boxes[arrow.end]), "line map"))
    for node in graph.nodes:
        marks.append(svg.rectangle(boxes[node.name], "box map here" if node == here else "box map"))
    return marks


def check(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of what a drawing names and what does not exist."""
    for graph in steps.GRAPHS.values():
        for hole in steps.broken(graph, set(equations(env)), Path(app.config.source_root)):
            logger.warning("graph: %s", hole)


def setup(app: Sphinx) -> dict[str, Any]:
    app.setup_extension("equations")
    app.add_directive("graph", GraphDirective)
    app.add_post_transform(ResolveDrawings)
    app.connect("env-check-consistency", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

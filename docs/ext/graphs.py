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
        marks += _arrow(graph, arrow, boxes, places)
    marks += [_node(graph, node, boxes[node.name], places) for node in graph.nodes]
    marks += _labels(graph, boxes, places)
    height = max(box.y for box in boxes.values()) + _HEIGHT / 2 + 8
    name = f"graph-{graph.module.replace('_', '-')}"
    image = svg.drawing(name, graph.title, graph.text, height, marks, links=True)
    lines = "".join(f"<li>{_listed(graph, node, places)}</li>" for node in graph.nodes if node.kind != "gone")
    listed = f"<details><summary>Each step: equation, code, exercise</summary><ul>{lines}</ul></details>"
    return f'<figure class="graph">{image}<figcaption>{listed}</figcaption></figure>'


def _column(graph: Graph, column: float) -> float:
    if _three(graph):
        return 52 + 126 * column
    return 68 + 214 * column


def _three(graph: Graph) -> bool:
    return any(node.column > 1 for node in graph.nodes)


def _row(row: float) -> float:
    return _TOP + _PITCH * row


def _box(graph: Graph, node: Node) -> Box:
    height = 30 if node.kind == "parameter" else _HEIGHT
    return Box(_column(graph, node.column), _row(node.row), 96 if _three(graph) else 128, height)


def _legend(graph: Graph) -> list[str]:
    kinds, marks = {arrow.kind for arrow in graph.arrows}, []
    marks += [svg.arrow([(6, 10), (38, 10)], "forward"), svg.text((44, 14), "forward", "note", "start")]
    marks += [svg.arrow([(134, 10), (102, 10)], "backward")]
    marks += [svg.text((140, 14), "backward, times the local derivative", "note back", "start")]
    if "cut" in kinds:
        marks += [svg.scissors((20, 32)), svg.text((44, 36), "cut: a constant", "note", "start")]
    if any(node.kind == "memory" for node in graph.nodes):
        marks += [
            _memory(Box(154, 33, 22, 12), ""),
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
    cards = "".join(
        svg.rectangle(Box(box.x + by, box.y - by, box.width, box.height), f"box memory {style}") for by in (6, 3, 0)
    )
    return cards


def _node(graph: Graph, node: Node, box: Box, places: _Places, style: str = "") -> str:
    if node.kind == "gone":
        said = svg.text((box.x - box.width / 2 + 8, box.y + 4), node.name, "note name gone", "start")
        said += svg.text((box.x + box.width / 2 - 8, box.y + 4), "gone", "note gone", "end")
        return svg.rectangle(box, "box gone") + said
    only_back = {arrow.kind for arrow in graph.arrows if node.name in arrow[:2]} == {"back"}
    style = f"{style} {node.kind} {'back' if only_back else ''}"
    shape = _memory(box, style) if node.kind == "memory" else svg.rectangle(box, f"box {style}")
    if node.kind == "parameter":
        marks = shape + svg.text((box.x, box.y + 5), node.name, "name")
    else:
        marks = shape + svg.text((box.x, box.y - 3), node.name, "name")
        marks += svg.text((box.x, box.y + 14), node.formula, "formula")
    return svg.link(places.equation(node.label), f"{node.name}, {node.formula}: equation {node.label}", marks)


def _arrow(graph: Graph, arrow: Arrow, boxes: dict[str, Box], places: _Places) -> list[str]:
    """The lines of an arrow; its local derivative is written later, over all lines."""
    start, end = boxes[arrow.start], boxes[arrow.end]
    via = [(_column(graph, column), _row(row)) for column, row in arrow.via]
    offset = 4.5 if arrow.kind == "both" else 0.0
    marks = []
    if arrow.kind != "back":
        style = "forward next" if arrow.kind == "next" else "forward"
        marks.append(svg.arrow(svg.between(start, end, via, -offset), style))
    if arrow.kind in ("both", "back"):
        marks.append(svg.arrow(_way_back(graph, arrow, boxes), "backward"))
    if arrow.kind == "cut":
        way = svg.between(end, start, via[::-1], -6)
        half = svg.middle(way)
        angle = math.degrees(math.atan2(way[0][1] - half[1], way[0][0] - half[0])) + 90
        marks += [svg.path([way[0], half], "line backward"), svg.scissors(half, angle)]
    return marks


def _way_back(graph: Graph, arrow: Arrow, boxes: dict[str, Box]) -> list[Point]:
    via = [(_column(graph, column), _row(row)) for column, row in arrow.back_via or arrow.via[::-1]]
    return svg.between(boxes[arrow.end], boxes[arrow.start], via, -4.5 if arrow.kind == "both" else 0.0)


def _labels(graph: Graph, boxes: dict[str, Box], places: _Places) -> list[str]:
    marks = []
    for arrow in graph.arrows:
        if not arrow.local:
            continue
        way = _way_back(graph, arrow, boxes)
        x, y = svg.middle(way)
        upright = abs(way[0][0] - way[-1][0]) < 10
        upright = upright or bool(arrow.back_via)
        anchor_at = "start" if upright else "middle"
        at = (x + arrow.shift[0], y + arrow.shift[1] + 4)
        if upright and arrow.kind == "both" and graph.node(arrow.end).column:
            at, anchor_at = (at[0] - 15, at[1]), "end"  # there is no room on the right
        elif upright:
            at = (at[0] + 6, at[1])
        elif abs(way[0][1] - way[-1][1]) < 10:
            at = (at[0], at[1] + (13 if arrow.kind == "both" else -11))
        label = svg.text(at, arrow.local, "local", anchor_at)
        address, line = places.backward(arrow)
        marks.append(svg.link(address, f"local derivative {arrow.local}: {line}", label))
    return marks


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
    takes = [arrow for arrow in graph.into(node.name) if arrow.kind != "next"]
    users = graph.out_of(node.name)
    middle, top, centre, bottom = 206.0, 24.0, 122.0, 206.0
    main = Box(middle, centre, 150, 54)
    marks = _map(graph, node)
    above = _spread(middle, top, len(takes))
    below = _spread(middle, bottom, max(len(users), 1))
    labels = []
    for arrow, box in zip(takes, above, strict=True):
        source = graph.node(arrow.start)
        from_here = Box(main.x + 0.45 * (box.x - main.x), main.y, 2, main.height)
        marks.append(svg.arrow(svg.between(box, from_here, (), -4.5), "forward"))
        marks.append(svg.arrow(svg.between(from_here, box, (), -4.5), "backward"))
        marks.append(_small(source, box, places))
        left = box.x < middle - 1
        at = (box.x + 0.3 * (main.x - box.x) + (-17 if left else 9), 70.0)
        label = svg.text(at, arrow.local, "local", "end" if left else "start")
        labels.append(svg.link(places.backward(arrow)[0], f"local derivative {arrow.local}", label))
    for i, box in enumerate(below):
        to_here = Box(main.x + 0.45 * (box.x - main.x), main.y, 2, main.height)
        marks.append(svg.arrow(svg.between(to_here, box, (), -4.5), "forward"))
        marks.append(svg.arrow(svg.between(box, to_here, (), -4.5), "backward"))
        marks.append(_small(graph.node(users[i].end), box, places) if users else _after(box))
    if len(users) > 1:
        labels += [svg.text((middle, 172), node.arriving, "local"), svg.text((middle, 187), "is the sum", "local")]
    else:
        labels.append(svg.text((middle + 12, 178), node.arriving, "local", "start"))
    marks += [_node(graph, node, main, places, "here"), *labels]
    name = f"graph-{graph.module}-{node.name}".replace("_", "-")
    into = ", ".join(f"{arrow.local} on the way to {arrow.start}" for arrow in takes)
    told = f"{node.name} is {node.formula}. {node.arriving} comes back to it and is multiplied by {into}."
    image = svg.drawing(name, f"The step {node.name}", told, 230, marks, links=True)
    return f'<figure class="graph frame">{image}<figcaption>{_listed(graph, node, places)}</figcaption></figure>'


def _spread(middle: float, y: float, count: int) -> list[Box]:
    width = {1: 104, 2: 104, 3: 76}[count]
    gap = 112 if count == 2 else 84
    return [Box(middle + gap * (i - (count - 1) / 2), y, width, 26) for i in range(count)]


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

"""The drawings of graphs name equations, lines of code and exercises that exist, and say in words what they show."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.docs.building import EXTENSIONS, complaints, configuration

ROOT = EXTENSIONS.parents[1]
pytestmark = pytest.mark.docs
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def ext(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The extensions that draw."""
    pytest.importorskip("sphinx", reason='sphinx is not installed: pip install "mabn_ref[docs]"')
    monkeypatch.setattr(sys, "path", [str(EXTENSIONS), *sys.path])
    import graphs
    import pictures
    import steps

    return steps, graphs, pictures


@pytest.fixture(scope="module")
def labels() -> set[str]:
    pages = [page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "derivations").glob("*.rst")]
    return {label for page in pages for label in re.findall(r"^ *\.\. equation:: (\S+)", page, re.MULTILINE)}


def test_everything_that_a_drawing_names_exists(ext: Any, labels: set[str]) -> None:
    steps, _, _ = ext
    assert [hole for graph in steps.GRAPHS.values() for hole in steps.broken(graph, labels, ROOT)] == []


@pytest.mark.parametrize(
    ("field", "wrong", "said"),
    [
        ("label", "bn-nothing", "batch_norm.var: no equation bn-nothing"),
        ("line", "nothing", "batch_norm.var: no line of forward with an equation assigns nothing"),
        ("exercise", "03_bn_backward_graph.nothing", "batch_norm.var: no exercise 03_bn_backward_graph.nothing"),
        ("exercise", "99_nothing.root_backward", "batch_norm.var: no exercise 99_nothing.root_backward"),
    ],
)
def test_what_a_node_names_wrongly_is_noticed(ext: Any, labels: set[str], field: str, wrong: str, said: str) -> None:
    steps, _, _ = ext
    graph = steps.BATCH_NORM
    nodes = [node._replace(**{field: wrong}) if node.name == "var" else node for node in graph.nodes]
    assert steps.broken(graph._replace(nodes=tuple(nodes)), labels, ROOT) == [said]


def test_what_an_arrow_names_wrongly_is_noticed(ext: Any, labels: set[str]) -> None:
    steps, _, _ = ext
    graph = steps.BATCH_NORM
    arrow = graph.arrows[0]
    for changed, said in (
        (arrow._replace(start="nothing"), "batch_norm: no node nothing"),
        (
            arrow._replace(line="dx", nth=1),
            "batch_norm: x to mu: no line of backward_graph with an equation assigns dx",
        ),
    ):
        assert steps.broken(graph._replace(arrows=(changed,)), labels, ROOT) == [said]


def test_the_lines_are_those_of_the_step(ext: Any) -> None:
    """The second assignment of dcentred adds what comes through var."""
    steps, _, _ = ext
    graph = steps.BATCH_NORM
    source = (ROOT / "mabn_ref/norms/batch_norm.py").read_text(encoding="utf-8").splitlines()
    through_var, direct = (steps.backward_place(graph, arrow, ROOT) for arrow in graph.out_of("centred"))
    assert "2 * centred * dvar / values" in source[through_var.line - 1]
    assert "dy / sigma" in source[direct.line - 1]
    var = steps.forward_place(graph, graph.node("var"), ROOT)
    assert "var = mean_square(centred, x)" in source[var.line - 1]


def test_pictures_have_words(ext: Any) -> None:
    _, _, pictures = ext
    for draw in pictures.PICTURES.values():
        _has_words(draw())


class NoPlaces:
    """Addresses of a drawing that leads nowhere."""

    def equation(self, label: str) -> str:
        return ""

    number = equation

    def forward(self, node: Any) -> tuple[str, str]:
        return "", ""

    backward = exercise = forward


def _drawings(ext: Any) -> dict[str, str]:
    """Every drawing of a graph, and every frame that a page could show."""
    steps, graphs, _ = ext
    found = {}
    for name, graph in steps.GRAPHS.items():
        found[name] = graphs.whole(graph, NoPlaces())
        walked = [node for node in graph.nodes if graph.into(node.name)]
        found |= {f"{name}.{node.name}": graphs.frame(graph, node, NoPlaces()) for node in walked}
    return found


def _touching(image: ET.Element) -> list[str]:
    """Local derivatives that touch a box, a line or another, or leave the drawing."""
    labels, boxes, crossed = [], [], []
    for text in image.iter(f"{SVG}text"):
        if text.attrib["class"] == "local" and text.text:
            width = sum(3.8 if letter in " /()," else 7 for letter in text.text)
            left = float(text.attrib["x"]) - width * {"start": 0, "middle": 0.5, "end": 1}[text.attrib["text-anchor"]]
            bottom = float(text.attrib["y"])
            labels.append((text.text, (left, bottom - 9, left + width, bottom + 1)))
    for box in image.iter(f"{SVG}rect"):
        x, y, width, height = (float(box.attrib[key]) for key in ("x", "y", "width", "height"))
        boxes.append((x, y, x + width, y + height))
    areas = [*boxes, *(area for _, area in labels)]
    for line in image.iter(f"{SVG}path"):
        style = line.get("class", "map")
        if "line" in style and "map" not in style:
            points = [tuple(map(float, at.split())) for at in line.attrib["d"][1:].split("L")]
            for (ax, ay), (bx, by) in pairwise(points):
                areas += [
                    (x, y, x, y)
                    for i in range(101)
                    for x, y in [(ax + (bx - ax) * i / 100, ay + (by - ay) * i / 100)]
                ]
    for said, here in labels:
        inside = here[0] >= 0 and here[2] <= 360
        crossed += [said] if not inside or any(here is not area and _overlap(here, area) for area in areas) else []
    return crossed


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def test_no_label_touches_a_box_a_line_or_another(ext: Any) -> None:
    touching = {name: _touching(_has_words(drawing)) for name, drawing in _drawings(ext).items()}
    assert {name: said for name, said in touching.items() if said} == {}


def test_no_arrow_ends_in_a_box(ext: Any) -> None:
    """A head that lies under a box is not seen."""
    for name, drawing in _drawings(ext).items():
        image = _has_words(drawing)
        boxes = [
            tuple(float(box.attrib[key]) for key in ("x", "y", "width", "height")) for box in image.iter(f"{SVG}rect")
        ]
        for head in image.iter(f"{SVG}polygon"):
            for corner in head.attrib["points"].split():
                x, y = map(float, corner.split(","))
                under = [box for box in boxes if box[0] < x < box[0] + box[2] and box[1] < y < box[1] + box[3]]
                assert under == [], f"{name}: a head at {corner}"


def _has_words(html: str) -> ET.Element:
    image = ET.fromstring(re.search(r"<svg.*?</svg>", html, re.DOTALL)[0])  # type: ignore[index]
    named = image.attrib["aria-labelledby"].split()
    assert [image.find(f"{SVG}{tag}").attrib["id"] for tag in ("title", "desc")] == named  # type: ignore[union-attr]
    assert all(image.find(f"{SVG}{tag}").text for tag in ("title", "desc"))  # type: ignore[union-attr]
    _, _, width, height = map(float, image.attrib["viewBox"].split())
    for text in image.iter(f"{SVG}text"):
        assert 0 <= float(text.attrib["x"]) <= width
        assert 0 <= float(text.attrib["y"]) <= height
    return image


PAGE = """Page
====

.. equation:: bn-statistics

   v

.. graph:: batch_norm

.. graph:: batch_norm
   :node: var
"""


def test_a_page_with_drawings(ext: Any, tmp_path: Path) -> None:
    """A box is a link to its equation; what leads nowhere in this small project is said."""
    (tmp_path / "conf.py").write_text(
        configuration("graphs", source_root=str(ROOT), trace_exempt={}, math_numfig=False)
    )
    (tmp_path / "index.rst").write_text(PAGE)
    said = complaints(tmp_path)
    assert "graph: mabn.chi: no equation mabn-forward" in said
    assert "graph: batch_norm.var" not in said
    html = (tmp_path / "html" / "index.html").read_text(encoding="utf-8")
    drawings = re.findall(r"<figure.*?</figure>", html, re.DOTALL)
    assert len(drawings) == 2
    for drawing in drawings:
        image = _has_words(drawing)
        links = {link.attrib["href"] for link in image.iter(f"{SVG}a")}
        assert links == {"#equation-bn-statistics"}
    assert {"var", "centred"} <= {text.text for text in _has_words(drawings[1]).iter(f"{SVG}text")}


def test_a_graph_that_is_not_there_is_an_error(ext: Any, tmp_path: Path) -> None:
    (tmp_path / "conf.py").write_text(configuration("graphs", "pictures", source_root=str(ROOT), trace_exempt={}))
    page = ".. graph:: bath_norm\n\n.. graph:: batch_norm\n   :node: bar\n\n.. picture:: nothing\n"
    (tmp_path / "index.rst").write_text(f"Page\n====\n\n{page}")
    said = complaints(tmp_path)
    for part in ("no graph 'bath_norm'", "no node 'bar'", "no picture 'nothing'"):
        assert part in said

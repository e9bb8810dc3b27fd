"""What is folded under a line, with the elements ``details`` and ``summary``; a script opens a link's target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx


class Details(nodes.General, nodes.Element):
    """What is folded under its `Summary`."""


class Summary(nodes.General, nodes.TextElement):
    """The line of `Details` that is always seen."""


def _tag(name: str) -> tuple[Callable[[Any, nodes.Element], None], Callable[[Any, nodes.Element], None]]:
    """How a writer of HTML enters and leaves a node that is an element of this name."""

    def enter(writer: Any, node: nodes.Element) -> None:
        writer.body.append(writer.starttag(node, name, ""))

    def leave(writer: Any, node: nodes.Element) -> None:
        writer.body.append(f"</{name}>")

    return enter, leave


def add_script(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: nodes.document | None) -> None:
    """Pages with something folded load the script."""
    if tree is not None and next(tree.findall(Details), None) is not None:
        app.add_js_file("details.js", loading_method="defer")


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_node(Details, html=_tag("details"))
    app.add_node(Summary, html=_tag("summary"))
    app.connect("html-page-context", add_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

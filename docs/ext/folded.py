"""On the pages of tutorials the call that draws a figure is folded away: its code is shown on demand."""

from __future__ import annotations

from typing import Any

from details import Details, Summary
from docutils import nodes
from sphinx.application import Sphinx


def fold(app: Sphinx, doctree: nodes.document) -> None:
    """Split a block of code before its call of ``draw``, and put the call into a closed element."""
    if not app.env.docname.startswith("tutorials/"):
        return
    for block in list(doctree.findall(nodes.literal_block)):
        before, call, after = f"\n{block.astext()}".partition("\ndraw(\n")
        if not call:
            continue
        shown = [Details("", Summary("", "Code of the figure"), _code(f"draw(\n{after}", block))]
        if before.strip():
            shown.insert(0, _code(before.strip("\n"), block))
        block.replace_self(shown)


def _code(text: str, like: nodes.literal_block) -> nodes.literal_block:
    return nodes.literal_block(text, text, **like.attributes)  # without its source Sphinx does not colour it


def setup(app: Sphinx) -> dict[str, Any]:
    app.setup_extension("details")
    app.connect("doctree-read", fold)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""The directive ``catalogue``: the package's catalogue of mistakes, by the module that each is wrong in."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from mabn_ref.mistakes import MISTAKES, Mistake


class CatalogueDirective(SphinxDirective):
    """A section for each module, with its mistakes."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        by_module: dict[str, list[Mistake]] = {}
        for mistake in MISTAKES:
            by_module.setdefault(mistake.subject.__name__.removeprefix("mabn_ref."), []).append(mistake)
        lines = []
        for module, mistakes in by_module.items():
            lines += [f"``{module}``", "-" * (len(module) + 4), ""]
            for mistake in mistakes:
                equation = re.sub(r"^([a-z0-9-]+)", r":eq:`\1`", mistake.equation)
                lines += [f"``{mistake.name}``", f"   {mistake.sentence}", ""]
                lines += [f"   *Breaks* {equation}. *Rejected by* {mistake.oracle}.", ""]
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("catalogue", CatalogueDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""The directive ``catalogue``: the package's catalogue of mistakes, by the module that each is an edit of."""

from __future__ import annotations

import difflib
import inspect
import re
import textwrap
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from mabn_ref.mistakes import MISTAKES, Mistake
from mabn_ref.mistakes.edit import edited_source


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
                lines += ["   .. code-block:: diff", "", *(f"      {line}" for line in changed_lines(mistake)), ""]
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def changed_lines(mistake: Mistake) -> list[str]:
    """The lines of the right file that the mistake takes out and puts in, with - and + before them."""
    right = inspect.getsource(mistake.subject).splitlines()
    wrong = edited_source(mistake.subject, mistake.edits.items(), name=mistake.name).splitlines()
    changed = ["" if line.startswith("@@") else line for line in difflib.unified_diff(right, wrong, n=0)][3:]
    texts = textwrap.dedent("\n".join(line[1:].partition("  # eq: ")[0] for line in changed)).splitlines()
    return [f"{line[:1]} {text}".rstrip() for line, text in zip(changed, texts, strict=True)]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("catalogue", CatalogueDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

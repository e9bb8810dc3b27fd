"""The directives ``symptoms`` and ``catalogue``: the mistakes by what is seen first, and by the module of each."""

from __future__ import annotations

import difflib
import inspect
import re
import textwrap
from pathlib import Path
from typing import Any

from details import Details, Summary
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from mabn_ref.mistakes import MISTAKES, Mistake
from mabn_ref.mistakes.edit import edited_source
from mabn_ref.mistakes.symptoms import NOTHING_SPECIAL, SYMPTOMS, symptoms


class SymptomsDirective(SphinxDirective):
    """What is seen first, and the mistakes with which it is; all of them are run for that."""

    def run(self) -> list[nodes.Node]:
        note_sources(self)
        by_symptom: dict[str, list[Mistake]] = {seen: [] for seen in [*SYMPTOMS, NOTHING_SPECIAL]}
        for mistake in MISTAKES:
            for seen in symptoms(mistake):
                by_symptom[seen].append(mistake)
        shown: list[nodes.Node] = []
        for seen, mistakes in by_symptom.items():
            listed = nodes.bullet_list()
            for mistake in mistakes:
                link = nodes.reference("", "", nodes.literal("", mistake.name), internal=True, refid=anchor(mistake))
                listed += nodes.list_item("", nodes.paragraph("", "", link, nodes.Text(f" {mistake.sentence}")))
            shown.append(Details("", Summary("", f"{seen} ({len(mistakes)})"), listed, classes=["symptom"]))
        return shown


class CatalogueDirective(SphinxDirective):
    """A section for each module, with its mistakes: the right lines and the wrong ones side by side."""

    def run(self) -> list[nodes.Node]:
        note_sources(self)
        by_module: dict[str, list[Mistake]] = {}
        for mistake in MISTAKES:
            by_module.setdefault(mistake.subject.__name__.removeprefix("mabn_ref."), []).append(mistake)
        shown: list[nodes.Node] = []
        for module, mistakes in by_module.items():
            section = nodes.section(ids=[nodes.make_id(module)], names=[module])
            section += nodes.title("", "", nodes.literal("", module))
            section += [self._mistake(mistake) for mistake in mistakes]
            shown.append(section)
        return shown

    def _mistake(self, mistake: Mistake) -> nodes.Node:
        summary = Summary("", "", nodes.literal("", mistake.name), nodes.Text(f" {mistake.sentence}"))
        equation = re.sub(r"^([a-z0-9-]+)", r":eq:`\1`", mistake.equation)
        told = self.parse_text_to_nodes(f"*Breaks* {equation}. *Rejected by* {mistake.oracle}.")
        pair = nodes.container(classes=["right-and-wrong"])
        for title, lines in zip(("Right", "Wrong"), changed_lines(mistake), strict=True):
            text = "\n".join(lines) or "# no such line"
            pair += nodes.container(
                "", nodes.paragraph("", title), nodes.literal_block(text, text, language="python")
            )
        return Details("", summary, *told, pair, ids=[anchor(mistake)], classes=["mistake"])


def note_sources(directive: SphinxDirective) -> None:
    """The page is read again when the catalogue has changed, or one of the files that it edits."""
    for folder in ("mistakes", "nn", "norms"):
        for path in (Path(directive.config.source_root) / "mabn_ref" / folder).rglob("*.py"):
            directive.env.note_dependency(str(path))


def anchor(mistake: Mistake) -> str:
    """The id of a mistake on its page."""
    return f"mistake-{mistake.name}"


def changed_lines(mistake: Mistake) -> tuple[list[str], list[str]]:
    """The lines of the right file that the mistake takes out, and those that it puts in."""
    right = inspect.getsource(mistake.subject).splitlines()
    wrong = edited_source(mistake.subject, mistake.edits.items(), name=mistake.name).splitlines()
    changed = ["" if line.startswith("@@") else line for line in difflib.unified_diff(right, wrong, n=0)][3:]
    texts = textwrap.dedent("\n".join(line[1:].partition("  # eq: ")[0] for line in changed)).splitlines()
    by_sign: dict[str, list[str]] = {"-": [], "+": [], "": []}
    for line, text in zip(changed, texts, strict=True):
        by_sign[line[:1]].append(text)
    return by_sign["-"], by_sign["+"]


def setup(app: Sphinx) -> dict[str, Any]:
    app.setup_extension("details")
    app.add_directive("catalogue", CatalogueDirective)
    app.add_directive("symptoms", SymptomsDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

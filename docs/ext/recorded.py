"""The directive ``recorded``: a study's tables, verdicts, notes and pictures, from what ``mabn-ref paper`` wrote.

Its argument is the study's JSON file, relative to the folder of the pages. Where the records of the runs lie beside
it, tables and verdicts are computed from them again, the build warns if they are others, and the pictures are drawn.
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from mabn_ref.experiments import results
from mabn_ref.paper.runner import data_uri
from mabn_ref.paper.studies import STUDIES
from mabn_ref.paper.study import Context, Outcome

logger = logging.getLogger(__name__)


class RecordedDirective(SphinxDirective):
    """The outcome of one study."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        path = Path(self.env.srcdir, self.arguments[0])
        self.env.note_dependency(str(path))
        found = json.loads(path.read_text(encoding="utf-8"))
        shown: list[nodes.Node] = [_table(table) for table in found["tables"]]
        if found["verdicts"]:
            shown.append(nodes.bullet_list("", *(_item(line) for line in found["verdicts"])))
        outcome = self._again(found, path)
        for suffix, figure in outcome.figures.items() if outcome is not None else ():
            alt = escape(
                f"{found['title']}{', ' + suffix if suffix else ''}; the numbers are in the tables", quote=True
            )
            shown.append(nodes.raw("", f'<p><img src="{data_uri(figure)}" alt="{alt}"></p>', format="html"))
        shown += [nodes.paragraph("", note) for note in found["notes"]]
        return [*shown, _provenance(found)]

    def _again(self, found: dict[str, Any], path: Path) -> Outcome | None:
        """The outcome once more, from the records beside the file; None if there are none."""
        study = STUDIES[found["study"]]
        context, records = Context(tuple(found["seeds"]), found["settings"]), path.parent / study.file
        if not study.plan(context, []) or not records.exists():
            return None
        self.env.note_dependency(str(records))
        outcome = study.outcome(context, results.read(records))
        now = [[table.title, list(table.header), [list(row) for row in table.rows]] for table in outcome.tables]
        then = [[table["title"], table["header"], table["rows"]] for table in found["tables"]]
        if now != then or outcome.verdicts != found["verdicts"]:
            logger.warning("%s does not say what the records beside it do: write it again", path.name)
        return outcome


def _table(table: dict[str, Any]) -> nodes.Node:
    found = nodes.table("", nodes.title("", table["title"]), classes=["recorded"])
    group = nodes.tgroup(cols=len(table["header"]))
    group += [nodes.colspec(colwidth=1) for _ in table["header"]]
    group += nodes.thead("", _row(table["header"]))
    group += nodes.tbody("", *(_row(row) for row in table["rows"]))
    found += group
    return found


def _row(cells: list[str]) -> nodes.Node:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", cell)) for cell in cells))


def _item(text: str) -> nodes.Node:
    return nodes.list_item("", nodes.paragraph("", text))


def _provenance(found: dict[str, Any]) -> nodes.Node:
    line = nodes.paragraph("", "", nodes.literal("", found["command"]))
    versions = "; ".join(", ".join(f"{name} {value}" for name, value in each.items()) for each in found["versions"])
    machines = "; ".join(", ".join(str(value) for value in each.values()) for each in found["machines"])
    if found["runs"]:
        line += nodes.Text(f": {found['runs']} runs, {found['run_seconds'] / 3600:.1f} hours of one core")
    if versions:
        line += nodes.Text(f"; {versions}; {machines}")
    return line


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("recorded", RecordedDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

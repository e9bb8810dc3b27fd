"""What ``mabn-ref paper`` wrote, on pages: the directives ``recorded`` and ``recorded-overview``.

``recorded`` takes a study's JSON file, relative to the folder of the pages, and shows its tables, verdicts, notes and
where they come from; pictures are drawn from the numbers in the file. Where the records of the runs lie beside it,
tables and verdicts are computed from them again, and the build warns if they are others. Where there is no such file,
it says so, with the command of the option ``:command:`` that makes it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from mabn_ref.experiments import results
from mabn_ref.paper.runner import data_uri
from mabn_ref.paper.studies import STUDIES
from mabn_ref.paper.study import Context

logger = logging.getLogger(__name__)

JUDGED = ("holds", "no difference found", "does not hold", "the opposite holds", "not decided", "no verdict")
"""What a verdict on a claim can say: `mabn_ref.paper.measured.verdict`."""


class recorded_table(nodes.table):
    """A table whose title has the paper's number: Sphinx's own would stand before it."""


class RecordedDirective(SphinxDirective):
    """The outcome of one study."""

    required_arguments = 1
    option_spec = {"command": directives.unchanged_required}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()  # the file may come, and the package that draws may change
        path = Path(self.env.srcdir, self.arguments[0])
        if not path.exists():
            return self._not_yet()
        found = json.loads(path.read_text(encoding="utf-8"))
        self._compare(found, path)
        shown: list[nodes.Node] = [_table(table) for table in found["tables"]]
        shown += _list("Verdicts", [_verdict(line) for line in found["verdicts"]])
        for suffix, figure in STUDIES[found["study"]].draw(found["data"]).items():
            alt = f"{found['title']}{', ' + suffix if suffix else ''}; the numbers are in the tables"
            shown.append(nodes.image("", uri=data_uri(figure), alt=alt, candidates={"?": ""}, classes=["recorded"]))
        shown += _list("To read the numbers", [_literals(note) for note in found["notes"]])
        return [*shown, nodes.rubric("", "Where they come from"), self._provenance(found, path)]

    def _not_yet(self) -> list[nodes.Node]:
        text = "Not yet measured here. "
        if "command" not in self.options:
            return [nodes.paragraph("", text)]
        command = nodes.literal("", self.options["command"])
        return [nodes.paragraph("", "", nodes.Text(f"{text}The command is "), command, nodes.Text("."))]

    def _compare(self, found: dict[str, Any], path: Path) -> None:
        """Warn where the records beside the file say something else."""
        study = STUDIES[found["study"]]
        context = Context(tuple(found["seeds"]), found["settings"], found.get("layer", "norm4"))
        records = path.parent / study.file
        if not study.plan(context, []) or not records.exists():
            return
        outcome = study.outcome(context, results.read(records))
        now = [[table.title, list(table.header), [list(row) for row in table.rows]] for table in outcome.tables]
        then = [[table["title"], table["header"], table["rows"]] for table in found["tables"]]
        if now != then or outcome.verdicts != found["verdicts"]:
            logger.warning("%s does not say what the records beside it do: write it again", path.name)

    def _provenance(self, found: dict[str, Any], path: Path) -> nodes.Node:
        lines: dict[str, list[nodes.Node]] = {"Command": [nodes.literal("", found["command"])]}
        if found["runs"]:
            lines["Images"] = [nodes.Text(images(found))]
            lines["Recipe"] = [nodes.Text(_recipe(found["settings"]))]
            seeds = ", ".join(map(str, found["seeds"]))
            lines["Runs"] = [nodes.Text(f"{found['runs']}, {_time(found['run_seconds'])} of one core; seeds {seeds}")]
        lines["Versions"] = [nodes.Text(_joined(found["versions"], named=True))]
        lines["Machine"] = [nodes.Text(_joined(found["machines"]))]
        records = path.parent / STUDIES[found["study"]].file
        files = [path] + ([records] if found["runs"] and records.exists() else [])
        roles = ", ".join(f":download:`{file.name} </{file.relative_to(self.env.srcdir)}>`" for file in files)
        parsed, messages = self.parse_inline(roles)
        lines["Files"] = [*parsed, *messages]
        fields = nodes.field_list(classes=["recorded"])
        for name, body in lines.items():
            paragraph = nodes.paragraph("", "", *body)
            fields += nodes.field("", nodes.field_name("", name), nodes.field_body("", paragraph))
        return fields


class OverviewDirective(SphinxDirective):
    """A line for each study of this folder's pages: what was run, and how many of its verdicts say what.

    Each line of its content is a page beside this one and a JSON file: ``table2 results/paper/table2.json``.
    """

    has_content = True

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        rows = [self._line(*line.split()) for line in self.content if line.strip()]
        header = ["", "verdicts", "images", "width", "seeds", "runs"]
        return [_table({"title": "", "header": header, "rows": rows}, "overview")]

    def _line(self, page: str, file: str) -> list[Any]:
        parsed, _ = self.parse_inline(f":doc:`{page}`")
        path = Path(self.env.srcdir, file)
        if not path.exists():
            return [parsed, "not yet measured", "", "", "", ""]
        found = json.loads(path.read_text(encoding="utf-8"))
        counts = Counter(judged(line) for line in found["verdicts"])
        verdicts = ", ".join(f"{counts[word]} {word}" for word in JUDGED if counts[word])
        sizes = [found["settings"]["width"], len(found["seeds"]), found["runs"]] if found["runs"] else ["-"] * 3
        return [parsed, verdicts or "see the page", images(found), *map(str, sizes)]


def images(found: dict[str, Any]) -> str:
    """Say which images a study's runs had; a dash if it had no runs."""
    settings = found["settings"]
    if found["study"] == "table8":
        return "generated scenes"
    if not found["runs"]:
        return "-"
    return str(settings["data_dir"]) if settings["data"] == "directory" else str(settings["data"])


def _time(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.1f} minutes"


def _recipe(settings: dict[str, Any]) -> str:
    """What all runs share, in words; a study's own rows may say otherwise."""
    train, test = settings["train_size"], settings["test_size"]
    said = [f"{train or 'all'} training and {test or 'all'} test images" if train or test else "all images"]
    said += [f"{settings['epochs']} epochs", f"width {settings['width']}", f"learning rate {settings['lr']}"]
    return ", ".join([*said, f"weight decay {settings['weight_decay']}"])


def judged(line: str) -> str | None:
    """Which of `JUDGED` a verdict is; None if it is on no claim."""
    said = re.match(rf".*?: ({'|'.join(JUDGED)})[;,]", line)
    return said[1] if said else None


def _verdict(line: str) -> list[nodes.Node]:
    """The line, with what it says of the claim in bold."""
    word = judged(line)
    if word is None:
        return [nodes.Text(line)]
    before, _, after = line.partition(f": {word}")
    return [nodes.Text(f"{before}: "), nodes.strong("", word), nodes.Text(after)]


def _literals(text: str) -> list[nodes.Node]:
    """The text, with what is between backticks as code."""
    parts = text.split("`")
    return [nodes.literal("", part) if k % 2 else nodes.Text(part) for k, part in enumerate(parts)]


def _list(title: str, items: list[list[nodes.Node]]) -> list[nodes.Node]:
    if not items:
        return []
    entries = (nodes.list_item("", nodes.paragraph("", "", *item)) for item in items)
    return [nodes.rubric("", title), nodes.bullet_list("", *entries)]


def _table(table: dict[str, Any], kind: str = "recorded") -> nodes.Node:
    found = recorded_table("", classes=[kind])
    if table["title"]:
        found += nodes.title("", table["title"])
    group = nodes.tgroup(cols=len(table["header"]))
    group += [nodes.colspec(colwidth=1) for _ in table["header"]]
    group += nodes.thead("", _row(table["header"]))
    group += nodes.tbody("", *(_row(row) for row in table["rows"]))
    found += group
    return found


def _row(cells: list[Any]) -> nodes.Node:
    parts = ([nodes.Text(cell)] if isinstance(cell, str) else cell for cell in cells)
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", *part)) for part in parts))


def _joined(entries: list[dict[str, Any]], *, named: bool = False) -> str:
    """Distinct ones of a file in a line: the names of what has a version, the values alone of a machine."""
    return "; ".join(
        ", ".join(
            f"{name} {value}" if named else f"{value} cores" if name == "cores" else str(value)
            for name, value in entry.items()
        )
        for entry in entries
    )


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_node(
        recorded_table, html=(lambda html, node: html.visit_table(node), lambda html, node: html.depart_table(node))
    )
    app.add_directive("recorded", RecordedDirective)
    app.add_directive("recorded-overview", OverviewDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

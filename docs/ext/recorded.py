"""What ``mabn-ref paper`` wrote, on pages: ``finding``, ``recorded``, ``recorded-overview``, ``recorded-corrected``.

``finding`` takes a page's question and, as its content, the answer in one sentence, which the overview shows as well.

``recorded`` takes a study's JSON file, relative to the folder of the pages, and shows its pictures, drawn from the
numbers in the file, and its tables; verdicts, notes and where they come from are folded. With the option ``:shaded:``
a cell of a table is the darker the larger its number is. Where the records of the runs lie beside the file, tables
and verdicts are computed from them again, and the build warns if they are others. Where there is no such file, the
page says so, with the command of the option ``:command:`` that makes it.

Verdicts of all files under ``results`` are corrected for their number, and those that this leaves undecided say so.
In the text the role ``fallen`` says it of the verdict that it names, as ``:fallen:`BN 32 below BN 8```.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from details import Details, Summary
from docutils import nodes
from docutils.parsers.rst import directives
from located import LocatedDirective
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from mabn_ref.paper import corrections, pretraining
from mabn_ref.paper.output import data_uri
from mabn_ref.paper.study import STUDIES, Context
from mabn_ref.paper.summary import judgement
from mabn_ref.train import results
from mabn_ref.train.runs import run_boxes, run_pixels

logger = logging.getLogger(__name__)

FALLEN = "not decided after correction"
SPELLED_OUT = {
    "BS": "batch statistics",
    "SMAS": "simple moving average statistics",
    "EMAS": "exponential moving average statistics",
    "WC": "centralised weights: the mean of each kernel is subtracted",
    "WS": "standardised weights: centralised, and divided by their standard deviation",
    "GC": "centralised gradients: the mean of each kernel's gradient is subtracted",
}
"""Abbreviations that a table explains where they are pointed at; the page of findings lists them, too."""
SHADES = 9
STYLE = Path(__file__).parents[1] / "figures" / "pages.mplstyle"
_FINDING = re.compile(r"^\.\. finding:: (?:.+\n)+\n((?:   .+\n)+)", re.MULTILINE)


class recorded_table(nodes.table):
    """A table whose title has the paper's number: Sphinx's own would stand before it."""


class FindingDirective(SphinxDirective):
    """A page's question and its answer."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True

    def run(self) -> list[nodes.Node]:
        question, complaints = self.parse_inline(self.arguments[0])
        answer, more = self.parse_inline(" ".join(self.content))
        box = nodes.admonition("", nodes.title("", "In short"), classes=["in-short"])
        box += nodes.paragraph("", "", *question)
        box += nodes.paragraph("", "", nodes.strong("", "", *answer))
        return [box, *complaints, *more]


class RecordedDirective(LocatedDirective):
    """The outcome of one study."""

    required_arguments = 1
    option_spec = {"command": directives.unchanged_required, "shaded": directives.flag}  # noqa: RUF012

    def made(self) -> list[nodes.Node]:
        self.env.note_reread()  # the file may come, and the package that draws may change
        path = Path(self.env.srcdir, self.arguments[0])
        if not path.exists():
            return self._not_yet()
        found = json.loads(path.read_text(encoding="utf-8"))
        self._compare(found, path)
        drawn: list[nodes.Node] = []
        for suffix, uri in pictures(found).items():
            said = "a line of test images for each row, with what it found in them" if suffix == "scenes" else suffix
            alt = f"{found['title']}{': ' + said if said else ''}; the numbers are in the tables"
            classes = ["recorded", *([nodes.make_id(suffix)] if suffix else [])]
            drawn.append(nodes.image("", uri=uri, alt=alt, candidates={"?": ""}, classes=classes))
        shade = _shades(found["tables"]) if "shaded" in self.options else None
        tables = [_table(table, shade=shade) for table in found["tables"]]
        shown = [*tables, *drawn] if shade else [*drawn, *tables]  # shaded tables are pictures
        fallen = {judged.line for judged in _family(self.env.srcdir) if judged.fallen and judged.file == path}
        verdicts = [_verdict(line, line in fallen) for line in found["verdicts"]]
        shown += _list(f"Verdicts ({len(verdicts)})", verdicts)
        shown += _list("To read the numbers", [_literals(note) for note in found["notes"]])
        return [*shown, _fold("Where they come from", self._provenance(found, path))]

    def _not_yet(self) -> list[nodes.Node]:
        if "command" not in self.options:
            raise self.error(f"there is no file {self.arguments[0]!r}, expected one, or a :command: that makes it")
        text, command = "Not yet measured here. The command is ", nodes.literal("", self.options["command"])
        return [nodes.paragraph("", "", nodes.Text(text), command, nodes.Text("."))]

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


class OverviewDirective(LocatedDirective):
    """A line for each of this folder's pages: what was found, in the words of its directive ``finding``, and on what.

    Each line of its content is a page beside this one and the JSON files of its studies:
    ``table2 results/paper/table2.json``. Sizes that differ stand beside each other.
    """

    has_content = True

    def made(self) -> list[nodes.Node]:
        self.env.note_reread()
        rows = [self._line(*line.split()) for line in self.content if line.strip()]
        return [_table({"title": "", "header": ["", "what was found", "trained on"], "rows": rows}, "answers")]

    def _line(self, page: str, *files: str) -> list[Any]:
        link, _ = self.parse_inline(f":doc:`{page}`")
        paths = [path for file in files if (path := Path(self.env.srcdir, file)).exists()]
        if not paths:
            return [link, "not yet measured", ""]
        source = Path(self.env.doc2path(self.env.docname)).with_name(f"{page}.rst")
        found = _FINDING.search(source.read_text(encoding="utf-8"))
        if found is None:
            logger.warning("%s has no finding to show", source.name, location=self.get_location())
        answer, _ = self.parse_inline(" ".join(found[1].split()) if found else "")
        sizes = (_sizes(json.loads(path.read_text(encoding="utf-8"))) for path in paths)
        return [link, answer, "; ".join(dict.fromkeys(size for size in sizes if size)) or "no training"]


class CorrectedDirective(LocatedDirective):
    """What a correction for the number of verdicts leaves of them, and a table of those that it does not."""

    def made(self) -> list[nodes.Node]:
        self.env.note_reread()
        found = _family(self.env.srcdir)
        distinct = [judged for judged in found if judged.first]
        decided = [judged for judged in distinct if judged.p <= corrections.LEVEL]
        kept, holm = sum(judged.kept for judged in distinct), sum(judged.holm for judged in distinct)
        level = f"{corrections.LEVEL:.0%}".replace("%", " %")
        counts = (
            f"These pages have {len(found)} verdicts on {len(distinct)} distinct paired differences. "
            f"Taken one by one, {len(decided)} of the differences are told from zero at {level}. "
            f"At a false discovery rate of {level} (Benjamini and Hochberg, 1995), {kept} are; "
            f"{holm} if the chance of even one false verdict is to stay at {level} (Holm, 1979). "
            "The pages go by the first correction, which leaves these verdicts undecided:"
        )
        rows = [[_where(judged.file), judged.line, f"{judged.p:.3f}"] for judged in found if judged.fallen]
        header = ["study", "verdict by itself", "p"]
        return [nodes.paragraph("", counts), _table({"title": "", "header": header, "rows": rows}, "overview")]


class FallenRole(SphinxRole):
    """What the correction leaves of a verdict, with a link to it; a warning if the verdict named has not fallen."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        if not any(judged.fallen and judged.name == self.text for judged in _family(self.env.srcdir)):
            logger.warning("no verdict %r has fallen", self.text, location=self.get_location())
        link = addnodes.pending_xref(
            "", nodes.inline("", FALLEN), refdomain="std", reftype="ref", reftarget="findings-corrected",
            refdoc=self.env.docname, refexplicit=True, refwarn=True,
        )  # fmt: skip
        return [link], []


def _where(file: Path) -> str:
    found = json.loads(file.read_text(encoding="utf-8"))
    return f"{found['study']}, {images(found)}, width {found['settings']['width']}"


def _sizes(found: dict[str, Any]) -> str:
    """Images and number of seeds of a study; nothing if it had no runs."""
    seeds = len(found["seeds"])
    return f"{images(found)}, {seeds} seed{'s' if seeds > 1 else ''}" if found["runs"] else ""


def pictures(found: dict[str, Any]) -> dict[str, str]:
    """Return a study's pictures as addresses that hold them, by suffix, in the style of the pages."""
    from matplotlib import style

    with style.context(STYLE, after_reset=True):
        return {suffix: data_uri(figure) for suffix, figure in STUDIES[found["study"]].draw(found["data"]).items()}


def images(found: dict[str, Any]) -> str:
    """Say which images a study's runs had."""
    settings = found["settings"]
    if STUDIES[found["study"]].run in (run_boxes, run_pixels, pretraining.run_tuned):
        return "generated scenes"
    return str(settings["data_dir"]) if settings["data"] == "directory" else str(settings["data"])


def _time(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.1f} minutes"


def _recipe(settings: dict[str, Any]) -> str:
    """What all runs share, in words; a study's own rows may say otherwise."""
    train, test = settings["train_size"], settings["test_size"]
    said = [f"{train or 'all'} training and {test or 'all'} test images" if train or test else "all images"]
    said += [] if settings["augment"] else ["no flips and crops"]
    said += [f"{settings['epochs']} epochs", f"width {settings['width']}", f"learning rate {settings['lr']}"]
    return ", ".join([*said, f"weight decay {settings['weight_decay']}"])


def _verdict(line: str, fallen: bool = False) -> list[nodes.Node]:
    """The line, with what it says of the claim in bold, and that it does not survive the correction if so."""
    said = judgement(line)
    if said is None:
        return [nodes.Text(line)]
    mark = [nodes.Text("; "), nodes.strong("", FALLEN)] if fallen else []
    return [nodes.Text(line[: said.start(1)]), nodes.strong("", said[1]), nodes.Text(line[said.end(1) :]), *mark]


def _family(srcdir: Any) -> list[corrections.Judged]:
    """All paired verdicts of the files under ``results``."""
    folder = Path(srcdir, "results")
    files = sorted(folder.rglob("*.json*"))
    return _family_of(folder, tuple((file, file.stat().st_mtime_ns) for file in files))


@lru_cache(maxsize=1)
def _family_of(folder: Path, as_they_are: tuple[tuple[Path, int], ...]) -> list[corrections.Judged]:
    """Judge once a build, not once a page: the studies' outcomes take seconds."""
    return corrections.family(folder)


def _literals(text: str) -> list[nodes.Node]:
    """The text, with what is between backticks as code."""
    parts = text.split("`")
    return [nodes.literal("", part) if k % 2 else nodes.Text(part) for k, part in enumerate(parts)]


def _list(title: str, items: list[list[nodes.Node]]) -> list[nodes.Node]:
    if not items:
        return []
    entries = (nodes.list_item("", nodes.paragraph("", "", *item)) for item in items)
    return [_fold(title, nodes.bullet_list("", *entries))]


def _fold(summary: str, *body: nodes.Node) -> nodes.Node:
    return Details("", Summary("", summary), *body, classes=["folded"])


def _number(cell: str) -> float | None:
    """The mean in a cell ``mean ± half``, None if it is something else."""
    found = re.fullmatch(r"(-?[\d.]+) ± [\d.]+", cell)
    return float(found[1]) if found else None


def _shades(tables: list[dict[str, Any]]) -> Callable[[str], int | None]:
    """A shade of a cell, 0 for the least number of all tables and the last of `SHADES` for the largest."""
    numbers = [number for table in tables for row in table["rows"] for cell in row if (number := _number(cell))]
    least, most = min(numbers), max(numbers)

    def shade(cell: str) -> int | None:
        number = _number(cell)
        return None if number is None else round((SHADES - 1) * (number - least) / (most - least or 1))

    return shade


def _table(
    table: dict[str, Any], kind: str = "recorded", *, shade: Callable[[str], int | None] | None = None
) -> nodes.Node:
    found = recorded_table("", classes=[kind])
    if table["title"]:
        found += nodes.title("", table["title"])
    group = nodes.tgroup(cols=len(table["header"]))
    group += [nodes.colspec(colwidth=1) for _ in table["header"]]
    group += nodes.thead("", _row(table["header"]))
    group += nodes.tbody("", *(_row(row, shade) for row in table["rows"]))
    found += group
    return found


def _row(cells: list[Any], shade: Callable[[str], int | None] | None = None) -> nodes.Node:
    row = nodes.row("")
    for cell in cells:
        text = isinstance(cell, str)
        number = shade(cell) if shade is not None and text else None
        classes = [] if number is None else [f"shade-{number}"]
        row += nodes.entry("", nodes.paragraph("", "", *(_spelled_out(cell) if text else cell)), classes=classes)
    return row


def _spelled_out(text: str) -> list[nodes.Node]:
    """The text, in which an abbreviation says what it means when it is pointed at."""
    parts = re.split(rf"\b({'|'.join(SPELLED_OUT)})\b", text)
    return [
        nodes.abbreviation("", part, explanation=SPELLED_OUT[part]) if k % 2 else nodes.Text(part)
        for k, part in enumerate(parts)
        if part
    ]


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
    app.setup_extension("details")
    app.add_node(
        recorded_table, html=(lambda html, node: html.visit_table(node), lambda html, node: html.depart_table(node))
    )
    app.add_directive("finding", FindingDirective)
    app.add_directive("recorded", RecordedDirective)
    app.add_directive("recorded-overview", OverviewDirective)
    app.add_directive("recorded-corrected", CorrectedDirective)
    app.add_role("fallen", FallenRole())
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""What studies write: numbers as JSON, pictures, and a self-contained HTML page."""

from __future__ import annotations

import base64
import io
import json
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from mabn_ref import storage
from mabn_ref.extras import require
from mabn_ref.paper.study import Context, Outcome, Records, Study
from mabn_ref.train import results
from mabn_ref.train.config import RunConfig
from mabn_ref.train.table_layout import WIDTH, Table

_SHORT = {
    "SMAS": "simple moving average statistics, over a window",
    "EMAS": "exponential moving average statistics",
}
"""The paper's abbreviations in names of rows."""

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a;
       background: #fff; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 3rem; border-top: 1px solid #bbb; padding-top: 1.5rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: .3rem; }
th, td { padding: .2rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; height: auto; }
nav li { margin: .1rem 0; } .note { color: #444; }
"""


def as_text(outcome: Outcome) -> str:
    """Return the printed form of an outcome: its tables, verdicts and notes."""
    tables = "".join(f"{table}\n\n" for table in outcome.tables)
    verdicts = "".join(
        textwrap.fill(line, WIDTH, initial_indent="- ", subsequent_indent="  ") + "\n" for line in outcome.verdicts
    )
    paired = any("±" in line for line in outcome.verdicts)
    notes = ["±: 95 % t interval over the seeds; differences are paired by seed."] if paired else []
    notes += outcome.notes
    notes += [f"{short}: {meaning}." for short, meaning in _SHORT.items() if short in tables + verdicts]
    parts = [tables + verdicts, "\n".join(textwrap.fill(note, WIDTH) for note in notes)]
    return "\n\n".join(part.strip("\n") for part in parts if part)


def write(
    name: str,
    study: Study,
    outcome: Outcome,
    context: Context,
    out: Path,
    command: str,
    planned: Sequence[RunConfig] = (),
    records: Records = (),
) -> list[Path]:
    """Write a study's pictures as PNG and SVG, and its numbers as JSON; return the paths.

    The JSON holds the tables, verdicts and notes as they are printed, the numbers behind them, from which pictures
    are drawn, the settings and seeds, the layer if the study reads one, the command, and the versions and machines of
    the runs, or those of this process if the study has no runs.
    """
    used = [record for config in planned if (record := results.find(records, config)) is not None]
    sources = used if planned else [results.made_with()]
    found = {
        "study": name,
        "title": study.title,
        "command": command,
        "seeds": context.seeds,
        "settings": context.settings,
        **({"layer": context.layer} if "layer" in study.reads else {}),
        "runs": len(used),
        "run_seconds": sum(record["seconds"] for record in used),
        "versions": _distinct(record["versions"] for record in sources),
        "machines": _distinct(record["machine"] for record in sources),
        "tables": [table._asdict() for table in outcome.tables],
        "verdicts": outcome.verdicts,
        "notes": outcome.notes,
        "data": outcome.data,
    }
    # Each list of numbers is on one line: a curve has hundreds.
    text = json.dumps(found, indent=1, allow_nan=False)
    text = re.sub(r"\[\s+([-+.\deE,\s]+?)\s+\]", lambda numbers: f"[{' '.join(numbers[1].split())}]", text)
    contents = {f"{name}.json": f"{text}\n".encode()}
    for suffix, figure in study.draw(outcome.data).items():
        for kind in ("png", "svg"):
            contents[f"{name}{'-' + suffix if suffix else ''}.{kind}"] = _picture(figure, kind)
    for file, content in contents.items():
        storage.write(out / file, content)
    return [out / file for file in contents]


def _distinct(values: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({json.dumps(value, sort_keys=True): value for value in values}.values())


def _picture(figure: Any, kind: str, *, transparent: bool = False) -> bytes:
    buffer = io.BytesIO()
    # a fixed salt and no date, so that the same numbers give the same file
    with require("matplotlib", "run").rc_context({"svg.hashsalt": "mabn_ref"}):
        metadata = {"Date": None} if kind == "svg" else None
        figure.savefig(buffer, format=kind, transparent=transparent, metadata=metadata)
    return buffer.getvalue()


def data_uri(figure: Any) -> str:
    """Return a figure as a data URI: an address that contains the transparent image itself."""
    return "data:image/svg+xml;base64," + base64.b64encode(_picture(figure, "svg", transparent=True)).decode()


def page(found: Mapping[str, tuple[Study, Outcome]], about: str) -> str:
    """Return the HTML page of studies and their outcomes; `about` says what was run: data, sizes, seeds, versions.

    Examples
    --------
    >>> outcome = Outcome([Table("Errors", ("", "runs"), [("BN < 2", "3")])], ["holds"], [], {})
    >>> from mabn_ref.paper.study import no_runs
    >>> study = Study("Table 2", no_runs, lambda context, records: outcome, lambda data: {})
    >>> html = page({"table2": (study, outcome)}, "embedded data")
    >>> "<td>BN &lt; 2</td><td>3</td>" in html
    True
    """
    contents = "".join(f'<li><a href="#{name}">{escape(study.title)}</a></li>' for name, (study, _) in found.items())
    sections = "".join(_section(name, study, outcome) for name, (study, outcome) in found.items())
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>The paper in miniature</title><style>{_STYLE}</style></head><body>"
        f"<h1>The paper in miniature</h1><p>{escape(about)}</p>"
        "<p>Differences are paired by seed; ± is half of a 95 % t interval. A verdict says what that interval shows "
        "at these sizes, and no more.</p>"
        f"<nav><ul>{contents}</ul></nav>{sections}</body></html>\n"
    )


def _section(name: str, study: Study, outcome: Outcome) -> str:
    parts = [f'<section id="{name}"><h2>{escape(study.title)}</h2>']
    parts += [_table(table) for table in outcome.tables]
    if outcome.verdicts:
        lines = "".join(f"<li>{escape(line)}</li>" for line in outcome.verdicts)
        parts.append(f"<h3>Verdicts</h3><ul>{lines}</ul>")
    for suffix, figure in study.draw(outcome.data).items():
        alt = escape(f"{study.title}{': ' + suffix if suffix else ''}; the numbers are in the tables", quote=True)
        parts.append(f'<p><img src="{data_uri(figure)}" alt="{alt}"></p>')
    notes = (re.sub("`([^`]+)`", r"<code>\1</code>", escape(note)) for note in outcome.notes)
    parts += [f'<p class="note">{note}</p>' for note in notes]
    return "".join(parts) + "</section>"


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in table.header)
    rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    caption = f"<caption>{escape(table.title)}</caption>"
    return f'<div class="wide"><table>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'

"""Everything on one page: an HTML file that needs no other file and no network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape

from mabn_ref.paper.runner import data_uri
from mabn_ref.paper.study import Outcome, Study, Table

__all__ = ["page"]

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


def page(found: Mapping[str, tuple[Study, Outcome]], about: str) -> str:
    """Return the page.

    Parameters
    ----------
    found : mapping
        Studies and what they found, by name.
    about : str
        What was run: data, sizes, seeds, versions.

    Returns
    -------
    str
        HTML.

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
        "<p>Differences are paired by seed; ± is half of a 95 % t interval. A verdict is what that interval says, "
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
    parts += [f'<p class="note">{_with_code(note)}</p>' for note in outcome.notes]
    return "".join(parts) + "</section>"


def _with_code(text: str) -> str:
    """The text, with what is between backticks as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in table.header)
    rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    caption = f"<caption>{escape(table.title)}</caption>"
    return f'<div class="wide"><table>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'

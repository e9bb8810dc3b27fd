"""The gallery's notebooks as Jupyter shows them well, and its archives the same in every build.

sphinx-gallery turns the text of a tutorial into Markdown and leaves Sphinx's roles, folded answers and the macros of
``conf.py`` as they are, none of which Jupyter knows. Its archives hold the time at which they were made. And a
notebook that was downloaded alone does not find ``_plots.py``, the module beside the scripts that draws figures.
"""

from __future__ import annotations

import json
import re
import textwrap
import zipfile
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

_FOLDED = re.compile(r"^\.\. admonition:: (.+)\n +:collapsible: closed\n((?:\n* +.*)+)", re.MULTILINE)
_BOX = re.compile(r"^\.\. admonition:: (.+)\n +:class: .+\n((?:\n* +.*)+)", re.MULTILINE)
_IMPORT = re.compile(r"^from _plots import .+\n", re.MULTILINE)
_GROUP = r"\{((?:[^{}]|\{[^{}]*\})*)\}"


def markdown(text: str, macros: dict[str, Any]) -> str:
    """The text of a Markdown cell without what only Sphinx and our configuration of MathJax know."""
    text = re.sub(r":\w+:`([^`<]+?)\s*<[^`>]+>`", r"\1", text)
    text = re.sub(r":\w+:`([^`]+)`", r"`\1`", text)
    text = _FOLDED.sub(_details, text)
    text = _BOX.sub(_quote, text)
    text = re.sub(r"^\.\. graph:: .+$", "*(The drawing is on the page of this tutorial.)*", text, flags=re.MULTILINE)
    text = text.replace(
        ".. exercises::", "`mabn-ref learn course` makes a folder of exercises that check themselves."
    )
    for name, macro in macros.items():
        definition, arguments = (macro, 0) if isinstance(macro, str) else macro
        body = re.sub(r"#(\d)", r"\\g<\1>", definition.replace("\\", r"\\"))
        text = re.sub(rf"\\{name}(?![A-Za-z])" + r"\s*".join([""] + [_GROUP] * arguments), body, text)
    return text


def _details(found: re.Match[str]) -> str:
    summary, body = found.group(1), textwrap.dedent(found.group(2)).strip()
    return f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>"


def _quote(found: re.Match[str]) -> str:
    body = textwrap.dedent(found.group(2)).strip().replace("\n", "\n> ")
    return f"> **{found.group(1)}**\n>\n> {body}"


def rewrite(path: Path, macros: dict[str, Any], plots: str) -> None:
    """Write the notebook anew with its Markdown cells mended, and the module `plots` in place of its import."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            cell["source"] = [markdown(source, macros)]
        elif _IMPORT.search(source):
            cell["source"] = [_IMPORT.sub("", source)]
            cells.append({**cell, "metadata": {"jupyter": {"source_hidden": True}}, "source": [plots]})
        cells.append(cell)
    notebook["cells"] = cells
    path.write_text(json.dumps(notebook, indent=2) + "\n", encoding="utf-8")


def pack(path: Path, plots: Path) -> None:
    """Write the archive anew from the files beside it and the module `plots`, all of the same date."""
    with zipfile.ZipFile(path) as archive:
        names = sorted(archive.namelist())
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in [*(path.parent / name for name in names if name != plots.name), plots]:
            entry = zipfile.ZipInfo(file.name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, file.read_bytes())


def finish(app: Sphinx) -> None:
    """Go over what the gallery has written."""
    folder = Path(app.srcdir, app.config.sphinx_gallery_conf["gallery_dirs"])
    plots = Path(app.config.source_root, "tutorials", "_plots.py")
    for path in sorted(folder.glob("*.ipynb")):
        rewrite(path, app.config.mathjax3_config["tex"]["macros"], plots.read_text(encoding="utf-8"))
    for path in sorted(folder.glob("*.zip")):
        pack(path, plots)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("builder-inited", finish, priority=900)  # the gallery runs at 500
    return {"parallel_read_safe": True, "parallel_write_safe": True}

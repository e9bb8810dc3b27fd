"""The gallery's notebooks as Jupyter shows them well, and its archives the same in every build.

sphinx-gallery turns the text of a tutorial into Markdown and leaves Sphinx's roles, folded answers and the macros of
``conf.py`` as they are, none of which Jupyter knows. Its archives hold the time at which they were made.
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
_GROUP = r"\{((?:[^{}]|\{[^{}]*\})*)\}"


def markdown(text: str, macros: dict[str, Any]) -> str:
    """The text of a Markdown cell without what only Sphinx and our configuration of MathJax know."""
    text = re.sub(r":\w+:`([^`<]+?)\s*<[^`>]+>`", r"\1", text)
    text = re.sub(r":\w+:`([^`]+)`", r"`\1`", text)
    text = _FOLDED.sub(_details, text)
    text = _BOX.sub(_quote, text)
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


def rewrite(path: Path, macros: dict[str, Any]) -> None:
    """Write the notebook anew with its Markdown cells mended."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = [markdown("".join(cell["source"]), macros)]
    path.write_text(json.dumps(notebook, indent=2) + "\n", encoding="utf-8")


def pack(path: Path) -> None:
    """Write the archive anew from the files beside it, all of the same date."""
    with zipfile.ZipFile(path) as archive:
        names = sorted(archive.namelist())
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, (path.parent / name).read_bytes())


def finish(app: Sphinx) -> None:
    """Go over what the gallery has written."""
    folder = Path(app.srcdir, app.config.sphinx_gallery_conf["gallery_dirs"])
    for path in sorted(folder.glob("*.ipynb")):
        rewrite(path, app.config.mathjax3_config["tex"]["macros"])
    for path in sorted(folder.glob("*.zip")):
        pack(path)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("builder-inited", finish, priority=900)  # the gallery runs at 500
    return {"parallel_read_safe": True, "parallel_write_safe": True}

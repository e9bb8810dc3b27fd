"""A tutorial whose framework is not installed: its page shows what the script printed where it was.

``tutorials/NN_title.txt`` holds that, cell by cell, with a line ``# %%`` between two cells of code.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import scan
from sphinx.application import Sphinx

_CODE = re.compile(r"^\.\. code-block:: Python\n\n(?:    .*\n|[ \t]*\n)+", re.MULTILINE)
_NOTE = """.. note::

   PyTorch was not installed where this page was built. What the script prints is taken from a record; its figure is
   missing.

"""
_OUTPUT = """.. rst-class:: sphx-glr-script-out

 .. code-block:: none

"""


def with_record(page: str, record: str) -> str:
    """The page that the gallery makes of a script that it does not run, with the recorded output under each cell."""
    printed = iter(record.split("# %%\n"))

    def cell(found: re.Match[str]) -> str:
        output = next(printed)
        return found.group() + (_OUTPUT + textwrap.indent(output, " " * 4) + "\n" if output.strip() else "")

    page = _CODE.sub(cell, page)
    if len(rest := list(printed)) > 0:
        raise ValueError(f"the record has {len(rest)} cells more than the page has cells of code")
    start = page.index(".. GENERATED FROM PYTHON SOURCE")
    return page[:start] + _NOTE + page[start:]


def finish(app: Sphinx) -> None:
    """Write the records into the pages."""
    for script in scan.recorded(Path(app.config.source_root)):
        path = Path(app.srcdir, app.config.sphinx_gallery_conf["gallery_dirs"], script.stem + ".rst")
        page = path.read_text(encoding="utf-8")
        if _NOTE not in page:  # a page that has not changed is not made anew
            record = script.with_suffix(".txt").read_text(encoding="utf-8")
            path.write_text(with_record(page, record), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("builder-inited", finish, priority=900)  # the gallery runs at 500
    return {"parallel_read_safe": True, "parallel_write_safe": True}

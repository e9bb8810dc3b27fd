"""The directive ``computed``: runs a script while the page is read and puts what it prints, reStructuredText, there.

Numbers on the pages that no file holds come from it. A script that fails, fails the build.
"""

from __future__ import annotations

import contextlib
import io
import runpy
from pathlib import Path
from typing import Any

from docutils import nodes
from located import LocatedDirective
from sphinx.application import Sphinx


class ComputedDirective(LocatedDirective):
    """The output of one script, given relative to the folder of the pages."""

    required_arguments = 1

    def made(self) -> list[nodes.Node]:
        self.env.note_reread()  # the package that it computes with may have changed
        script = Path(self.env.srcdir, self.arguments[0])
        self.env.note_dependency(str(script))
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            runpy.run_path(str(script), run_name="__main__")
        return self.parse_text_to_nodes(said.getvalue())


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("computed", ComputedDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""MathJax from an installed package instead of from the network: one file, copied into the built pages."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError


def script() -> Path:
    """The file ``tex-svg.js`` of MathJax 3, which holds its fonts and loads nothing else."""
    # This package is also a Sphinx extension; as one it would copy all of MathJax, ten times this file.
    spec = find_spec("sphinx-mathjax-offline")
    if spec is None or not spec.submodule_search_locations:
        raise ExtensionError('sphinx-mathjax-offline is not installed: pip install "mabn_ref[docs]"')
    return Path(spec.submodule_search_locations[0]) / "static" / "mathjax" / "tex-svg.js"


def copy(app: Sphinx, error: Exception | None) -> None:
    """Copy the script beside the built pages."""
    if error is None and app.builder.format == "html":
        folder = Path(app.outdir, "_static", "mathjax")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy2(script(), folder)


def setup(app: Sphinx) -> dict[str, Any]:
    script()
    app.connect("build-finished", copy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

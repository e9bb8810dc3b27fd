"""Scripts of the pages from installed packages instead of from the network, copied into the built pages.

MathJax (Apache licence) sets the formulas. D3 (BSD licence) draws the playground, in SVG, which takes its colours
from the theme. It is a fifth of Bokeh and a twentieth of Plotly, and mpld3, which brings it, needs nothing that the
pages do not need anyway. uPlot is smaller still, but no maintained package has it.
"""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

FILES = {
    # MathJax 3 with its fonts, in a file that loads nothing else. This package is also a Sphinx extension; as one it
    # would copy all of MathJax, ten times this file.
    "mathjax": ("sphinx-mathjax-offline", "static/mathjax/tex-svg.js"),
    "d3": ("mpld3", "js/d3.v5.min.js"),
}
"""By their folder in the built pages: the package and the file in it."""


def script(package: str, path: str) -> Path:
    """A file of an installed package."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ExtensionError(f'{package} is not installed: pip install "mabn_ref[docs]"')
    return Path(spec.submodule_search_locations[0]) / path


def copy(app: Sphinx, error: Exception | None) -> None:
    """Copy the scripts beside the built pages."""
    if error is None and app.builder.format == "html":
        for name, source in FILES.items():
            folder = Path(app.outdir, "_static", name)
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy2(script(*source), folder)


def setup(app: Sphinx) -> dict[str, Any]:
    for source in FILES.values():
        script(*source)
    app.connect("build-finished", copy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

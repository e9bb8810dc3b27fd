"""An API page for every module of the data, the layers and the normalisers, written to ``docs/api/``.

The pages of their packages, ``docs/api/norms.rst`` among them, list them in the order to read them; a module that is
not in such a list fails the build.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pages
from equations import Trace, code_page
from sphinx.application import Sphinx

PACKAGES = ("data", "nn", "norms")
INTERNAL = {"data.causes", "nn.common", "nn.layers", "norms.checks"}
BELOW = {
    "norms.batch_renorm": ".. autoclass:: mabn_ref.norms.batch_renorm.Ramp\n   :members:",
    "norms.eval_norm": "``statistics`` is that of `mabn_ref.norms.batch_norm`.",
    "norms.mabn_variants": "``statistics`` is that of `mabn_ref.norms.mabn`. :doc:`/choices` has the reason of every "
    "setting.",
    "norms.power_norm": "``statistics`` is that of `mabn_ref.norms.modified_batch_norm`.",
    "norms.unified_norm": "``statistics`` is that of `mabn_ref.norms.modified_batch_norm`.",
}
"""What a page says below the members of its module."""


def write_pages(app: Sphinx) -> None:
    """Write the pages, with a link to the annotated source of a module that computes an equation."""
    package = Path(app.config.source_root) / "mabn_ref"
    paths = [path for name in PACKAGES for path in sorted((package / name).glob("[!_]*.py"))]
    modules = {f"{path.parent.name}.{path.stem}": f"mabn_ref/{path.parent.name}/{path.name}" for path in paths}
    trace: Trace = app.env.mabn_trace
    annotated = {place.path for places in trace.code.values() for place in places}
    shown = {name: _page(name, path, path in annotated) for name, path in modules.items() if name not in INTERNAL}
    pages.write(Path(app.srcdir) / "api", {f"{name}.rst": text for name, text in shown.items()}, "*.*.rst")


def _page(name: str, path: str, annotated: bool) -> str:
    blocks = [f"{name}\n{'=' * len(name)}"]
    blocks += [f"With its formulas: :doc:`annotated source </{code_page(path)}>`."] if annotated else []
    blocks += [f".. automodule:: mabn_ref.{name}\n   :members:"]
    blocks += [BELOW[name]] if name in BELOW else []
    return "\n\n".join(blocks) + "\n"


def setup(app: Sphinx) -> dict[str, Any]:
    app.setup_extension("equations")
    app.connect("builder-inited", write_pages, priority=600)  # when the equations of the code are known
    return {"parallel_read_safe": True, "parallel_write_safe": True}

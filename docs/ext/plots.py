"""Plots of the pages that are drawn again when what they are drawn from has changed, and not only their script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx


def forget_old(root: Path, drawn: Path) -> None:
    """Remove plots in `drawn` that are older than the package or a record; Sphinx reads their pages again then."""
    sources = [*(root / "mabn_ref").rglob("*.py"), *(root / "docs" / "results" / "benchmarks").glob("*.json")]
    newest = max(source.stat().st_mtime for source in sources)
    for image in drawn.rglob("*.*"):
        if image.is_file() and image.stat().st_mtime < newest:
            image.unlink()


def forget(app: Sphinx) -> None:
    forget_old(Path(app.config.source_root), Path(app.doctreedir).parent / "plot_directive")


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("builder-inited", forget)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

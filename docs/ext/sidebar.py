"""The sidebar of pages that it does not list, made once per folder and not per page, which took long."""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx


def share(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Let the pages of a folder that no table of contents lists share one sidebar, whose links are the same in it."""
    if page in app.env.found_docs and "orphan" not in app.env.metadata[page]:
        return
    made: dict[Any, str] = app.env.temp_data.setdefault("sidebars", {})
    toctree = context.get("toctree")

    def once(**options: Any) -> str:
        key = page.rpartition("/")[0], *sorted(options.items())
        if key not in made:
            made[key] = toctree(**options)
        return made[key]

    if toctree is not None:
        context["toctree"] = once


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("html-page-context", share, priority=400)  # before the theme asks for it
    return {"parallel_read_safe": True, "parallel_write_safe": True}

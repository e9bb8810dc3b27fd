"""The sidebar, made once per folder and not per page, which took long: its links are the same in all of a folder."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

_TAG = re.compile(r'<(/?)(ul|li)(?: class="([^"]*)")?>|<a class="reference internal" href="([^"]*)">')
_CURRENT = '<a class="current reference internal" href="#">'


def share(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Let the pages of a folder share one sidebar, in which each is then marked as the current one."""
    made: dict[Any, str] = app.env.temp_data.setdefault("sidebars", {})
    toctree = context.get("toctree")
    link = app.builder.get_target_uri(page).rpartition("/")[2]

    def once(**options: Any) -> str:
        key = page.rpartition("/")[0], *sorted(options.items())
        if key not in made:
            made[key] = unmarked(toctree(**options), link)
        return marked(made[key], link)

    if toctree is not None:
        context["toctree"] = once


def unmarked(sidebar: str, link: str) -> str:
    """Take the marks of the current page off a sidebar; its own link is `link`."""
    sidebar = sidebar.replace(_CURRENT, f'<a class="reference internal" href="{link}">')
    return sidebar.replace(' current">', '">').replace('<ul class="current">', "<ul>")


def marked(sidebar: str, link: str) -> str:
    """Mark the entry of the page at `link`, and every list and entry that it is in, as Sphinx does."""
    opened: list[int] = []
    current: set[int] = set()
    for tag in _TAG.finditer(sidebar):
        if tag[4] == link:
            current |= {*opened, tag.start()}
        elif tag[1]:
            opened.pop()
        elif tag[2]:
            opened.append(tag.start())
    return _TAG.sub(lambda tag: _as_current(tag) if tag.start() in current else tag[0], sidebar)


def _as_current(tag: re.Match[str]) -> str:
    if tag[2]:
        return f'<{tag[2]} class="{tag[3] + " " if tag[3] else ""}current">'
    return _CURRENT


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("html-page-context", share, priority=400)  # before the theme asks for it
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""A small project built by Sphinx in this process; starting Python for each would take most of the time."""

from __future__ import annotations

import contextlib
import io
import sys
import warnings
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
EXTENSIONS = DOCS / "ext"


def written() -> list[Path]:
    """The pages that somebody wrote, without those that a build writes beside them, perhaps just now."""
    made = ("_build", "code", "gen", "tutorials")
    pages = [page for page in DOCS.rglob("*.rst") if page.relative_to(DOCS).parts[0] not in made]
    return sorted(page for page in pages if not (page.match("course/[0-9]*") or page.match("api/*.*.rst")))


def complaints(folder: Path, source: str = ".") -> str:
    """Build the pages in `source` into ``html``, warnings as errors, and return what Sphinx wrote to standard error.

    Nothing is written if and only if the build has succeeded.
    """
    pytest.importorskip("sphinx", reason='sphinx is not installed: pip install "mabn_ref[docs]"')
    from sphinx.cmd.build import build_main

    options = ["-q", "-W", "--keep-going", "-n", "-N", "-b", "html"]
    paths, said = list(sys.path), io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(said):
            warnings.simplefilter("ignore")  # Python's; those of Sphinx about the pages are not among them
            code = build_main([*options, str(folder / source), str(folder / "html")])
    finally:
        sys.path[:] = paths  # a project's conf.py puts the extensions there
    assert (code == 0) == (said.getvalue().strip() == "")
    return said.getvalue()


def configuration(*extensions: str, **settings: object) -> str:
    """The conf.py of a project with some of our extensions."""
    lines = [f"import sys\nsys.path[:0] = [{str(EXTENSIONS.parents[1])!r}, {str(EXTENSIONS)!r}]"]
    lines += [f"{name} = {value!r}" for name, value in {"extensions": list(extensions), **settings}.items()]
    return "\n".join([*lines, ""])

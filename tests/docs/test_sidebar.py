"""The sidebar of a page is the one that Sphinx would have made for it, though a folder's pages share one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.building import complaints, configuration

pytestmark = pytest.mark.docs

PAGES = {
    "index": ".. toctree::\n   :caption: First\n\n   one\n   part/index\n\n.. toctree::\n\n   two\n   part/b\n",
    "one": "Section\n-------\n\nMore\n-----\n",
    "two": "",
    "alone": ":orphan:\n",
    "part/index": ".. toctree::\n\n   a\n   b\n   deep/index\n",
    "part/a": "",
    "part/b": "",
    "part/alone": ":orphan:\n",
    "part/deep/index": ".. toctree::\n\n   c\n",
    "part/deep/c": "",
}


def built(folder: Path, *extensions: str) -> dict[str, str]:
    """What is written, by page: those above, and those that Sphinx adds."""
    folder.mkdir()
    (folder / "conf.py").write_text(configuration(*extensions, html_theme="furo", suppress_warnings=["toc"]))
    for name, text in PAGES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        option, text = (text, "") if text.startswith(":") else ("", text)
        (folder / f"{name}.rst").write_text(f"{option}\nPage {name}\n{'=' * 30}\n\n{text}")
    assert complaints(folder) == ""
    html = folder / "html"
    return {str(path.relative_to(html)): path.read_text(encoding="utf-8") for path in html.rglob("*.html")}


def test_every_page_has_the_sidebar_that_sphinx_makes(tmp_path: Path) -> None:
    pytest.importorskip("furo", reason='furo is not installed: pip install "mabn_ref[docs]"')
    expected, found = built(tmp_path / "plain"), built(tmp_path / "shared", "sidebar")
    assert found.keys() == expected.keys() > {f"{name}.html" for name in PAGES}
    assert [name for name in found if found[name] != expected[name]] == []
    current = {name for name, html in found.items() if '<a class="current reference internal" href="#">' in html}
    listed = {f"{name}.html" for name in PAGES} - {"index.html", "alone.html", "part/alone.html"}
    assert current == listed

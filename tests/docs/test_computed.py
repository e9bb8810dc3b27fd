"""The directive ``computed``, on a project of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.building import complaints, configuration

pytestmark = pytest.mark.docs


def build(folder: Path, script: str) -> str:
    """What a build of one page with one script says."""
    (folder / "conf.py").write_text(configuration("computed"))
    (folder / "index.rst").write_text("Page\n====\n\n.. computed:: numbers.py\n")
    (folder / "numbers.py").write_text(script)
    return complaints(folder)


def test_what_a_script_prints_is_on_the_page(tmp_path: Path) -> None:
    assert build(tmp_path, "print(f'It is **{6 * 7}**.')\n") == ""
    assert "It is <strong>42</strong>." in (tmp_path / "html" / "index.html").read_text(encoding="utf-8")


def test_a_script_that_fails_fails_the_build(tmp_path: Path) -> None:
    said = build(tmp_path, "raise RuntimeError('no such number')\n")
    assert f"{tmp_path / 'index.rst'}:4: computed numbers.py: " in said
    assert 'numbers.py", line 1' in said
    assert "RuntimeError: no such number" in said

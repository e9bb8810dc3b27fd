"""The directive ``computed``, on a project of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXTENSIONS = Path(__file__).parents[2] / "docs" / "ext"


def _build(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("sphinx", reason='sphinx is not installed: pip install "mabn_ref[docs]"')
    (folder / "conf.py").write_text(
        f"import sys\nsys.path.insert(0, {str(EXTENSIONS)!r})\nextensions = ['computed']\n"
    )
    (folder / "index.rst").write_text("Page\n====\n\n.. computed:: numbers.py\n")
    (folder / "numbers.py").write_text(script)
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", str(folder), str(folder / "html")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_what_a_script_prints_is_on_the_page(tmp_path: Path) -> None:
    done = _build(tmp_path, "print(f'It is **{6 * 7}**.')\n")
    assert done.returncode == 0, done.stderr
    assert "It is <strong>42</strong>." in (tmp_path / "html" / "index.html").read_text(encoding="utf-8")


def test_a_script_that_fails_fails_the_build(tmp_path: Path) -> None:
    done = _build(tmp_path, "raise RuntimeError('no such number')\n")
    assert done.returncode != 0
    assert "no such number" in done.stderr

"""What the files at the top of the repository say of the project, once and rightly."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from mabn_ref import __version__
from tests.conftest import SLOW

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_version_stands_in_one_place() -> None:
    """The package has it; pyproject reads it there, and nothing else but the changelog says it."""
    assert PROJECT["project"]["dynamic"] == ["version"]
    source = ROOT / PROJECT["tool"]["hatch"]["version"]["path"]
    assert re.findall(r'^__version__ = "(.+)"$', source.read_text(encoding="utf-8"), re.MULTILINE) == [__version__]
    at_the_top = [path for path in ROOT.iterdir() if path.suffix in (".toml", ".md", ".cff", ".py")]
    texts = [
        *at_the_top,
        *(ROOT / "mabn_ref").rglob("*.py"),
        *(ROOT / "docs").glob("*.rst"),
        ROOT / "docs" / "conf.py",
    ]
    said = {path for path in texts if __version__ in path.read_text(encoding="utf-8")}
    assert said - {ROOT / "CHANGELOG.md"} == {source}


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_linked_files_exist(name: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / name).read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_files_that_contributing_names_exist() -> None:
    """What is in backticks and looks like a path; NAME stands for a new one's."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:py|toml|md))`", text))
    assert len(named) > 30
    assert [name for name in named if "NAME" not in name and not (ROOT / name).exists()] == []


def test_what_fast_leaves_out_exists() -> None:
    assert [place for place in SLOW if not (ROOT / "tests" / place).exists()] == []

"""Every example on the pages runs and gives what the page says."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest

from mabn_ref import cli
from mabn_ref.cli import checks, compare, learn, paper, train
from tests.docs.building import DOCS, written

PAGES = written()
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def _name(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


@pytest.mark.parametrize("page", [page for page in PAGES if ">>>" in page.read_text(encoding="utf-8")], ids=_name)
def test_examples(page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(page.parent)  # for the files that a page includes
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    failed, tried = doctest.testfile(
        str(page), module_relative=False, optionflags=FLAGS, encoding="utf-8", raise_on_error=False
    )
    assert tried > 0
    assert failed == 0


def test_no_other_python() -> None:
    """Python on the pages is an example with its output, or a file that an example imports; nothing goes unrun."""
    for page in PAGES:
        assert not re.search(r"code-block:: (python|pycon)", page.read_text(encoding="utf-8")), _name(page)


def _commands() -> list[str]:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    return re.findall(r"(?:^\s*\$ |/)(mabn-ref\b.+)$", text, re.MULTILINE)


@pytest.mark.parametrize("command", sorted(set(_commands())))
def test_commands_exist(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line takes the commands of the pages, options included; what they do is tested elsewhere."""
    asked: list[str] = []
    doings = {compare: ["run"], paper: ["run"], train: ["run", "_fetch", "_export"], learn: ["run"]}
    doings[checks] = ["_gradcheck", "_mistakes", "_check", "_vectors"]
    for module, names in doings.items():
        for name in names:
            _replace_run(module, name, asked, monkeypatch)
    assert cli.main(shlex.split(command)[1:]) == 0
    assert len(asked) == 1


def _replace_run(module: ModuleType, name: str, asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def run(args: object) -> int:
        asked.append(f"{module.__name__}.{name}")
        return 0

    monkeypatch.setattr(module, name, run)

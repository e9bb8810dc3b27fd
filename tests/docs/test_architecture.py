"""The floors of the architecture page hold: no import goes up or sideways, and the drawing has all its arrows."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "docs" / "ext"))
rooms = importlib.import_module("rooms")
PAGE = (ROOT / "docs" / "architecture.rst").read_text(encoding="utf-8")


def package(folder: Path, **sources: str) -> Path:
    """A package of rooms with one file each."""
    for room, source in sources.items():
        (folder / "house" / room).mkdir(parents=True)
        (folder / "house" / room / "a.py").write_text(source)
    return folder / "house"


def test_no_import_goes_up_or_sideways() -> None:
    level = {room: number for number, floor in enumerate(rooms.floors()) for room in floor}
    found = rooms.arrows()
    assert {room for arrow in found for room in arrow} == level.keys()
    wrong = {arrow: files for arrow, files in found.items() if level[arrow[0]] <= level[arrow[1]]}
    assert wrong == {}


@pytest.mark.parametrize("room", ["norms", "nn", "gradcheck"])
def test_the_core_imports_arrays_alone(room: str) -> None:
    assert {there for here, there in rooms.arrows() if here == room} == {"arrays"}


def test_imports_are_read_in_every_form(tmp_path: Path) -> None:
    one = "import house.b.a\n"
    two = "from house import c\n\ndef f():\n    from house.d.a import x\n    from elsewhere.b import y\n"
    found = rooms.arrows(package(tmp_path, a=one, b=two, c="import house.c.a, os\n", d=""))
    assert found == {("a", "b"): {"a/a.py"}, ("b", "c"): {"b/a.py"}, ("b", "d"): {"b/a.py"}}


def test_arrows_that_a_chain_stands_for_are_not_drawn() -> None:
    assert rooms.without_detours({("a", "b"), ("b", "c"), ("a", "c")}) == {("a", "b"), ("b", "c")}
    drawn = rooms.without_detours(set(rooms.arrows()))
    assert ("cli", "check") in drawn
    assert ("cli", "arrays") not in drawn


def test_the_page_tells_of_every_room() -> None:
    table = re.findall(r"^``(\w+)`` +\w", PAGE, re.MULTILINE)
    ground, *upper = rooms.floors()
    assert set(table) == {"arrays", *(room for floor in upper for room in floor)}
    assert all(f"``{file}``" in PAGE for file in ground)
    assert f"{['ten', 'eleven', 'twelve'][len(table) - 10]} rooms on five floors" in PAGE
    assert len(rooms.floors()) == 5


def test_the_walks_go_through_rooms_and_have_as_many_steps_in_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib", reason='matplotlib is not installed: pip install "mabn_ref[run]"')
    source = (ROOT / "docs" / "figures" / "architecture.py").read_text(encoding="utf-8")
    drawing: dict[str, object] = {}
    exec(compile(source, "architecture.py", "exec"), drawing)
    steps = [len(re.findall(r"^#\. ", part, re.MULTILINE)) for part in PAGE.split("\n---")]
    ways = [way for _, _, way in drawing["WALKS"].values()]  # type: ignore[attr-defined]
    assert [len(way) for way in ways] == [count for count in steps if count]
    joined = {*map(frozenset, rooms.arrows()), frozenset(("nn", "norms"))}  # a network is handed its normaliser
    assert [pair for way in ways for pair in pairwise(way) if frozenset(pair) not in joined] == []


def test_modules_of_the_page_exist() -> None:
    named = set(re.findall(r"`(mabn_ref\.[\w.]+)`", PAGE))
    assert len(named) > 8
    assert [name for name in named if importlib.util.find_spec(name) is None] == []

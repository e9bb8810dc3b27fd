"""The parts of the course: the course's page and the plan for a class are made of one list."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from mabn_ref.learn.exercise import course
from tests.docs.building import DOCS, EXTENSIONS

pytestmark = pytest.mark.docs


@pytest.fixture
def extension(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    pytest.importorskip("sphinx", reason='sphinx is not installed: pip install "mabn_ref[docs]"')
    monkeypatch.syspath_prepend(str(EXTENSIONS))
    spec = importlib.util.spec_from_file_location("course_extension", EXTENSIONS / "exercises.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_every_exercise_is_in_one_part_and_hunts_are_by_themselves(extension: ModuleType) -> None:
    parts = [extension.of_part(part) for part in extension.PARTS]
    assert [exercise for part in parts for exercise in part] == list(course())
    for part in parts:
        assert len({"_hunt_" in exercise.name for exercise in part}) == 1, [exercise.name for exercise in part]


def test_the_page_of_the_course_and_the_plan_for_a_class_agree(extension: ModuleType, html: Path) -> None:
    listed = (html / "course" / "index.html").read_text(encoding="utf-8")
    planned = (html / "howto" / "use_in_class.html").read_text(encoding="utf-8")
    headings = list(re.finditer(r'<p class="rubric">(.*?)</p>', listed))
    rows = [
        [re.sub(r"<[^>]*>|\n", "", cell).strip() for cell in re.findall(r"<td>(.*?)</td>", row, re.DOTALL)]
        for row in re.findall(r"<tr.*?</tr>", planned.partition("read first")[2].partition("</table>")[0], re.DOTALL)
    ]
    rows = [row for row in rows if row]
    assert [heading[1] for heading in headings] == [title for title, _, _ in rows]
    ends = [*(heading.start() for heading in headings[1:]), len(listed)]
    for heading, end, (_, numbers, _) in zip(headings, ends, rows, strict=True):
        below = [
            int(number) for number in re.findall(r">(\d+)\. ", listed[heading.start() : end].split("<footer")[0])
        ]
        found = list(map(int, re.findall(r"\d+", numbers)))
        assert (min(below), max(below)) == (found[0], found[-1])


def test_no_page_counts_the_parts_or_numbers_the_hunts_by_hand() -> None:
    text = (DOCS / "howto" / "use_in_class.rst").read_text(encoding="utf-8")
    assert not re.search(r"\b(six|seven|eight|nine|\d+) parts\b|\b\d+ to \d+\b", text.partition("Files\n---")[0])

"""The findings: a page says what the committed file says, its prose has no numbers, and no file has paths in it."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from mabn_ref.paper.corrections import family
from mabn_ref.paper.study import STUDIES

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(page for page in (DOCS / "findings").glob("*.rst") if page.stem != "index")
FILES = sorted((DOCS / "results" / "paper").rglob("*.json"))
FALLEN = re.compile(":fallen:`([^`]+)`")
BLOCK = re.compile(r"^\.\. recorded:: (\S+)\n   :command: (.+)$", re.MULTILINE)


def shown() -> dict[Path, tuple[str, str]]:
    """The files that pages name, with the page and the command it gives."""
    return {
        DOCS / file: (page.stem, command)
        for page in PAGES
        for file, command in BLOCK.findall(page.read_text(encoding="utf-8"))
    }


def text_of(html: Path, page: str) -> str:
    """A page as one line, without mark-up."""
    content = (html / "findings" / f"{page}.html").read_text(encoding="utf-8")
    return plain(unescape(re.sub(r"<[^>]+>", "", content)))


def plain(text: str) -> str:
    """A line without what mark-up and typography change."""
    for before, after in (("\u2019", "'"), ("\u201c", '"'), ("\u201d", '"'), ("\u2026", "..."), ("`", "")):
        text = text.replace(before, after)
    return re.sub(r"\s+", " ", text)


def strings(content: Any) -> list[str]:
    """Every string in a JSON value, keys included."""
    if isinstance(content, dict):
        return [*content, *(found for value in content.values() for found in strings(value))]
    if isinstance(content, list):
        return [found for value in content for found in strings(value)]
    return [content] if isinstance(content, str) else []


def test_every_study_is_on_a_page() -> None:
    assert {file.stem for file in shown()} == set(STUDIES)
    for file, (page, command) in shown().items():
        assert command.split()[:3] == ["mabn-ref", "paper", file.stem], page


def test_the_text_of_a_page_marks_its_verdicts_on_real_images_that_fall_and_no_other() -> None:
    """Not those on generated images, which the text draws no conclusions from."""
    fallen: dict[str, set[str]] = {page.stem: set() for page in PAGES}
    for judged in family(DOCS / "results"):
        settings = json.loads(judged.file.read_text(encoding="utf-8"))["settings"]
        if judged.fallen and settings["data"] == "directory":
            fallen[shown()[judged.file][0]].add(judged.name)
    assert sum(map(len, fallen.values())) > 0
    marked = {page.stem: set(FALLEN.findall(page.read_text(encoding="utf-8"))) for page in PAGES}
    assert marked == fallen


def test_every_page_is_in_the_overview_and_in_the_contents() -> None:
    index = (DOCS / "findings" / "index.rst").read_text(encoding="utf-8")
    overview = dict(re.findall(r"^   (\w+) (results/paper/.+)$", index, re.MULTILINE))
    contents = re.findall(r"^   (\w+)$", index.partition(".. toctree::")[2], re.MULTILINE)
    assert list(overview) == contents
    assert sorted(contents) == [page.stem for page in PAGES]
    for page, files in overview.items():
        assert {shown()[DOCS / file][0] for file in files.split()} == {page}
    listed = {DOCS / file for files in overview.values() for file in files.split()}
    assert {file for file in shown() if "embedded" not in file.parts} == listed


@pytest.mark.parametrize("page", [*PAGES, DOCS / "findings" / "index.rst"], ids=lambda page: page.stem)
def test_no_measured_number_is_typed(page: Path) -> None:
    prose = FALLEN.sub("", BLOCK.sub("", page.read_text(encoding="utf-8"))).replace("95 % t interval", "")
    assert re.findall(r"\d[.,]\d|\d ?%|(?<!\w)[-+±]\d", prose) == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: "/".join(file.relative_to(DOCS / "results").parts))
def test_a_committed_file_is_on_its_page_and_has_its_records(file: Path) -> None:
    found = json.loads(file.read_text(encoding="utf-8"))
    page, command = shown()[file]
    assert found["study"] == file.stem
    assert found["command"] == command, page
    records = file.parent / STUDIES[found["study"]].file
    assert records.exists() or not found["runs"] or found["study"] == "figures"  # whose records are megabytes


@pytest.mark.parametrize(
    "file",
    [path for path in sorted((DOCS / "results").rglob("*.json*"))],
    ids=lambda file: "/".join(file.relative_to(DOCS / "results").parts),
)
def test_no_path_of_a_machine_is_committed(file: Path) -> None:
    lines = [file.read_text(encoding="utf-8")] if file.suffix == ".json" else file.read_text("utf-8").splitlines()
    for line in lines:
        for string in strings(json.loads(line)):
            assert not re.search(r"(^|[\s=:\"'])(/\w|~/|[A-Za-z]:\\)", string), string


@pytest.mark.docs
@pytest.mark.parametrize("file", list(shown()), ids=lambda file: "/".join(file.relative_to(DOCS / "results").parts))
def test_the_page_says_what_the_file_says(html: Path, file: Path) -> None:
    page, command = shown()[file]
    text = text_of(html, page)
    if not file.exists():
        assert f"Not yet measured here. The command is {command}." in text
        return
    found = json.loads(file.read_text(encoding="utf-8"))
    for line in [found["command"], *found["verdicts"], *found["notes"]]:
        assert plain(line) in text, line
    for table in found["tables"]:
        for cells in [[table["title"]], table["header"], *table["rows"]]:
            assert all(plain(cell) in text for cell in cells), cells
    content = (html / "findings" / f"{page}.html").read_text(encoding="utf-8")
    assert content.count('src="data:image/svg+xml;base64,') >= len(STUDIES[found["study"]].draw(found["data"]))

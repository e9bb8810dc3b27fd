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
    """Every string in a JSON value, keys included, but for what a run's record packs into base64."""
    if isinstance(content, dict):
        values = (value for key, value in content.items() if key != "hits")
        return [*content, *(found for value in values for found in strings(value))]
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


ANSWERS = [
    ("table2", "cannot be told from batch norm", "table2", "(8) MABN 2 + WC like (1) BN 32", "no difference found"),
    ("table2", "the tie is gone", "table2", "(8) MABN 2 + WC like BN 32 + WC (control)", "does not hold"),
    ("table4", "Centralised weights alone do not change it", "credit", "WC on BN 2, beyond", "no effect found"),
    (
        "table4",
        "MABN without them closes nothing",
        "credit",
        "form and averages (m = 16), without WC",
        "raises the error",
    ),
    ("figure1b", "hardly depends on", "width-16/figure1b", "MABN 2 + WC like MABN 32 + WC", "no difference found"),
    ("window", "is not decided", "width-16/window/window", "m = 64 below m = 16", "not decided"),
    ("window", "single normalisation batch", "width-16/window/window", "m = 16 below m = 1", "holds"),
    ("window", "sixteen gradient batches", "width-16/window/window", "m = 64 minus m = 256", "lowers the error"),
    ("related", "closest", "width-16/related/related", "Online Norm like BN 32", "does not hold"),
    ("search", "well ahead", "width-16/search", "MABN 2 + WC below BN 2 + WC", "holds"),
    ("search", "well ahead", "width-16/search", "MABN 2 + WC below BRN 2", "holds"),
    ("theorem2", "As printed, Theorem 2 does not hold", "theorem2", "Theorem 2, total variance", "does not hold"),
    ("theorem2", "takes noise out", "width-16/weight_noise", "less noise in the weights", "the opposite holds"),
    ("table3", "keeps up with SyncBN", "table3", "MABN 2 + WC like SyncBN 16:", "no difference found"),
    ("table3", "is not decided", "table3", "BRN 2 below MABN 2 + WC", "not decided"),
    ("table3", "is not decided", "table3", "BN 2 + WC (control) below MABN 2 + WC", "not decided"),
    ("table3", "falls far behind", "table3", "BN 2 below SyncBN 16", "holds"),
    ("table3", "no difference from SyncBN is found", "table3", "BN 2, own statistics like", "no difference found"),
    ("table5", "keeps up with SyncBN", "table5", "MABN 2 + WC like SyncBN 16:", "no difference found"),
    ("table5", "stays well behind", "table5", "BRN 2 below MABN 2 + WC", "holds"),
    ("table5", "is last", "table5", "BN 2 below BRN 2", "holds"),
    ("table5", "needs batch statistics in the head", "table5", "MABN 2 + WC, no warm-up", "holds"),
    ("table6", "MABN stays below SyncBN", "table6", "MABN 2 + WC like SyncBN 16:", "does not hold"),
    ("table6", "from the same pretraining", "table6", "MABN 2 + WC like SyncBN 16 + WC (control)", "does not hold"),
    ("table6", "helps MABN at all is not decided", "table6", "MABN 2 + WC, scratch (control) below", "not decided"),
    (
        "residual",
        "cannot be told from batch",
        "resnet8/table2",
        "(8) MABN 2 + WC like (1) BN 32",
        "no difference found",
    ),
    (
        "residual",
        "stays behind",
        "resnet8/table2",
        "(8) MABN 2 + WC like BN 32 + WC (control)",
        "does not hold",
    ),
    ("long", "cannot be told apart", "long", "MABN 2 + WC like BN 32 + WC", "no difference found"),
    ("table8", "keeps up with SyncBN", "table8", "MABN 2 + WC like SyncBN 16", "no difference found"),
    ("table8", "nothing is decided", "table8_devices", "BN 2 below MABN 2 + WC", "not decided"),
    ("table8", "nothing is decided", "table8_devices", "BRN 2 below MABN 2 + WC", "not decided"),
    ("table8", "so does Batch Renormalization", "table8", "BRN 2 below MABN 2 + WC", "not decided"),
]
"""A page, words of its answer, and what a verdict of a file says of them."""


@pytest.mark.parametrize(("page", "words", "file", "claim", "verdict"), ANSWERS)
def test_an_answer_says_what_the_verdicts_do(page: str, words: str, file: str, claim: str, verdict: str) -> None:
    assert words in answer(page)
    lines = [line for line in recorded(file)["verdicts"] if line.startswith(claim)]
    assert lines
    assert all(re.search(rf"[:;,] {verdict}[;,]", line) for line in lines)


def answer(page: str) -> str:
    """The answer with which a page opens, as one line."""
    text = (DOCS / "findings" / f"{page}.rst").read_text(encoding="utf-8")
    found = re.search(r"^\.\. finding:: (?:.+\n)+\n((?:   .+\n)+)", text, re.MULTILINE)
    assert found is not None
    return " ".join(found[1].split())


def recorded(file: str) -> dict[str, Any]:
    """The content of a study's file."""
    found: dict[str, Any] = json.loads((DOCS / "results" / "paper" / f"{file}.json").read_text(encoding="utf-8"))
    return found


def numbers(file: str, column: int) -> dict[str, float]:
    """A column of a study's first table, without the intervals, by row."""
    rows = recorded(file)["tables"][0]["rows"]
    return {row[0]: float(row[column].split()[0]) for row in rows if re.match(r"[-+]?\d", row[column])}


def test_sizes_in_answers_are_those_of_the_records() -> None:
    assert "half of its lead over batch norm with two images remains" in answer("table2")
    errors = numbers("table2", 3)
    lead = errors["(3) BN 2"] - errors["(8) MABN 2 + WC"]
    assert 0.4 < (errors["BN 2 + WC (control)"] - errors["(8) MABN 2 + WC"]) / lead < 0.6

    assert "about half of the gap with the paper's window, and more with one four times as long" in answer("table4")
    for file in ("credit", "width-16/window/credit"):
        closed = numbers(file, 3)
        assert 45 < closed["form and averages (m = 16), with WC"] < 55 < closed["form and averages (m = 64), with WC"]

    assert "by about a quarter at most, and those of backward by more than three times" in answer("figures")
    distance = numbers("width-16/figures", 2)
    of_two = {row: value for row, value in distance.items() if "MABN" not in row}
    backward = {row: value for row, value in of_two.items() if row.endswith((": g", ": Psi"))}
    assert min(backward.values()) > 300
    assert max(value for row, value in of_two.items() if row not in backward) < 27

    assert "less than one point, of more than eight" in answer("equation6")
    errors = numbers("width-16/equation6", 2)
    assert max(map(abs, numbers("width-16/equation6", 6).values())) < 1
    assert errors["BN 2"] - errors["BN 32"] > 8

    assert "The gap of batch norm with two images stays" in answer("long")
    assert "about five points" in answer("long")
    errors = numbers("long", 5)
    assert 4.5 < errors["BN 2 + WC"] - errors["BN 32 + WC"] < 5.5

    assert "runs at little more than half that speed" in answer("table9")
    assert 0.5 < 1 / numbers("table9", 3)["GN"] < 0.6
    assert numbers("table9", 3)["MABN 2 + WC, folded"] < 1.05


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

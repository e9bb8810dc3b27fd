"""The directive ``recorded``, on a project of its own."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from mabn_ref.paper import summary
from mabn_ref.paper.claims import Claim, Measured, verdict
from mabn_ref.paper.output import write
from mabn_ref.paper.study import STUDIES, Context
from mabn_ref.train import results
from tests.docs.building import EXTENSIONS, complaints, configuration

pytestmark = pytest.mark.docs

sys.path.append(str(EXTENSIONS))
pytest.importorskip("sphinx", reason='sphinx is not installed: pip install "mabn_ref[docs]"')
recorded = importlib.import_module("recorded")
SETTINGS: dict[str, Any] = {"data": "embedded", "data_dir": None, "train_size": 2400, "test_size": 1000, "width": 16}
SETTINGS |= {"epochs": 8, "lr": 0.03, "weight_decay": 0.0005, "augment": True}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with Table 2, from records whose errors are made up."""
    tmp_path = tmp_path_factory.mktemp("recorded")
    study, context, place = STUDIES["table2"], Context((0, 1, 2), SETTINGS), tmp_path / "results"
    results.prepare(place / study.file)
    for config in study.plan(context, []):
        record: dict[str, Any] = {"status": "done", "message": None, "config": config.as_dict(), "seconds": 360.0}
        record |= {"versions": {"numpy": "2.0"}, "machine": {"system": "Linux", "cores": 2}}
        record["epochs"] = [{"test_error": 40.0 + config.seed + 10 * (config.norm == "bn")}] * config.epochs
        results.append(place / study.file, record)
    records_ = results.read(place / study.file)
    outcome, planned = study.outcome(context, records_), study.plan(context, records_)
    write("table2", study, outcome, context, place, "mabn-ref paper table2", planned, records_)
    (tmp_path / "conf.py").write_text(configuration("recorded"))
    (tmp_path / "index.rst").write_text("Page\n====\n\n.. recorded:: results/table2.json\n")
    return tmp_path


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(made, tmp_path / "project")


def built(folder: Path, index: str) -> str:
    """The first page, once it says `index`."""
    (folder / "index.rst").write_text(index)
    assert complaints(folder) == ""
    return (folder / "html" / "index.html").read_text(encoding="utf-8")


def test_tables_verdicts_pictures_and_where_they_come_from(folder: Path) -> None:
    assert complaints(folder) == ""
    html = (folder / "html" / "index.html").read_text(encoding="utf-8")
    assert "41.00 ± 2.48" in html
    assert "(8) MABN 2 + WC below (3) BN 2: <strong>holds</strong>; the difference is -10.00 ± 0.00 over 3" in html
    assert html.count('src="data:image/svg+xml;base64,') == 1
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))
    assert "2400 training and 1000 test images, 8 epochs, width 16, learning rate 0.03, weight decay 0.0005" in text
    assert "Command : mabn-ref paper table2" in text
    assert "39, 3.9 hours of one core; seeds 0, 1, 2" in text
    assert "numpy 2.0" in text
    assert "Linux, 2 cores" in text
    downloaded = {path.name for path in (folder / "html" / "_downloads").rglob("*.json*")}
    assert downloaded == {"table2.json", "results.jsonl"}


def test_pictures_are_drawn_from_the_file_alone(folder: Path) -> None:
    before = recorded.pictures(json.loads((folder / "results" / "table2.json").read_text()))
    (folder / "results" / "results.jsonl").unlink()
    assert complaints(folder) == ""
    html = (folder / "html" / "index.html").read_text(encoding="utf-8")
    assert f'src="{before[""]}"' in html


def test_a_study_that_was_not_run_says_so_with_its_command(folder: Path) -> None:
    page = "Page\n====\n\n.. recorded:: results/window.json\n   :command: mabn-ref paper window --seeds 5\n"
    text = re.sub(r"<[^>]+>", "", built(folder, page))
    assert "Not yet measured here. The command is mabn-ref paper window --seeds 5." in text


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("recorded:: results/broken.json", "recorded results/broken.json: "),
        ("recorded:: results/incomplete.json", "KeyError: 'tables'"),
        ("recorded:: results/typo.json", "ERROR: there is no file 'results/typo.json'"),
        ("recorded-overview::\n\n   typo results/table2.json", "No such file or directory"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(folder: Path, page: str, said: str) -> None:
    (folder / "results/broken.json").write_text('{"study": ')
    found = json.loads((folder / "results/table2.json").read_text())
    del found["tables"]
    (folder / "results/incomplete.json").write_text(json.dumps(found))
    (folder / "index.rst").write_text(f"Page\n====\n\n.. {page}\n")
    complaint = complaints(folder)
    assert f"{folder / 'index.rst'}:4: " in complaint
    assert said in complaint


FOUND = "First\n=====\n\n.. finding:: Which of *them*\n   is it?\n\n   It is `the\n   second`.\n\nMore text.\n"
CONTENTS = ".. toctree::\n\n   table2\n   window\n"


def test_the_overview_says_what_each_page_found(folder: Path) -> None:
    (folder / "table2.rst").write_text(FOUND)
    (folder / "window.rst").write_text("Other\n=====\n\nNothing.\n")
    lines = "table2 results/table2.json", "window results/window.json"
    overview = "".join(f"   {line}\n" for line in lines)
    html = built(folder, f"Page\n====\n\n.. recorded-overview::\n\n{overview}\n{CONTENTS}")
    rows = [re.sub(r"<[^>]+>|\s+", " ", row).split() for row in re.findall(r"<tr.*?</tr>", html, re.DOTALL)]
    assert " ".join(rows[1]) == "First It is the second . embedded, 3 seeds"
    assert " ".join(rows[2]) == "Other not yet measured"
    page = (folder / "html" / "table2.html").read_text(encoding="utf-8")
    box = page[page.index('<div class="in-short') : page.index("More text.")]
    assert "Which of <em>them</em> is it?" in re.sub(r"\s+", " ", box)
    assert re.search(r"<strong>It is <cite>the\s+second</cite>\.</strong>", box)


def test_a_measured_page_without_a_finding_fails_the_build(folder: Path) -> None:
    (folder / "table2.rst").write_text("First\n=====\n\nNothing.\n")
    overview = ".. recorded-overview::\n\n   table2 results/table2.json\n"
    (folder / "index.rst").write_text(f"Page\n====\n\n{overview}\n.. toctree::\n\n   table2\n")
    assert "table2.rst has no finding to show" in complaints(folder)


def test_a_page_with_two_studies_has_one_line(folder: Path) -> None:
    found = json.loads((folder / "results/table2.json").read_text())
    found |= {"runs": 12, "seeds": [0, 1, 2, 3]}
    (folder / "results/credit.json").write_text(json.dumps(found))
    (folder / "page.rst").write_text(FOUND)
    files = "results/table2.json results/credit.json results/missing.json"
    html = built(folder, f"Page\n====\n\n.. recorded-overview::\n\n   page {files}\n\n.. toctree::\n\n   page\n")
    cells = [re.sub(r"<[^>]+>|\s+", " ", cell).strip() for cell in re.findall(r"<td.*?</td>", html, re.DOTALL)]
    assert cells[2:] == ["embedded, 3 seeds; embedded, 4 seeds"]


def test_cells_are_the_darker_the_larger_their_error(folder: Path) -> None:
    path = folder / "results" / "table2.json"
    found = json.loads(path.read_text())
    header, rows = ["", "a", "b"], [["first", "10.00 ± 1.00", "-"], ["second", "50.00 ± 1.00", "20.00 ± 99.00"]]
    found["tables"] = [{"title": "made up", "header": header, "rows": rows}]
    path.write_text(json.dumps(found))
    (folder / "results" / "results.jsonl").unlink()
    page = "Page\n====\n\n.. recorded:: results/table2.json\n"
    assert "shade-" not in built(folder, page)
    html = built(folder, f"{page}   :shaded:\n")
    assert re.findall(r'<td class="shade-(\d)"><p>([\d.]+)', html) == [("0", "10.00"), ("8", "50.00"), ("2", "20.00")]


def test_what_is_secondary_is_folded_and_abbreviations_are_spelled_out(folder: Path) -> None:
    html = built(folder, "Page\n====\n\n.. recorded:: results/table2.json\n")
    summaries = re.findall(r"<details class=\"folded\">\s*<summary>\s*(.*?)</summary>", html)
    verdicts = json.loads((folder / "results/table2.json").read_text())["verdicts"]
    assert summaries == [f"Verdicts ({len(verdicts)})", "To read the numbers", "Where they come from"]
    assert html.count("</details>") == 3
    assert '<abbr title="simple moving average statistics">SMAS</abbr> backward' in html


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("BN 2, decay 0.9, training images: no effect found, +0.53 ± 2.59 over 3 pairs", "no effect found"),
        ("variance of the simple average, settles, (8): (11) gives 0.06250, outside [0.06287, 0.06868]", "outside"),
        ("BN 2: no verdict, fewer than 3 pairs", "no verdict"),
        (
            "printed: +1 or more; |B| = 32: proven -1.000, inside [-1.034, -0.950] around the simulated -0.992",
            "inside",
        ),
        ("printed: +1 or more; |B| = 32: does not hold; proven -1.000, inside [-1.034, -0.950]", "does not hold"),
        ("A minus B: lowers the error, -9.83 ± 0.72 over 3 pairs (our question)", "lowers the error"),
        ("Theorem 2 does not hold as printed", None),
    ],
)
def test_what_is_said_of_an_effect_or_a_value(line: str, said: str | None) -> None:
    assert summary.judged(line) == said


def test_every_verdict_on_a_claim_is_known() -> None:
    """What `verdict` says is what the overview counts and a page has in bold."""
    found = {
        "low": Measured({0: 1.0, 1: 1.1, 2: 1.2}, {}, 0),
        "high": Measured({0: 2.0, 1: 2.11, 2: 2.2}, {}, 0),
        "wild": Measured({0: 0.0, 1: 9.0, 2: 1.0}, {}, 0),
        "few": Measured({0: 1.0}, {}, 0),
    }
    claims = [(a, b, lower) for a in found for b in found for lower in (True, False) if a != b]
    said = [summary.judged(verdict(Claim(*claim, "Table 1"), found)) for claim in claims]
    assert set(said) == set(summary.JUDGED)


def test_a_file_that_its_records_contradict_fails_the_build(folder: Path) -> None:
    path = folder / "results" / "table2.json"
    found = json.loads(path.read_text())
    found["verdicts"][0] = "MABN wins"
    path.write_text(json.dumps(found))
    assert "table2.json does not say what the records beside it do" in complaints(folder)

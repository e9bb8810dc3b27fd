"""The directive ``recorded``, on a project of its own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mabn_ref.experiments import results
from mabn_ref.paper import runner
from mabn_ref.paper.studies import STUDIES
from mabn_ref.paper.study import Context

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A page with Table 2, from records whose errors are made up."""
    pytest.importorskip("sphinx", reason='sphinx is not installed: pip install "mabn_ref[docs]"')
    study, context, place = STUDIES["table2"], Context((0, 1, 2), {}), tmp_path / "results"
    results.prepare(place / study.file)
    for config in study.plan(context, []):
        record: dict[str, Any] = {"status": "done", "message": None, "config": config.as_dict(), "seconds": 360.0}
        record |= {"versions": {"numpy": "2.0"}, "machine": {"system": "Linux", "cores": 2}}
        record["epochs"] = [{"test_error": 40.0 + config.seed + 10 * (config.norm == "bn")}]
        results.append(place / study.file, record)
    outcome = study.outcome(context, results.read(place / study.file))
    runner.write("table2", study, outcome, context, place, "mabn-ref paper table2")
    extensions, root = str(ROOT / "docs" / "ext"), str(ROOT)
    (tmp_path / "conf.py").write_text(
        f"import sys\nsys.path[:0] = [{root!r}, {extensions!r}]\nextensions = ['recorded']\n"
    )
    (tmp_path / "index.rst").write_text("Page\n====\n\n.. recorded:: results/table2.json\n")
    return tmp_path


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", str(folder), str(folder / "html")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_tables_verdicts_pictures_and_where_they_come_from(folder: Path) -> None:
    done = build(folder)
    assert done.returncode == 0, done.stderr
    html = (folder / "html" / "index.html").read_text(encoding="utf-8")
    assert "(8) MABN 2 + WC" in html
    assert "41.00 ± 2.48" in html
    assert "(8) MABN 2 + WC below (3) BN 2: holds; the difference is -10.00 ± 0.00 over 3 pairs" in html
    assert '<img src="data:image/svg+xml;base64,' in html
    said = "mabn-ref paper table2: 39 runs, 3.9 hours of one core; numpy 2.0; Linux, 2"
    assert said in re.sub(r"<[^>]+>", "", html)


def test_a_file_that_its_records_contradict_fails_the_build(folder: Path) -> None:
    path = folder / "results" / "table2.json"
    found = json.loads(path.read_text())
    found["verdicts"][0] = "MABN wins"
    path.write_text(json.dumps(found))
    done = build(folder)
    assert done.returncode != 0
    assert "table2.json does not say what the records beside it do" in done.stderr

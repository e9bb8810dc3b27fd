"""What docs/results holds is what the code makes of the records, and the records are of runs that it would plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mabn_ref.paper.output import as_text
from mabn_ref.paper.study import STUDIES, Context, Outcome
from mabn_ref.paper.summary import summary
from mabn_ref.train import results
from mabn_ref.train.comparison import ROWS, plan
from mabn_ref.train.config import DEFAULTS, RunConfig
from mabn_ref.train.table_layout import Table

RESULTS = Path(__file__).parents[2] / "docs" / "results"
# The records of the figures are not committed, being megabytes; Table 9 measures: test_folding.py.
FILES = [path for path in sorted((RESULTS / "paper").rglob("*.json")) if path.stem not in ("figures", "table9")]


def differing(ours: Any, theirs: Any, where: str = "") -> list[str]:
    """Where two values of JSON differ, numbers by more than rounding."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        missing = [f"{where}/{name}" for name in ours.keys() ^ theirs.keys()]
        return missing + [
            d for name in ours.keys() & theirs.keys() for d in differing(ours[name], theirs[name], f"{where}/{name}")
        ]
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return [d for k, (a, b) in enumerate(zip(ours, theirs, strict=True)) for d in differing(a, b, f"{where}/{k}")]
    if isinstance(ours, float) and isinstance(theirs, float):
        return [] if ours == pytest.approx(theirs, rel=1e-9, abs=1e-12) else [f"{where}: {ours} and {theirs}"]
    return [] if ours == theirs else [f"{where}: {ours} and {theirs}"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: "/".join(file.relative_to(RESULTS).parts))
def test_a_committed_study_is_what_the_code_makes_of_its_records(file: Path) -> None:
    kept = json.loads(file.read_text(encoding="utf-8"))
    study = STUDIES[kept["study"]]
    context = Context(tuple(kept["seeds"]), kept["settings"], kept.get("layer", "norm4"))
    records = results.read(file.parent / study.file)
    planned = study.plan(context, records)
    assert kept["runs"] == sum(results.find(records, config) is not None for config in planned) == len(planned)
    outcome = study.outcome(context, records)
    ours = json.loads(json.dumps(outcome._asdict() | {"tables": [table._asdict() for table in outcome.tables]}))
    del ours["differences"]  # what the verdicts judge; they are written, these are not
    assert [d for name in ours for d in differing(ours[name], kept[name], name)] == []
    seconds = sum(record["seconds"] for config in planned if (record := results.find(records, config)) is not None)
    assert kept["run_seconds"] == pytest.approx(seconds)


@pytest.mark.parametrize("file", FILES, ids=lambda file: "/".join(file.relative_to(RESULTS).parts))
def test_no_label_of_a_picture_is_cut_off(file: Path) -> None:
    pytest.importorskip("matplotlib", reason='matplotlib is not installed: pip install "mabn_ref[run]"')
    kept = json.loads(file.read_text(encoding="utf-8"))
    for name, figure in STUDIES[kept["study"]].draw(kept["data"]).items():
        figure.draw_without_rendering()
        width, height = figure.bbox.size
        of_axes = [label for axes in figure.axes for label in (axes.title, axes.xaxis.label, axes.yaxis.label)]
        for label in (*of_axes, *figure.texts):
            box = label.get_window_extent()
            inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
            assert inside or not label.get_text(), (name, label.get_text())


@pytest.mark.parametrize("file", FILES, ids=lambda file: "/".join(file.relative_to(RESULTS).parts))
def test_what_is_printed_of_a_study_fits_a_terminal(file: Path) -> None:
    kept = json.loads(file.read_text(encoding="utf-8"))
    tables = [Table(t["title"], tuple(t["header"]), [tuple(row) for row in t["rows"]]) for t in kept["tables"]]
    text = as_text(Outcome(tables, kept["verdicts"], kept["notes"], {}))
    assert [line for line in text.splitlines() if len(line) > 80] == []
    assert summary(kept["verdicts"]).startswith("In short, of ")
    assert ("SMAS: simple moving average" in text) == ("SMAS" in str(kept["tables"]) + str(kept["verdicts"]))


@pytest.mark.parametrize(
    ("name", "source", "seeds"), [("embedded", "embedded", 3), ("cifar10-subset", "directory", 5)]
)
def test_the_recorded_comparisons_are_of_the_defaults(name: str, source: str, seeds: int) -> None:
    """Or the README would show numbers that its command does not give."""
    records = results.read(RESULTS / name / "results.jsonl")
    assert {record["seed"] for record in records} == set(range(seeds))
    where = {"data": source, "data_dir": records[0]["config"]["data_dir"]}
    planned = plan(list(ROWS), range(seeds), [64], **where, **DEFAULTS[source])
    for record in records:
        assert RunConfig(**record["config"]) in planned
        assert len(record["epochs"]) == record["config"]["epochs"]

"""Every benchmark at its smallest, so that none of them rots, and the figures that must not get worse unseen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import __main__ as benchmarks
from tests.benchmarks import processes, relatives, timing, training_step

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "benchmarks"


def run(tmp_path: Path, *more: str) -> Any:
    file = tmp_path / "results.json"
    assert benchmarks.main(["--tiny", "--rounds", "1", "--json", str(file), *more]) == 0
    return json.loads(file.read_text(encoding="utf-8"))


def test_all_sections_without_pytorch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmarks, "_torch", lambda: None)
    written = run(tmp_path)
    assert list(written["results"]) == list(benchmarks.SECTIONS)
    assert "torch" not in written["versions"]
    for section in written["results"].values():
        for timings in section["tables"].values():
            for median, low, high in timings.values():
                assert 0 < low <= median <= high
    out = capsys.readouterr().out
    assert "Training step of the small network: gradient batch 32" in out
    assert "ratio to BN 32" in out


@pytest.mark.frameworks
def test_sections_with_pytorch(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    written = run(tmp_path, "--only", "step", "normalisers", "relatives", "convolution")
    (steps,) = written["results"]["step"]["tables"].values()
    assert {"PyTorch MABN + WC, grouped", "PyTorch MABN + WC, 16 micro-batches of 2"} < set(steps)
    assert all({"ours", "PyTorch"} == set(table) for table in written["results"]["relatives"]["tables"].values())
    assert written["versions"]["torch"]


def test_bad_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        benchmarks.main(["--rounds", "0"])
    assert "--rounds is 0, expected at least 1" in capsys.readouterr().err


def test_medians_and_quartiles() -> None:
    assert timing.summary([4.0, 1.0, 3.0, 2.0, 100.0]) == (3.0, 2.0, 4.0)
    lines = timing.table("Title", {"a": timing.Timing(2.0, 1.0, 3.0), "b": timing.Timing(5.0, 4.0, 6.0)}, "a")
    assert lines.splitlines()[-1].split() == ["b", "5", "4", "6", "2.50"]


def test_every_contestant_runs_once_a_round() -> None:
    calls = {"a": 0, "b": 0}

    def count(name: str) -> None:
        calls[name] += 1

    timing.side_by_side({name: lambda name=name: count(name) for name in calls}, rounds=4)
    assert calls == {"a": 6, "b": 6}


def test_the_recorded_results_are_of_these_benchmarks() -> None:
    """A contestant that is renamed or new wants a new record; the pages draw it."""
    for name in ("results", "avx2"):
        recorded = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        assert set(recorded["results"]) == set(benchmarks.SECTIONS)
        (steps,) = recorded["results"]["step"]["tables"].values()
        assert set(training_step.contestants(None, 1)) < set(steps)
    recorded = json.loads((RESULTS / "relatives.json").read_text(encoding="utf-8"))
    assert set(relatives.ours((2, 2, 2, 8))) < set(recorded["results"]["relatives"]["tables"])


def test_peak_memory_of_a_small_training_run() -> None:
    assert 20 < processes.peak_memory({"width": 32, "train_size": 320, "test_size": 250}, steps=3) < 600

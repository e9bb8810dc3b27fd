"""results.jsonl: whole lines only, whatever happened to the last one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mabn_ref.train import results
from mabn_ref.train.config import recipe


def test_a_file_cut_anywhere_reads_as_its_whole_lines_and_takes_more(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    records = [{"seed": seed, "text": "Ω" * seed, "epochs": [{"loss": 0.1}]} for seed in range(2)]
    for record in records:
        results.append(path, record)
    whole = path.read_bytes()
    ends = [i for i, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        # A line that lacks no more than its line end is whole.
        expected = records[: sum(cut >= end for end in ends)]
        assert results.read(path) == expected
        assert path.read_bytes() == whole[:cut], "a reader changes nothing"
        results.prepare(path)
        results.append(path, {"seed": 9})
        assert [json.loads(line) for line in path.read_text().splitlines()] == [*expected, {"seed": 9}]


def test_no_file_is_no_record(tmp_path: Path) -> None:
    assert results.read(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize("line", ["{broken", "3", '"text"'])
def test_damage_in_the_middle_is_reported_and_left_alone(tmp_path: Path, line: str) -> None:
    path = tmp_path / "results.jsonl"
    content = f'{{"seed": 0}}\n{line}\n{{"seed": 1}}\n{{"se'
    path.write_text(content)
    with pytest.raises(ValueError, match=r"results\.jsonl, line 2, is not a record of a run"):
        results.read(path)
    assert path.read_text() == content


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """The statistics of 2,000 steps of a deep network."""
    path = tmp_path / "results.jsonl"
    record = {"seed": 0, "statistics": [0.1234567890123456] * 300_000}
    results.append(path, record)
    assert path.stat().st_size > 5e6
    assert results.read(path) == [record]


def test_numbers_that_json_lacks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        results.append(tmp_path / "results.jsonl", {"loss": float("nan")})
    assert not (tmp_path / "results.jsonl").exists()


def test_only_an_identical_configuration_counts_as_run(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    mine, other = recipe("mabn", seed=0), recipe("mabn", seed=0, lr=0.05)
    record = {"message": None, "seconds": 1.0, "epochs": [{"test_error": 1.0}] * 8, **results.made_with()}
    for status in ("diverged", "done"):
        results.append(path, {"config": mine.as_dict(), "status": status} | record)
    results.append(path, {"config": {"norm": "mabn"}, "status": "done"} | record)
    assert results.missing([mine, other], results.read(path)) == [other]
    older = {name: value for name, value in other.as_dict().items() if name != "standardized"}
    results.append(path, {"config": older, "status": "done"} | record)
    assert results.missing(
        [mine, other, recipe("mabn", seed=0, lr=0.05, centralized=False, standardized=True)], results.read(path)
    ) == [recipe("mabn", seed=0, lr=0.05, centralized=False, standardized=True)], (
        "a record made before weights could be standardised"
    )
    found = results.find(results.read(path), mine)
    assert found is not None
    assert found["status"] == "done"


def test_a_record_of_a_setting_that_its_normaliser_does_not_read_is_of_the_run_without() -> None:
    """As earlier versions wrote them."""
    config = recipe("gn", norm_batch=1)
    record = {"status": "done", "config": config.as_dict() | {"decay": 0.5, "clip": 2.0}}
    assert results.find([record], config) is record
    assert results.find([record | {"config": recipe("bn", decay=0.5).as_dict()}], recipe("bn")) is None


def test_a_record_that_does_not_say_how_its_run_ended_is_not_of_one_that_did() -> None:
    config = recipe("bn")
    record = {"config": config.as_dict()}
    assert results.by_seed([record], [config]) == [{}, {config.seed: record}]

"""What the README shows runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mabn_ref.train import comparison, results
from mabn_ref.train.config import RunConfig

README = Path(__file__).parent.parent / "README.md"


def committed(name: str) -> list[comparison.Row]:
    """The rows of the runs recorded in docs/results."""
    records = results.read(README.parent / "docs" / "results" / name / "results.jsonl")
    return comparison.collect([RunConfig(**record["config"]) for record in records], records)


def plain(label: str) -> str:
    """The name of a row without what every row of its kind has."""
    label = label.removesuffix(" (control)").removesuffix(" (chosen on these test images)")
    return label.removesuffix(", m = 16").replace("m = ", "m=")


def test_python_blocks_run(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, str(README), "exec"), {})
    assert "(16, 16)" in capsys.readouterr().out


def test_the_table_is_what_was_recorded() -> None:
    text = README.read_text(encoding="utf-8")
    rows = committed("cifar10-subset")
    expected = {}
    for line in str(comparison.table(rows)).splitlines()[1:]:
        if line.startswith("  "):
            label, runs, *numbers = re.split(r"  +", line.strip())
            assert runs == "5"
            expected[plain(label)] = [number for number in numbers if number != "-"]
    shown = {}
    for line in text.splitlines():
        if line.startswith(("| BN ", "| BRN ", "| MABN ")):
            label, *numbers = [cell.strip() for cell in line.strip("|").split("|")]
            shown[plain(label)] = [number for number in numbers if number]
    assert shown.keys() == expected.keys()
    for label, numbers in shown.items():
        assert numbers[0] == expected[label][0], label
        assert len(numbers) > 1, label
        assert set(numbers) <= set(expected[label]), label


def test_the_shorter_run_is_what_was_recorded() -> None:
    text = " ".join(README.read_text(encoding="utf-8").split())
    for row in committed("embedded"):
        mean = sum(row.errors.values()) / len(row.errors)
        name = "MABN 2" if row.label.startswith("MABN") else row.label
        assert f"{name} {mean:.1f} %" in text, (row.label, mean)


def test_the_speed_is_what_was_recorded() -> None:
    text = " ".join(README.read_text(encoding="utf-8").split())
    record = json.loads((README.parent / "docs" / "results" / "benchmarks" / "results.json").read_text())
    times = {name: ms[0] for name, ms in record["results"]["step"]["tables"]["gradient batch 32"].items()}
    ours, batch_norm = times["MABN 2 + WC"], times["BN 32"]
    assert f"MABN 2 it takes {ours / batch_norm:.2f} times as long as with BN 32" in text
    assert f"with BN 32 {batch_norm / times['PyTorch BN 32']:.2f} times as long as in PyTorch" in text
    slow = times["PyTorch MABN + WC, 16 micro-batches of 2"]
    assert f"takes {slow / ours:.2f} times as long as MABN 2 here" in text

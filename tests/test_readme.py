"""What the README shows runs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mabn_ref.train import comparison, results
from mabn_ref.train.config import RunConfig

README = Path(__file__).parent.parent / "README.md"
RESULTS = README.parent / "docs" / "results"


def committed(name: str) -> list[comparison.Row]:
    """The rows of the runs recorded in docs/results."""
    records = results.read(RESULTS / name / "results.jsonl")
    return comparison.collect([RunConfig(**record["config"]) for record in records], records)


def test_python_blocks_run(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, str(README), "exec"), {})
    assert "(16, 16)" in capsys.readouterr().out


def study(name: str) -> dict[str, Any]:
    """What ``mabn-ref paper`` wrote of a study."""
    found: dict[str, Any] = json.loads((RESULTS / "paper" / f"{name}.json").read_text(encoding="utf-8"))
    return found


def test_the_table_is_what_was_recorded() -> None:
    text = README.read_text(encoding="utf-8")
    shown = [re.split(r" *\| *", line)[1:-1] for line in text.splitlines() if re.match(r"\| \d+ images, ", line)]
    errors = {row[0].removesuffix(" (control)"): row[3] for row in study("table2")["tables"][0]["rows"]}
    errors = {re.sub(r"^\(\d\) ", "", label): error for label, error in errors.items()}
    recorded = [[errors[label], errors[f"{label} + WC"]] for label in ("BN 32", "BN 2", "BRN 2", "MABN 2")]
    assert [numbers for _, *numbers in shown] == recorded


def test_what_is_said_of_the_gap_is_what_was_recorded() -> None:
    text = " ".join(README.read_text(encoding="utf-8").split())
    assert "With centralised weights MABN closes half of the gap" in text
    assert "without them it does worse than batch norm with two" in text
    closed = {label: share for label, _, _, share in study("credit")["tables"][0]["rows"]}
    assert 45 < float(closed["form and averages (m = 16), with WC"].split()[0]) < 55
    assert float(closed["form and averages (m = 16), without WC"].split()[0]) < 0


@pytest.mark.parametrize("page", [README, README.parent / "docs" / "index.rst"], ids=["README", "landing"])
def test_the_worst_noise_is_in_backward(page: Path) -> None:
    """What both say first, and in which sizes the landing page says it."""
    text = " ".join(page.read_text(encoding="utf-8").split())
    assert "With two images per batch, batch norm's worst noise is in its backward pass" in text
    rows = {label: float(value.split()[0]) for label, _, value in study("width-16/figures")["tables"][0]["rows"]}
    noise = {label.removeprefix("Figure 2: BN 2: "): value for label, value in rows.items() if "BN 2: " in label}
    forward, backward = max(noise["mu, mean"], noise["sigma^2, variance"]), min(noise["g"], noise["Psi"])
    assert forward < backward
    if page != README:
        assert (
            "by at most a quarter on average, and the backward ones by more than three times their own size" in text
        )
        assert forward < 25
        assert 300 < backward < 400


@pytest.mark.parametrize("page", [README, README.parent / "docs" / "index.rst"], ids=["README", "landing"])
def test_there_are_as_many_exercises_as_it_says_if_it_does(page: Path) -> None:
    there = len(list((README.parent / "mabn_ref" / "learn" / "course").glob("[0-9]*")))
    assert set(re.findall(r"(\d+)\s+exercises", page.read_text(encoding="utf-8"))) <= {str(there)}


def test_it_is_short_and_its_picture_is_there() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    assert re.findall(r"!\[[^]]{40,}\]\(docs/images/two-passes\.png\)", text)


def test_the_shorter_run_is_what_was_recorded() -> None:
    text = " ".join(README.read_text(encoding="utf-8").split())
    for row in committed("embedded"):
        mean = sum(row.errors.values()) / len(row.errors)
        assert f"{row.label} {mean:.1f} %" in text, (row.label, mean)


def test_the_second_record_differs_by_as_much_as_it_says() -> None:
    text = " ".join(README.read_text(encoding="utf-8").split())
    assert "small errors differ by up to one point, large ones by up to eight" in text
    first, second = (
        {row.label: np.mean(list(row.errors.values())) for row in committed(f"{f}embedded")} for f in ("", "paper/")
    )
    apart = {label: round(abs(second[label] - mean)) for label, mean in first.items()}
    small = {label for label, mean in first.items() if mean < 10}
    assert max(apart[label] for label in small) == 1
    assert max(apart[label] for label in first if label not in small) == 8


def test_the_speed_is_what_was_recorded() -> None:
    text = " ".join(README.read_text(encoding="utf-8").split())

    def times(name: str) -> dict[str, float]:
        record = json.loads((RESULTS / "benchmarks" / f"{name}.json").read_text(encoding="utf-8"))
        return {name: ms[0] for name, ms in record["results"]["step"]["tables"]["gradient batch 32"].items()}

    def beside_torch(of: dict[str, float]) -> tuple[str, str]:
        eager, last = (f"{of['BN 32'] / of[f'PyTorch BN 32{layout}']:.2f}" for layout in ("", ", channels last"))
        return eager, last

    new, old, intel = times("results"), times("avx2"), times("intel")
    assert f"MABN 2 takes {new['MABN 2 + WC'] / new['BN 32']:.2f} times as long as with BN 32" in text
    contiguous, last = beside_torch(new)
    assert f"takes {contiguous} times as long as in PyTorch (channels last: {last})" in text
    assert "without AVX-512 {} ({}),".format(*beside_torch(old)) in text
    assert "where memory is slow {} ({}):".format(*beside_torch(intel)) in text

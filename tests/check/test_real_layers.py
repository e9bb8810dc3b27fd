"""The check on layers of published packages: a job of its own, ``nox -s real_layers``; the record of it, always."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from tests.check.real_layers import LAYERS, RECORD, Layer, ask, installed, misjudged


@pytest.mark.real_layers
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: f"{layer.label} as {layer.norm}")
def test_the_verdict_is_the_one_that_was_reasoned_out(layer: Layer) -> None:
    if not installed(layer.package):
        pytest.skip(f"{layer.package} is not installed")
    assert misjudged(layer, ask(layer)) == []


def test_the_record_is_of_these_layers_and_verdicts() -> None:
    rows = json.loads(RECORD.read_text(encoding="utf-8"))["rows"]
    told = ("layer", "package", "as", "computes", "departs", "conforms", "understood")
    expected = [(x.label, x.package, x.norm, x.computes, x.departs, x.conforms, x.understood) for x in LAYERS]
    assert [tuple(row[name] for name in told) for row in rows] == expected


UPSTREAM = Path(__file__).parents[2] / "docs" / "upstream"


@pytest.mark.real_layers
@pytest.mark.parametrize("name", sorted(path.stem for path in UPSTREAM.glob("*.py")))
def test_what_is_reported_upstream_is_still_so(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    package = name.partition("_")[0]
    if not installed(package):
        pytest.skip(f"{package} is not installed")
    runpy.run_path(str(UPSTREAM / f"{name}.py"))
    assert capsys.readouterr().out == (UPSTREAM / f"{name}.txt").read_text(encoding="utf-8")

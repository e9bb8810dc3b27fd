"""The command that makes the record of a GPU runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.gpu import __main__ as gpu


def test_the_timing_table(xp: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    del xp
    file = tmp_path / "gpu.json"
    assert gpu.main(["--tiny", "--rounds", "1", "--json", str(file)]) == 0
    assert list(json.loads(file.read_text(encoding="utf-8"))["timings"])[:2] == [
        "BN 2, batch 2, host",
        "BN 2, batch 2, GPU",
    ]
    assert "MABN 2 + WC, batch 2, GPU" in capsys.readouterr().out


def test_without_cupy(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert gpu.main([]) == 1
    assert "cupy is not installed" in capsys.readouterr().err

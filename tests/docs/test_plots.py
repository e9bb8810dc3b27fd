"""A plot of the pages is drawn again when what it is drawn from has changed."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import pytest

from tests.docs.building import EXTENSIONS

pytestmark = pytest.mark.docs

sys.path.append(str(EXTENSIONS))
pytest.importorskip("sphinx", reason='sphinx is not installed: pip install "mabn_ref[docs]"')
plots = importlib.import_module("plots")


@pytest.mark.parametrize("source", ["mabn_ref/norms/a.py", "docs/results/benchmarks/results.json"])
def test_a_plot_older_than_the_package_or_a_record_is_drawn_again(tmp_path: Path, source: str) -> None:
    (tmp_path / source).parent.mkdir(parents=True)
    (tmp_path / source).touch()
    drawn = tmp_path / "plot_directive" / "figures"
    drawn.mkdir(parents=True)
    now = (tmp_path / source).stat().st_mtime
    for name, age in (("old.png", 10), ("new.png", -10)):
        (drawn / name).touch()
        os.utime(drawn / name, (now - age, now - age))
    plots.forget_old(tmp_path, drawn.parent)
    assert [image.name for image in drawn.iterdir()] == ["new.png"]

"""What several tests of the course share."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from mabn_ref.learn import process
from mabn_ref.learn.judges import Judges
from tests.learn.clock import Clock


@pytest.fixture
def clock(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of all files that are run in a test, one after the other."""
    made = Clock(tmp_path_factory.mktemp("clock") / "marks")
    monkeypatch.setattr(process, "time", SimpleNamespace(monotonic=made.monotonic))
    return made


@pytest.fixture(scope="module")
def judges() -> Iterator[Judges]:
    """A process that judges, the same one for all files that are graded in a module."""
    with Judges(1) as made:
        yield made

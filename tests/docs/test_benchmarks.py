"""The directives of the benchmarks name the page and the line where what they are asked for is not in the record."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.building import complaints, configuration

pytestmark = pytest.mark.docs


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("nothing", "KeyError: 'nothing'"),
        ("step\n   :record: nothing", "No such file or directory"),
        ("step\n   :reference: nothing", "KeyError: 'nothing'"),
        ("step\n   :only: nothing", "there is no table 'nothing', expected one of gradient batch"),
    ],
)
def test_what_is_not_in_the_record_is_named_with_its_line(tmp_path: Path, asked: str, said: str) -> None:
    (tmp_path / "conf.py").write_text(configuration("benchmarks"))
    (tmp_path / "index.rst").write_text(f"Page\n====\n\n.. benchmark-table:: {asked}\n")
    complaint = complaints(tmp_path)
    assert f"{tmp_path / 'index.rst'}:4: " in complaint
    assert said in complaint

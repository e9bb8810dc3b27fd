"""Notebooks that Jupyter, nbgrader and Otter-Grader take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mabn_ref.cli import main
from mabn_ref.learn import notebook
from mabn_ref.learn.exercise import course, find
from mabn_ref.learn.lint import answer_lines

EXERCISES = course()
BACKWARD = find("bn_backward")


def run(book: dict[str, Any], answer: str) -> list[str]:
    """Run the code cells with `answer` for the skeleton; return what each raised, "" for nothing."""
    names: dict[str, Any] = {"__name__": "__main__"}
    raised = []
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            try:
                exec(answer if cell["metadata"].get("mabn_ref") == "answer" else cell["source"], names)
                raised.append("")
            except Exception as error:
                raised.append(f"{type(error).__name__}: {error}")
    return raised


def test_plain(capsys: pytest.CaptureFixture[str]) -> None:
    book = notebook.as_notebook(BACKWARD)
    assert run(book, BACKWARD.solution) == ["", ""]
    assert capsys.readouterr().out == "04_bn_backward: passed, 3 of 3 points\n"
    assert run(book, BACKWARD.skeleton) == ["", ""]
    assert capsys.readouterr().out == "04_bn_backward: 0 of 3 points\nthis is still to be written\n"
    no_g = BACKWARD.with_mistakes("no-g")
    assert no_g is not None
    run(book, no_g)
    assert "without the g_B term of equation (4)" in capsys.readouterr().out


def test_arrays_changed_in_place_are_told_and_spoil_no_later_check(capsys: pytest.CaptureFixture[str]) -> None:
    book = notebook.as_notebook(BACKWARD)
    run(book, BACKWARD.solution.replace("dy = dz * gamma", "dz *= gamma\n    dy = dz"))
    said = "04_bn_backward: 3 of 3 points, not passed yet: backward changes its argument dz; make a new array\n"
    assert capsys.readouterr().out == said
    run(book, BACKWARD.solution)
    assert capsys.readouterr().out == "04_bn_backward: passed, 3 of 3 points\n"


def test_nbgrader_gives_a_point_for_each_part() -> None:
    book = notebook.as_notebook(BACKWARD, "nbgrader")
    graded = [cell["metadata"]["nbgrader"] for cell in book["cells"] if "nbgrader" in cell["metadata"]]
    assert [cell["grade_id"] for cell in graded] == [
        "04_bn_backward-dx",
        "04_bn_backward-dgamma",
        "04_bn_backward-dbeta",
    ]
    assert all(cell["points"] == 1 and cell["locked"] and cell["grade"] for cell in graded)
    no_g = BACKWARD.with_mistakes("no-g")
    assert no_g is not None
    assert run(book, no_g) == ["", f"AssertionError: {BACKWARD.mistakes['no-g'].sentence}", "", ""]


@pytest.mark.parametrize("kind", notebook.FORMATS)
def test_export(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["learn", "export", str(tmp_path), "--for", kind]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(EXERCISES) * (2 if kind == "otter" else 1)
    books = sorted(tmp_path.rglob("*.ipynb"))
    assert [path.stem for path in books] == [exercise.name for exercise in EXERCISES]
    for path, exercise in zip(books, EXERCISES, strict=True):
        text = path.read_text(encoding="utf-8")
        book = json.loads(text)
        ids = [cell["id"] for cell in book["cells"]]
        assert len(set(ids)) == len(ids)
        assert not [line for line in answer_lines(exercise) if json.dumps(line)[1:-1] in text]
    if kind == "otter":
        for exercise in EXERCISES:
            source = (tmp_path / "tests" / f"{exercise.name}.py").read_text()
            compile(source, exercise.name, "exec")
            assert source.count("@test_case(") == len(exercise.parts)


def test_an_edited_notebook_is_kept(tmp_path: Path) -> None:
    arguments = ["learn", "export", str(tmp_path)]
    assert main(arguments) == 0
    edited = tmp_path / f"{EXERCISES[0].name}.ipynb"
    edited.write_text("mine", encoding="utf-8")
    assert main(arguments) == 0
    assert [path.name for path in tmp_path.glob("*.old")] == [f"{edited.name}.old"]
    assert edited.with_name(f"{edited.name}.old").read_text(encoding="utf-8") == "mine"
    assert edited.read_text(encoding="utf-8") != "mine"


def test_they_are_valid(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed; it is a tool of Jupyter")
    for kind in notebook.FORMATS:
        for exercise in EXERCISES:
            nbformat.validate(notebook.as_notebook(exercise, kind))


def test_an_unknown_part() -> None:
    with pytest.raises(ValueError, match="part is 'dy', expected one of dx, dgamma, dbeta"):
        notebook.check_part("bn_backward", "dy", {})

"""The exercises as notebooks: to hand out as they are, or through nbgrader or Otter-Grader."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mabn_ref import storage
from mabn_ref.learn.exercise import Exercise, find
from mabn_ref.learn.judge import check_code

FORMATS = ("plain", "nbgrader", "otter")
_REFERENCES = ("Equations: ", "Equation: ", "Tutorial: ", "Tutorials: ")


def check(name: str, functions: Mapping[str, Any], seeds: Sequence[int] = (0,)) -> None:
    """Check a notebook's functions, its ``globals()``, for the exercise `name`, and print the result.

    Examples
    --------
    >>> check("moments", {"moments": lambda x: (x.mean(), x.var())})
    01_moments: 0 of 2 points
    You average over the channels too: each channel has its own mean and variance.
    """
    report = check_code(find(name), SimpleNamespace(**functions), seeds)
    print(f"{report.exercise}: {'passed, ' if report.passed else ''}{report.score}")
    said = dict.fromkeys([*report.sentences, *map(str, report.errors)])
    if not said:
        said = dict.fromkeys(part.line for part in report.without_points)
    for line in (*said, *(() if report.lacks else report.notes)):
        print(line)


def check_part(name: str, part: str, functions: Mapping[str, Any], seeds: Sequence[int] = (0,)) -> None:
    """Fail if one part is wrong: a graded cell, or a test of Otter-Grader, worth its point.

    Raises
    ------
    AssertionError
        With what is to be said.
    """
    report = check_code(find(name), SimpleNamespace(**functions), seeds)
    found = next((p for p in report.parts if p.name == part), None)
    if found is None:
        raise ValueError(f"part is {part!r}, expected one of {', '.join(p.name for p in report.parts)}")
    assert found.ok, found.line if found.waits else " ".join(report.sentences) or found.message


def as_notebook(exercise: Exercise, kind: str = "plain") -> dict[str, Any]:
    """An exercise as the JSON of a notebook of nbformat 4.5: its statement, the skeleton to fill in, and its checks.

    The checks of a "plain" notebook are one cell; for "nbgrader" each part has a locked, graded cell; for "otter" a
    cell asks Otter.

    Examples
    --------
    >>> notebook = as_notebook(find("moments"))
    >>> [cell["cell_type"] for cell in notebook["cells"]]
    ['markdown', 'code', 'code']
    """
    statement = "\n".join(
        line for line in exercise.statement.splitlines() if not line.startswith(_REFERENCES)
    ).strip()
    answer = _cell(exercise, "answer", "code", exercise.skeleton.strip(), {"mabn_ref": "answer"})
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "cells": [_cell(exercise, "statement", "markdown", statement, {}), answer, *_check_cells(exercise, kind)],
    }


def _cell(exercise: Exercise, what: str, kind: str, source: str, metadata: dict[str, Any]) -> dict[str, Any]:
    of_code: dict[str, Any] = {"execution_count": None, "outputs": []} if kind == "code" else {}
    name = f"{exercise.name}-{what}"[:64]
    return {"cell_type": kind, "id": name, "metadata": metadata, "source": source, **of_code}


def _check_cells(exercise: Exercise, kind: str) -> list[dict[str, Any]]:
    asked = "from mabn_ref.learn import notebook\n\nnotebook.check"
    if kind == "nbgrader":
        cells = []
        for part in exercise.parts:
            grade = {"grade": True, "grade_id": f"{exercise.name}-{part}", "locked": True, "points": 1}
            grade |= {"schema_version": 3, "solution": False, "task": False}
            source = f'{asked}_part("{exercise.name}", "{part}", globals())'
            cells.append(_cell(exercise, part, "code", source, {"mabn_ref": "check", "nbgrader": grade}))
        return cells
    source = f'{asked}("{exercise.name}", globals())'
    if kind == "otter":
        source = f'import otter\n\ngrader = otter.Notebook()\ngrader.check("{exercise.name}")'
    return [_cell(exercise, "check", "code", source, {"mabn_ref": "check"})]


def _otter_tests(exercise: Exercise) -> str:
    """A file of Otter's exception-based tests, one for each part."""
    lines = ["from otter.test_files import test_case", "", "from mabn_ref.learn import notebook", ""]
    lines += ["OK_FORMAT = False", f'name = "{exercise.name}"', "points = None", ""]
    for k, part in enumerate(exercise.parts):
        lines += ["", f'@test_case(name="{part}", points=1, hidden=False)', f"def test_{k}(env):"]
        lines += [f'    notebook.check_part("{exercise.name}", "{part}", env)', ""]
    return "\n".join(lines)


def export(folder: Path, exercises: Sequence[Exercise], kind: str = "plain") -> list[Path]:
    """Write one notebook for each exercise, as the layout of `kind` wants them, and return the files.

    For nbgrader `folder` is that of the course, and the notebooks go to ``source/NN_name/``; for Otter they go to the
    folder itself and their tests to ``tests/``. An existing file with other contents is kept as ``NAME.old``,
    ``NAME.old2`` and so on.
    """
    written = []
    for exercise in exercises:
        name = f"{exercise.name}.ipynb"
        path = folder / "source" / exercise.name / name if kind == "nbgrader" else folder / name
        files = {path: json.dumps(as_notebook(exercise, kind), indent=1, ensure_ascii=False) + "\n"}
        if kind == "otter":
            files[folder / "tests" / f"{exercise.name}.py"] = _otter_tests(exercise)
        for place, text in files.items():
            if place.exists() and place.read_bytes() != text.encode():
                storage.put_aside(place)
            storage.write(place, text.encode())
            written.append(place)
    return written

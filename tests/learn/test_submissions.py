"""A folder of submissions: which files count, and what is said of the others."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mabn_ref.cli import main
from mabn_ref.learn import notebook
from mabn_ref.learn.exercise import find
from mabn_ref.learn.grade import grade
from mabn_ref.learn.submissions import Unreadable, left_out, source_of, students, submitted
from tests.learn.hand_in import FILE, hand_in

MOMENTS, FORWARD = find("moments"), find("bn_forward")
BOTH = (MOMENTS, FORWARD)


def test_where_files_may_lie(tmp_path: Path) -> None:
    solved = notebook.as_notebook(MOMENTS)
    solved["cells"][1]["source"] = MOMENTS.solution.splitlines(keepends=True)  # as Jupyter writes it
    places = {
        "a": FILE,
        "b": "01_moments.py",
        "c": "course/01_moments/exercise.py",
        "d": "ps1/01_moments.ipynb",
        "e": "01_moments.PY",
    }
    for name, place in places.items():
        hand_in(tmp_path, name, json.dumps(solved) if str(place).endswith("ipynb") else MOMENTS.solution, place)
    hand_in(tmp_path, "c", "old", "course/old/01_moments/exercise.py")
    assert [path.name for path in students(tmp_path)] == list("abcde")
    for name, place in places.items():
        assert submitted(tmp_path / name, BOTH) == {"01_moments": tmp_path / name / place}
    with ThreadPoolExecutor(2) as pool:
        assert {g.points for g in grade(tmp_path, [MOMENTS], (0, 5), pool)} == {2}


def test_what_looks_as_if_it_were_meant_for_an_exercise_is_named(tmp_path: Path) -> None:
    for place in ("1.py", "Exercise 2.ipynb", "ex04.py", "ex99.py", "02_bn_forward.txt"):
        hand_in(tmp_path, "A", MOMENTS.solution, place)
    for place in ("moments.py", "01_momments/exercise.py", "helpers.py", ".ipynb_checkpoints/01_moment.ipynb", FILE):
        hand_in(tmp_path, "a", MOMENTS.solution, place)
    for name in ("exercise (1).py", "Exercise.py", "solution.ipynb", "exercise.txt", "exercise.py.txt", "notes.txt"):
        hand_in(tmp_path, "b", MOMENTS.solution, Path(MOMENTS.name, name))
    for place in ("01_moments.py.txt", "course.zip", "old/course.tar.gz", "1/2/3/4/01_moments.py", "1/2/3/4/x.zip"):
        hand_in(tmp_path, "c", "", place)
    (tmp_path / "c" / MOMENTS.name).symlink_to(tmp_path / "a" / MOMENTS.name)
    assert left_out(tmp_path) == [
        ("A/02_bn_forward.txt", "its name ends in .txt"),
        ("A/1.py", "no exercise is called 1; did you mean 01_moments?"),
        ("A/Exercise 2.ipynb", "no exercise is called Exercise 2; did you mean 02_bn_forward?"),
        ("A/ex04.py", "no exercise is called ex04; did you mean 04_bn_backward?"),
        ("a/01_momments/exercise.py", "no exercise is called 01_momments; did you mean 01_moments?"),
        ("a/moments.py", "no exercise is called moments; did you mean 01_moments?"),
        ("b/01_moments/Exercise.py", "it is not called exercise.py"),
        ("b/01_moments/exercise (1).py", "it is not called exercise.py"),
        ("b/01_moments/exercise.py.txt", "its name ends in .txt"),
        ("b/01_moments/exercise.txt", "it is not called exercise.py"),
        ("b/01_moments/solution.ipynb", "it is not called 01_moments.ipynb"),
        ("c/01_moments", "a link"),
        ("c/01_moments.py.txt", "its name ends in .txt"),
        ("c/1/2/3/4/01_moments.py", "more than 4 levels down"),
        ("c/course.zip", "an archive"),
        ("c/old/course.tar.gz", "an archive"),
    ]


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not handed in empty."""
    for student in ("ada", "bob"):
        hand_in(tmp_path, student, "", "01_moments.py")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "bob")
    assert [path.name for path in students(tmp_path)] == ["ada"]
    assert left_out(tmp_path) == [("bob", "it cannot be read")]


def test_the_reason_why_a_file_is_not_graded_moves_no_cursor(tmp_path: Path) -> None:
    hand_in(tmp_path, "a", "", "01_moments\x1b[2J.py")
    ((_, reason),) = left_out(tmp_path)
    assert "\x1b" not in reason
    assert reason.startswith("no exercise is called 01_moments")


def test_of_several_files_of_an_exercise_one_counts_and_the_others_are_named(tmp_path: Path) -> None:
    solved, given = notebook.as_notebook(MOMENTS), notebook.as_notebook(MOMENTS)
    solved["cells"][1]["source"] = MOMENTS.solution
    hand_in(tmp_path, "ada", MOMENTS.skeleton)
    hand_in(tmp_path, "ada", json.dumps(given), "01_moments.ipynb")
    hand_in(tmp_path, "ada", json.dumps(solved), "notebooks/01_moments.ipynb")
    hand_in(tmp_path, "bob", MOMENTS.skeleton, "v1/01_moments.py")
    hand_in(tmp_path, "bob", MOMENTS.skeleton)
    hand_in(tmp_path, "eve", MOMENTS.solution, "v1/01_moments.py")
    hand_in(tmp_path, "eve", MOMENTS.solution, "v1/01_moments.ipynb")
    hand_in(tmp_path, "eve", MOMENTS.skeleton, "v1/2/01_moments.py")
    skeleton = "the skeleton, untouched; another file of this exercise counts: "
    first = "another file of this exercise comes first by name: "
    nearer = "another file of this exercise is nearer to the top: "
    assert left_out(tmp_path) == [
        ("ada/01_moments.ipynb", f"{skeleton}notebooks/01_moments.ipynb"),
        ("ada/01_moments/exercise.py", f"{skeleton}notebooks/01_moments.ipynb"),
        ("bob/v1/01_moments.py", f"{first}01_moments/exercise.py"),
        ("eve/v1/01_moments.py", f"{first}v1/01_moments.ipynb"),
        ("eve/v1/2/01_moments.py", f"{nearer}v1/01_moments.ipynb"),
    ]
    assert left_out(tmp_path, [FORWARD]) == []
    assert submitted(tmp_path / "ada", BOTH) == {"01_moments": tmp_path / "ada" / "notebooks" / "01_moments.ipynb"}
    assert submitted(tmp_path / "bob", BOTH) == {"01_moments": tmp_path / "bob" / FILE}


def test_one_students_folder_is_no_class(tmp_path: Path) -> None:
    hand_in(tmp_path, "ada", MOMENTS.solution)
    with pytest.raises(ValueError, match=r"ada holds exercises, not students; expected the folder above it$"):
        students(tmp_path / "ada")


def test_a_notebook_without_marks_gives_its_code_without_magics(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "markdown", "source": "text"},
        {"cell_type": "code", "source": ["%matplotlib inline\n", "x = 1"], "metadata": {}},
        {"cell_type": "code", "source": "!ls\ny = 2"},
        {"cell_type": "code", "source": "check()", "metadata": {"mabn_ref": "check"}},
    ]
    path = hand_in(tmp_path, "a", json.dumps({"cells": cells}), "01_moments.ipynb")
    assert source_of(path, MOMENTS) == "\nx = 1\n\n\ny = 2"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "is not a folder"),
        (lambda path: path.mkdir(), "holds no folders, expected one for each student"),
    ],
)
def test_no_submissions(
    make: Callable[[Path], None], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "class")
    assert main(["learn", "grade", str(tmp_path / "class")]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--reports", "reports"], ["--csv", "out/grades.csv"], ["--reports", "ada/01"]])
def test_nothing_is_written_where_it_would_be_a_students(
    option: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ada").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["learn", "grade", ".", "--only", "1", "--no-sandbox", *option]) == 2
    assert f"argument {option[0]}: {Path(option[1]).parts[0]}" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["ada"]
    assert main(["learn", "grade", ".", "--only", "1", "--no-sandbox", "--csv"]) == 0, "a file is no student"


def test_a_function_that_another_cell_defines_again_before_the_check_counts(tmp_path: Path) -> None:
    """As in Jupyter, where the check sees the last one that has run."""
    given = notebook.as_notebook(MOMENTS)
    code = [cell for cell in given["cells"] if cell["cell_type"] == "code"]
    assert [cell["metadata"].get("mabn_ref") for cell in code][-2:] == ["answer", "check"]
    answered, scratch = ({"cell_type": "code", "source": text, "metadata": {}} for text in ("", ""))
    answered["source"] = f"pie = 3\n{MOMENTS.solution}"
    scratch["source"] = "def moments(x):\n    return 0 * x, x\n"
    place = given["cells"].index(code[-1])
    given["cells"] = [scratch, *given["cells"][:place], answered, *given["cells"][place:], scratch]
    source = source_of(hand_in(tmp_path, "ada", json.dumps(given), "01_moments.ipynb"), MOMENTS)
    assert source.count("def moments") == 2
    assert "return 0 * x" not in source
    assert "pie" not in source
    with ThreadPoolExecutor(1) as pool:
        assert [g.points for g in grade(tmp_path, [MOMENTS], (0,), pool)] == [2]


AVERAGES = find("05_running_statistics")
HEAD, INIT, UPDATE, INFER = re.split(r"(?=^def )", AVERAGES.solution, flags=re.MULTILINE)
SHORT = """update = lambda state, x, decay: State(*(decay * a + (1 - decay) * b for a, b in zip(
    state, (x.mean(tuple(range(x.ndim - 1))), x.var(tuple(range(x.ndim - 1)))))))
"""
CELLS = {
    "below an empty one": [("answer", ""), ("", AVERAGES.solution)],
    "above an empty one": [("", AVERAGES.solution), ("answer", "")],
    "below comments": [("answer", AVERAGES.skeleton.replace("\n", "\n# ")), ("", AVERAGES.solution)],
    "functions below": [("answer", HEAD), ("", INIT + UPDATE + INFER)],
    "some below": [("answer", HEAD + INIT), ("", UPDATE + INFER)],
    "some above": [("", HEAD + INIT), ("answer", UPDATE + INFER)],
    "each below the skeleton": [("answer", AVERAGES.skeleton), ("", HEAD), ("", INIT), ("", UPDATE), ("", INFER)],
    "a lambda below": [("answer", HEAD + INIT), ("", SHORT), ("", INFER)],
    "an import of the same name": [
        ("answer", AVERAGES.solution),
        ("", "from mabn_ref.norms.batch_norm import init as ours, infer as theirs\n"),
    ],
    "above, and tried below the check": [
        ("", AVERAGES.solution),
        ("answer", ""),
        ("check", ""),
        ("", "def init(channels): return channels\n"),
    ],
    "above, and imported below the check": [
        ("", AVERAGES.solution),
        ("answer", ""),
        ("check", ""),
        ("", "from mabn_ref.norms.batch_norm import init\n"),
    ],
    "a constant again": [
        ("answer", f"PART = 0\n{AVERAGES.solution.replace('1 - decay', 'PART - decay')}"),
        ("", "PART += 1\n"),
    ],
    "a list filled below": [
        ("answer", f"PARTS = []\n{AVERAGES.solution.replace('1 - decay', 'PARTS[0] - decay')}"),
        ("", "PARTS.append(1)\n"),
    ],
    "in the cell that checks": [("answer", AVERAGES.skeleton), ("check", AVERAGES.solution)],
    "a copy tried below the check": [
        ("answer", AVERAGES.solution),
        ("check", ""),
        ("answer", AVERAGES.solution.replace("1 - decay", "decay")),
    ],
    "a lambda again": [("answer", HEAD + INIT + UPDATE.replace("1 - decay", "decay") + INFER), ("", SHORT)],
}


@pytest.mark.parametrize("cells", CELLS.values(), ids=CELLS)
def test_a_notebook_that_passes_where_it_was_written_has_all_points(
    cells: list[tuple[str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In whatever cells the functions are."""
    given = notebook.as_notebook(AVERAGES)
    *first, (_, answer), (_, check) = ((cell["metadata"].get("mabn_ref"), cell) for cell in given["cells"])
    made = [dict(answer, source=text, metadata={"mabn_ref": mark} if mark else {}) for mark, text in cells]
    given["cells"] = [
        *(cell for _, cell in first),
        *(
            dict(check, source=f"{text}\n{check['source']}") if mark == "check" else cell
            for (mark, text), cell in zip(cells, made, strict=True)
        ),
    ]
    given["cells"] += [check] * ("check" not in dict(cells))
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in given["cells"]:
        if cell["cell_type"] == "code":
            exec(cell["source"], names)
    assert "passed, 4 of 4" in capsys.readouterr().out
    hand_in(tmp_path, "ada", json.dumps(given), f"{AVERAGES.name}.ipynb")
    with ThreadPoolExecutor(1) as pool:
        assert [(g.points, g.said) for g in grade(tmp_path, [AVERAGES], (0,), pool)] == [(4, "")]


def test_a_notebook_of_very_many_statements_is_read_in_about_a_second(tmp_path: Path) -> None:
    """Whoever looks all of them up for each of them is at it for many minutes."""
    answer, other = ("\n".join(f"{name}{k}=1" for k in range(30_000)) for name in "ab")
    cells = [{"cell_type": "code", "source": answer, "metadata": {"mabn_ref": "answer"}}]
    cells += [{"cell_type": "code", "source": other, "metadata": {}}]
    path = hand_in(tmp_path, "ada", json.dumps({"cells": cells}), "01_moments.ipynb")
    started = time.process_time()
    with pytest.raises(Unreadable, match="characters of code"):
        source_of(path, MOMENTS)
    assert time.process_time() - started < 20


def test_a_student_with_nothing_right_is_told_from_one_who_handed_in_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("ada", "bob", "eve"):
        (tmp_path / name).mkdir()
    for exercise in (find("1"), find("2")):
        hand_in(tmp_path, "ada", exercise.skeleton, f"{exercise.name}.py")
    hand_in(tmp_path, "bob", find("1").skeleton, "01_moments.py")
    hand_in(tmp_path, "bob", find("2").solution, "2.py")
    reports = tmp_path.parent / f"{tmp_path.name}-reports"
    words = ["learn", "grade", str(tmp_path), "--only", "1", "2", "--no-sandbox", "--jobs", "1"]
    assert main([*words, "--reports", str(reports)]) == 0
    said = "Not graded: `bob/2.py` (no exercise is called 2; did you mean 02_bn_forward?)."
    assert [said in (reports / f"{name}.md").read_text() for name in ("ada", "bob", "eve")] == [False, True, False]
    ada, bob, eve = capsys.readouterr().out.splitlines()[:3]
    assert ada.split() == ["ada", "0", "of", "4"]
    assert bob.endswith("0 of 4  1 of 2 handed in")
    assert eve.endswith("0 of 4  0 of 2 handed in")

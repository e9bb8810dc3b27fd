"""The lint finds what is missing in an exercise; each rule is broken once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mabn_ref.cli import main
from mabn_ref.learn.exercise import COURSE, find
from mabn_ref.learn.lint import lint_course


def replaced(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    return change


BROKEN = {
    "its own solution fails": replaced("solution.py", "return mu, var", "return mu, 2 * var"),
    "the skeleton passes as it is": replaced(
        "solution.py", "    # TODO: the mean", "    # BUG: axes = tuple(range(x.ndim - 1))  # TODO: the mean"
    ),
    "solution.py has no TODO": replaced("solution.py", "TODO", "to do"),
    "solution.py has no line that the skeleton lacks": replaced("solution.py", "TODO", "to do"),
    "the skeleton imports mabn_ref": replaced("solution.py", "import numpy as np", "import mabn_ref"),
    "solution.py imports mabn_ref": replaced("solution.py", "    axes =", "    import mabn_ref\n    axes ="),
    "the skeleton gives away a line of the solution of 01_moments: centred = x - mu": replaced(
        "solution.py", "    # TODO", "    # centred = x  -  mu\n    # TODO"
    ),
    "statement.md gives away a line": replaced("statement.md", "Your numbers", "centred = x - mu\n\nYour numbers"),
    "statement.md has 2 hints, expected three": replaced("statement.md", "## Hint 2\n", "\n"),
    "statement.md opens with a formula, expected the problem in words: Call the values": replaced(
        "statement.md", "# The mean and the variance of a batch\n", "# Moments\n\nCall the values $x_1$ to $x_M$.\n"
    ),
    "statement.md opens with a formula, expected the problem in words: Their mean is": replaced(
        "statement.md", "# The mean and the variance of a batch\n", "# Moments\n\nTheir mean is\n\n$$\\mu .$$\n"
    ),
    "statement.md needs a title and the maths": replaced("statement.md", "$", ""),
    "statement.md has a $ without its partner": replaced("statement.md", "$M = N H W$", "$M"),
    "statement.md has no worked example": replaced("statement.md", "```pycon", "```"),
    "its worked example does not give what it shows": replaced("statement.md", "[0.4] [1.155]", "[0.4] [1.54]"),
    "statement.md cannot be shown in a terminal: unknown command \\int": replaced("statement.md", "\\mu", "\\int"),
    "statement.md names no equation": replaced("statement.md", "Equations:", "About:"),
    "statement.md names the equation bn-nothing, which no code": replaced(
        "statement.md", "bn-statistics", "bn-nothing"
    ),
    "statement.md names no tutorial": replaced("statement.md", "Tutorial: 1", ""),
    "mistakes.toml knows 2 mistakes, expected at least three": lambda folder: (folder / "mistakes.toml").write_text(
        (folder / "mistakes.toml").read_text().split("[channels-too]")[0]
    ),
    "the mistake samples-alone edits 'tuple(range(x.ndim - 1))', which occurs 0 times": replaced(
        "solution.py", "tuple(range(x.ndim - 1))", "tuple(range(len(x.shape) - 1))"
    ),
    "two mistakes have the sentence": replaced(
        "mistakes.toml",
        "Your var is the standard deviation; the variance is its square.",
        "Your var is the sum of the squared distances; divide by the number of values.",
    ),
    "the mistake sum-for-mean passes: no property": replaced(
        "mistakes.toml", "np.sum(centred**2, axis=axes)", "np.var(x, axis=axes)"
    ),
    "the mistake sum-for-mean is reported as: Your var is the standard deviation": replaced(
        "mistakes.toml", "np.sum(centred**2, axis=axes)", "np.sqrt(np.mean(centred**2, axis=axes))"
    ),
    "01_moments: solution.py: '(' was never closed: return (mu, var": replaced(
        "solution.py", "return mu, var", "return (mu, var"
    ),
    "01_moments: solution.py: NameError: name 'half' is not defined": replaced(
        "solution.py", "import numpy as np", "import numpy as np\n\nhalf"
    ),
    "checks.py: '(' was never closed": replaced("checks.py", '"var": judge_var}),)', '"var": judge_var}),'),
    "01_moments: the mistake sum-for-mean: '(' was never closed": replaced(
        "mistakes.toml", "np.sum(centred**2, axis=axes)", "np.sum(centred**2, axis=axes"
    ),
    "its name is not two digits": lambda folder: shutil.move(folder, folder.with_name("01_Moments")),
    "two exercises have the number 01": lambda folder: shutil.copytree(folder, folder.with_name("01_other")),
    "two exercises have the name moments": lambda folder: shutil.copytree(folder, folder.with_name("02_moments")),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_exercise(fault: str, tmp_path: Path) -> None:
    folder = tmp_path / "01_moments"
    shutil.copytree(COURSE / "01_moments", folder, ignore=shutil.ignore_patterns("__pycache__"))
    assert list(lint_course(tmp_path, seeds=())) == []
    other = tmp_path / "broken"
    shutil.copytree(folder, other / "01_moments")
    BROKEN[fault](other / "01_moments")
    run = ("solution fails", "passes", "reported as", "worked example does")  # the rest is found in the texts
    found = list(lint_course(other, seeds=(0,) if any(words in fault for words in run) else ()))
    assert any(fault in line for line in found), found


def test_a_solution_of_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "01_moments"
    shutil.copytree(COURSE / "01_moments", folder)
    text = (folder / "solution.py").read_text(encoding="utf-8")
    head, todo = (
        text.split("    axes =")[0],
        "    return x.mean(tuple(range(x.ndim - 1))), x.var(tuple(range(x.ndim - 1)))\n",
    )
    (folder / "solution.py").write_text(head + todo, encoding="utf-8")
    (folder / "mistakes.toml").write_text("", encoding="utf-8")
    assert not any("no line that the skeleton lacks" in line for line in lint_course(tmp_path, seeds=(0,)))


def test_two_mistakes_of_one_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(COURSE / "01_moments", tmp_path / "01_moments")
    replaced("mistakes.toml", "[channels-too]", "[samples-alone]")(tmp_path / "01_moments")
    assert main(["learn", "lint", "--course", str(tmp_path)]) == 2
    assert "mistakes.toml: Cannot declare ('samples-alone',) twice" in capsys.readouterr().err


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "01_moments"
    shutil.copytree(COURSE / "01_moments", folder)
    assert main(["learn", "lint", "--course", str(tmp_path), "--table"]) == 0
    *table, last = capsys.readouterr().out.splitlines()
    known = find("moments").mistakes
    assert last == f"1 exercise, {len(known)} mistakes known: nothing wrong"
    assert [line.split()[:2] for line in table[1:]] == [[name, name] for name in known]

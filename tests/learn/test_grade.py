"""Grading a class: nobody is lost, whatever they hand in, and the same seed gives the same grades."""

from __future__ import annotations

import csv
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mabn_ref.cli import main
from mabn_ref.learn import judge
from mabn_ref.learn.exercise import find
from mabn_ref.learn.grade import grade, grade_class, hidden_seeds
from mabn_ref.learn.gradebook import as_csv, student_report
from mabn_ref.learn.judges import Grade, Judges, grade_one
from tests.learn.clock import Clock
from tests.learn.hand_in import FILE, hand_in
from tests.signals import HUNG

MOMENTS, FORWARD = find("moments"), find("bn_forward")
BOTH = (MOMENTS, FORWARD)
SEEDS = hidden_seeds(1, 1)


def graded(folder: Path, exercises: Any = (MOMENTS,), jobs: int = 2) -> dict[str, Grade]:
    with ThreadPoolExecutor(jobs) as pool:
        return {g.student: g for g in grade(folder, exercises, SEEDS, pool)}


def test_a_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command, in worker processes: a table, reports, and the same again in one process."""
    folder = tmp_path / "class"
    wrong = MOMENTS.with_mistakes("values-less-one")
    assert wrong is not None
    for exercise in BOTH:
        hand_in(folder, "ada", exercise.solution, Path(exercise.name, "exercise.py"))
    hand_in(folder, "bob", wrong)
    (folder / "=cmd()").mkdir()
    (folder / ".git").mkdir()
    (folder / "notes.txt").write_text("")
    arguments = ["learn", "grade", str(folder), "--only", "1", "2", "--jobs", "2", "--no-sandbox", "--seed", "1"]
    assert main([*arguments, "--csv", str(tmp_path / "a.csv"), "--reports", str(tmp_path / "reports")]) == 0
    said = capsys.readouterr()
    assert "ada        4 of 4\n" in said.out
    assert said.err.splitlines()[:2] == [
        "not graded: .git (its name begins with .)",
        "not graded: notes.txt (not a folder)",
    ]
    rows = list(csv.reader((tmp_path / "a.csv").read_text().splitlines()))
    assert rows == [
        ["student", "01_moments", "02_bn_forward", "total", "of"],
        ["'=cmd()", "0", "0", "0", "4"],
        ["ada", "2", "2", "4", "4"],
        ["bob", "1", "0", "1", "4"],
    ]
    report = (tmp_path / "reports" / "bob.md").read_text()
    assert "# `bob`: 1 of 4 points" in report
    assert "\n\nHidden cases: 1 of --seed 1. Run without a sandbox." in report
    assert "Your variance divides by M - 1" in report
    assert "`not handed in`" in report
    assert "- mu: right\n- var: wrong" in report
    assert main([*arguments, "--jobs", "1", "--csv", str(tmp_path / "b.csv")]) == 0
    assert (tmp_path / "b.csv").read_bytes() == (tmp_path / "a.csv").read_bytes()


HOSTILE: dict[str, tuple[str, str]] = {
    "loop": ("HANG", "the file was stopped after 10 s: is there a loop that never ends?"),
    "exit": ("import os\nos._exit(0)", "its process ended by itself (exit code 0)"),
    "flood": ("while True: print('x' * 10**4)", "the code printed more than 100,000 characters"),
    "null": ("x = '\0'", "Python cannot read the file: source code string cannot contain null bytes"),
    "project": ("from mabn_ref.norms import batch_norm", "No module named 'mabn_ref'"),
    "empty": ("", "there is no function moments in the file"),
    "bomb": ("def moments(x): return [bytearray(10**9) for _ in range(100)]", "moments needs more than 512 MB"),
    "patched": ("import numpy as np\nnp.allclose = np.mean = lambda *a, **k: True\ndef moments(x): return 1, 1", ""),
}


@pytest.mark.skipif(sys.platform == "win32", reason="memory limits and named pipes are POSIX")
def test_nobody_is_lost(tmp_path: Path, clock: Clock) -> None:
    for name, (source, _) in HOSTILE.items():
        hand_in(tmp_path, name, source.replace("HANG", clock.hang))
    hand_in(tmp_path, "latin", "# caf\xe9".encode("latin-1"))
    hand_in(tmp_path, "large", b" " * 1_000_001)
    hand_in(tmp_path, "checker", "def moments(x): return 0, 0")
    for place in ("01_moments/checks.py", "mabn_ref/__init__.py", "numpy.py", "01_moments/numpy.py"):
        hand_in(tmp_path, "checker", "raise SystemExit", place)
    hand_in(tmp_path, "link", "").unlink()
    (tmp_path / "link" / FILE).symlink_to(tmp_path / "good" / FILE)
    hand_in(tmp_path, "pipe", "").unlink()
    os.mkfifo(tmp_path / "pipe" / FILE)
    hand_in(tmp_path, "folder", "", FILE / "x")
    hand_in(tmp_path, "book", "{}", "01_moments.ipynb")
    half = json.dumps({"cells": [{"cell_type": "code", "source": f"x = '\ud800'\n{MOMENTS.solution}"}]})
    hand_in(tmp_path, "half", half, "01_moments.ipynb")
    hand_in(tmp_path, "good", MOMENTS.solution)
    (tmp_path / "outside").symlink_to(tmp_path / "good")

    found = graded(tmp_path, jobs=1)

    assert found.keys() == {path.name for path in tmp_path.iterdir()} - {"outside"}
    assert found["good"].points == 2
    assert all(g.points == 0 for name, g in found.items() if name != "good")
    for name, (_, message) in HOSTILE.items():
        assert found[name].said.startswith(message), name
    assert found["latin"].said == "exercise.py is not valid UTF-8: save it as UTF-8"
    assert found["large"].said == "exercise.py has 1,000,001 bytes, expected at most 1,000,000"
    assert found["link"].said == found["pipe"].said == "exercise.py is not an ordinary file"
    assert found["folder"].said == "not handed in"
    assert found["book"].said == "01_moments.ipynb is not a notebook"
    assert found["half"].said == "01_moments.ipynb is not valid Unicode"
    assert all(student_report([g]).startswith("# ") for g in found.values())
    assert len(as_csv(found.values()).splitlines()) == len(found) + 1


ERRORS = {
    "syntax": (
        "import numpy as np\n\ndef forward(x, gamma, beta, eps):\n    mu = np.mean(x, axis=(0\n    return mu\n",
        (
            "`Python cannot read the file: '(' was never closed`\n\n    exercise.py:4\n"
            "         3 | def forward(x, gamma, beta, eps):\n    >    4 |     mu = np.mean(x, axis=(0\n"
            "         5 |     return mu\n"
        ),
    ),
    "in the file": (
        "import numpy as np\n\neps = epsilon\n",
        (
            "`the file raised NameError: name 'epsilon' is not defined`\n\n    exercise.py:3\n         2 |\n"
            "    >    3 | eps = epsilon\n"
        ),
    ),
    "in a function": (
        "def forward(x, gamma, beta, eps):\n    return x.y, '```\\n\t'  # \x1b[2J\n",
        "`forward raised AttributeError: 'numpy.ndarray' object has no attribute 'y'`\n\n    exercise.py:2\n",
    ),
    "exit": (
        "def forward(x, gamma, beta, eps):\n    exit()",
        "`forward ends the program (exit); return a result instead`",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_a_report_shows_the_line_of_an_error_and_the_reason_of_each_part(name: str, judges: Judges) -> None:
    source, shown = ERRORS[name]
    graded = judges.grade_one("ada", FORWARD.name, "exercise.py", source, SEEDS)
    assert graded == grade_one("ada", FORWARD.name, "exercise.py", source, SEEDS)
    report = student_report([graded])
    assert f"## 02_bn_forward: 0 of 2\n\n{shown}" in report
    assert report.endswith("\n- z: wrong, see above\n- cache: wrong, see above\n")
    assert "\x1b" not in report
    assert ("\n    >    2 |     return x.y, '```\\n '  # \\x1b[2J\n" in report) is (name == "in a function")
    book = grade_one("ada", FORWARD.name, "02_bn_forward.ipynb", source, SEEDS)
    assert all(error.place.startswith("02_bn_forward.ipynb, line ") for error in book.errors)


def test_answers_that_were_written_down_fail_on_the_hidden_cases() -> None:
    answers = {}
    for case in MOMENTS.draw(0, 6):
        values = case.x.reshape(-1, 3)
        answers[case.x.tobytes().hex()[:32]] = [np.mean(values, axis=0).tolist(), np.var(values, axis=0).tolist()]
    source = (
        f"import numpy as np\nANSWERS = {answers!r}\ndef moments(x):\n"
        "    mu, var = ANSWERS.get(x.tobytes().hex()[:32], [[0.0] * 3, [1.0] * 3])\n"
        "    return np.array(mu), np.array(var)\n"
    )
    assert grade_one("copy", MOMENTS.name, FILE.name, source, (0,)).points == 2
    assert grade_one("copy", MOMENTS.name, FILE.name, source, SEEDS).points == 0


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_worker_that_dies_loses_its_file_alone_which_is_run_again(tmp_path: Path, deaths: int) -> None:
    asked = []

    class Dying(ThreadPoolExecutor):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            asked.append(args[0])
            if args[0] != "bob" or asked.count("bob") > deaths:
                return super().submit(fn, *args, **kwargs)
            lost: Future[Any] = Future()
            lost.set_exception(RuntimeError("its worker process was killed by SIGKILL"))
            return lost

    for name in ("ada", "bob"):
        hand_in(tmp_path, name, MOMENTS.solution)
    with Dying(1) as pool:
        found = {g.student: g for g in grade(tmp_path, [MOMENTS], SEEDS, pool)}
    assert found["ada"].points == 2
    if deaths == 1:
        assert found["bob"].points == 2
    else:
        assert found["bob"].said == "could not be checked: RuntimeError: its worker process was killed by SIGKILL"


def test_the_time_limit_grows_with_the_number_of_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []

    class Timed(judge.Student):
        def __init__(self, source: str, filename: str, limits: Any, sandbox: Any) -> None:
            given.append(limits.seconds)
            super().__init__(source, filename, limits, sandbox)

    monkeypatch.setattr(judge, "Student", Timed)
    assert grade_one("ada", MOMENTS.name, FILE.name, MOMENTS.solution, hidden_seeds(1, 3)).points == 2
    assert given == [4 * MOMENTS.seconds]


def test_what_is_graded_is_in_the_table_at_once_and_stays_there(tmp_path: Path) -> None:
    table, seen = tmp_path / "grades.csv", []
    for name in ("ada", "bob", "eve"):
        (tmp_path / "class" / name).mkdir(parents=True)

    def progress(given: Grade) -> None:
        seen.append(table.read_text())
        if given.student == "eve":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        grade_class(tmp_path / "class", [MOMENTS], SEEDS, 1, (), table, progress)
    assert '"ada"' in seen[1]
    assert [line.partition(",")[0] for line in table.read_text().splitlines()] == ['"student"', '"ada"', '"bob"']


def test_an_interruption_leaves_no_folder_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def interrupted() -> None:
        with Judges(1) as judges:
            waits = "import time\ntime.sleep(2)\n"
            judges.threads.submit(judges.grade_one, "ada", MOMENTS.name, FILE.name, waits, (0,))
            until = time.monotonic() + HUNG
            while not list(tmp_path.rglob("mabn-exercise-*")) and time.monotonic() < until:
                time.sleep(0.01)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())


def test_what_runs_out_of_time_beside_the_others_is_run_again_alone(tmp_path: Path, clock: Clock) -> None:
    mark = tmp_path / "mark"
    slow_once = (
        f"import pathlib\nmark = pathlib.Path({str(mark)!r})\n"
        f"if not mark.exists():\n    mark.touch()\n    {clock.hang}\n"
    )
    hand_in(tmp_path / "class", "ada", slow_once + MOMENTS.solution)
    assert graded(tmp_path / "class")["ada"].points == 2
    assert clock.jumps == 1


def test_what_is_run_again_is_first_stopped_at_its_first_time_out(tmp_path: Path) -> None:
    asked = []

    def one(student: str, name: str, *rest: Any) -> Grade:
        asked.append((student, rest[-1]))
        return Grade(student, name, 0, 2, "", again=student == "loop")

    for name in ("good", "loop"):
        hand_in(tmp_path, name, "")
    with ThreadPoolExecutor(1) as pool:
        grade(tmp_path, [MOMENTS], SEEDS, pool, one=one)
    assert asked == [("good", 1), ("loop", 1), ("loop", 2)]


NAMES = [
    "a  b",
    "a b",
    "a\tb",
    "a\nb",
    "x;=1+1",
    "=1",
    "-2",
    "\x1b[2Jred",
    "é" * 120,
    "z" * 250,
    "bad\udcff",
    "bad\udcfe",
    "a\\nb",
]


@pytest.mark.skipif(sys.platform == "win32", reason="names that Windows does not have")
def test_any_name_is_one_line_one_report_and_no_formula(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "class"
    for name in NAMES:
        hand_in(folder, name, "def moments(x): return 1, 1")
    (folder / "linked").symlink_to(folder / "=1")
    arguments = ["learn", "grade", str(folder), "--only", "1", "--no-sandbox", "--csv", str(tmp_path / "a.csv")]
    assert main([*arguments, "--reports", str(tmp_path / "reports")]) == 0
    said = capsys.readouterr()
    assert "not graded: linked (a link)" in said.err
    assert "\x1b[2J" not in said.out
    rows = list(csv.reader((tmp_path / "a.csv").read_text().splitlines()))[1:]
    assert len({row[0] for row in rows}) == len(rows) == len(NAMES)
    assert not any(row[0].startswith(tuple("=+-@")) or not row[0].isprintable() for row in rows)
    assert '"x;=1+1",' in (tmp_path / "a.csv").read_text(), "quoted, so that no program splits it"
    assert len(list((tmp_path / "reports").iterdir())) == len(NAMES)
    assert not any("\x1b" in report.read_text() for report in (tmp_path / "reports").iterdir())


def test_what_cannot_be_written_is_found_out_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hand_in(tmp_path / "class", "ada", "while True: pass")
    (tmp_path / "file").write_text("")
    arguments = ["learn", "grade", str(tmp_path / "class"), "--only", "1", "--no-sandbox"]
    for option, value in (("--csv", tmp_path / "file" / "a.csv"), ("--reports", tmp_path / "file")):
        assert main([*arguments, option, str(value)]) == 1
        assert "is a file" in capsys.readouterr().err or value.name == "a.csv"

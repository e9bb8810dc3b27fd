"""A whole class in the sandbox: solutions, mistakes, files as handed out and hostile ones, and everyone's points."""

from __future__ import annotations

import csv
import os
import time
from pathlib import Path

import numpy as np
import pytest

from mabn_ref.cli import main
from mabn_ref.learn.exercise import course
from tests.learn.test_hostile import KINDS, _source
from tests.learn.test_sandbox import bubblewrap

STUDENTS = int(os.environ.get("MABN_CLASS", "4"))
"""With 100 of them every exercise is graded, and 120 files are hostile."""
HOSTILE = 120 * STUDENTS // 100
WHOLE_FILES = (
    "while True: pass",
    "import os\nos._exit(0)",
    "while True: print('x' * 10**4)",
    "kept = []\nwhile True: kept.append(bytearray(10**7))",
    "def f(): return f()\nf()",
    "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    "x = '\\0'",
)


@bubblewrap
def test_a_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(STUDENTS)
    exercises = [e for e in course() if STUDENTS >= 100 or e.number in (1, 4)]
    files: dict[tuple[int, str], tuple[str, int | None]] = {}  # the source, and the points that it is worth
    for student in range(STUDENTS):
        for exercise in exercises:
            kind = rng.choice(["right", "wrong", "given", "nothing"], p=[0.5, 0.3, 0.1, 0.1])
            if kind == "right":
                files[student, exercise.name] = exercise.solution, len(exercise.parts)
            elif kind == "wrong":
                mistake = str(rng.choice(list(exercise.mistakes)))
                files[student, exercise.name] = exercise.with_mistakes(mistake) or "", None
            elif kind == "given":
                files[student, exercise.name] = exercise.skeleton, 0
    attacks = [_source(name, body) for kind in KINDS.values() for name, body in kind.items()]
    attacks = [(name, source) for name, source in attacks if name in [e.name for e in exercises]]
    places = {(int(student), str(name)) for student in range(STUDENTS) for name in [e.name for e in exercises]}
    for number in rng.permutation(max(len(attacks), HOSTILE))[:HOSTILE]:
        name, source = attacks[number] if number < len(attacks) else ("", WHOLE_FILES[number % len(WHOLE_FILES)])
        free = sorted(place for place in places if name in ("", place[1]))
        place = free[rng.integers(len(free))]
        places.remove(place)
        files[place] = source, 0
    for (student, name), (source, _) in files.items():
        path = tmp_path / "in" / f"s{student:03}" / name / "exercise.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    started = time.monotonic()
    only = ["--only", *(e.name for e in exercises)]
    table = tmp_path / "grades.csv"
    words = ["learn", "grade", str(tmp_path / "in"), "--csv", str(table), "--reports", str(tmp_path / "out")]
    words += ["--hidden", "0"] * (STUDENTS < 100)  # each set of cases has its time, which a file that loops takes up
    assert main([*words, "--jobs", "2", *only]) == 0
    with capsys.disabled():
        if STUDENTS >= 100:
            print(f"{len(files)} files, {HOSTILE} of them hostile, in {time.monotonic() - started:.0f} s")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert len(rows) == STUDENTS == len(list((tmp_path / "out").iterdir()))
    wrong = []
    for row in rows:
        for exercise in exercises:
            _, worth = files.get((int(row["student"][1:]), exercise.name), ("", 0))
            given = int(row[exercise.name])
            if given != worth and not (worth is None and given < len(exercise.parts)):
                report = (tmp_path / "out" / f"{row['student']}.md").read_text()
                wrong.append((row["student"], given, worth, report.partition(f"## {exercise.name}")[2][:500]))
    assert not wrong

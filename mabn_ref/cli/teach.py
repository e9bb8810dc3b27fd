"""The actions of ``mabn-ref learn`` for teachers and for authors of exercises: grade, export, lint."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mabn_ref.cli.parser import add_number
from mabn_ref.extras import require

__all__ = ["add"]


def add(action: Callable[..., Any]) -> None:
    """Add them with `action`, which takes a name, what to do, and a line of help."""
    grade = action(
        "grade",
        _grade,
        "grade a folder of submissions",
        "Grade SUBMISSIONS/STUDENT/NN_name/exercise.py, or NN_name.py or NN_name.ipynb, of all students. Needs the "
        "extra run.",
    )
    grade.add_argument("folder", type=Path, metavar="SUBMISSIONS", help="with a folder for each student")
    grade.add_argument(
        "--csv", type=Path, nargs="?", const=Path("grades.csv"), metavar="FILE", help="write a table (grades.csv)"
    )
    grade.add_argument("--reports", type=Path, metavar="DIR", help="write a report for each student")
    grade.add_argument("--only", nargs="+", default=(), metavar="NAME", help="these exercises alone")
    add_number(grade, "--seed", int, 1, "of the hidden cases; the same seed gives the same grades")
    add_number(grade, "--hidden", int, 1, "sets of hidden cases, beside the one that students may have seen")
    add_number(grade, "--jobs", int, None, "files side by side (default: one a core)", at_least=1)
    export = action(
        "export",
        _export,
        "write the exercises as notebooks",
        "Write a notebook for each exercise: plain, for nbgrader (a graded cell for each part), or for Otter-Grader "
        "(with its test files).",
    )
    export.add_argument("folder", type=Path, metavar="DIR")
    export.add_argument("--notebooks", action="store_true", required=True, help="the form, and so far the only one")
    export.add_argument(
        "--for", dest="kind", choices=("plain", "nbgrader", "otter"), default="plain", metavar="GRADER"
    )
    export.add_argument("--only", nargs="+", default=(), metavar="NAME", help="these exercises alone")
    lint = action(
        "lint",
        _lint,
        "check the course itself, for whoever adds an exercise",
        "Check that every exercise has what it needs: its skeleton fails, its solution passes, and each mistake it "
        "knows is told its sentence. The exit code is 1 if something is wrong.",
    )
    lint.add_argument("--course", type=Path, metavar="DIR", help="a folder of exercises (default: the course itself)")
    lint.add_argument(
        "--table", action="store_true", help="print what is said of each mistake that is made on purpose"
    )


def _only(names: Sequence[str]) -> list[Any]:
    from mabn_ref.learn.exercise import course, find

    chosen = {find(name).name for name in names}
    return [exercise for exercise in course() if not chosen or exercise.name in chosen]


def _grade(args: argparse.Namespace) -> int:
    from mabn_ref.learn.grade import grade, hidden_seeds, write_csv, write_reports
    from mabn_ref.learn.screens import printable
    from mabn_ref.learn.submissions import students
    from mabn_ref.train.workers import Workers

    tqdm = require("tqdm", "run").tqdm
    exercises = _only(args.only)
    everyone = students(args.folder)
    jobs = min(args.jobs or os.cpu_count() or 1, len(everyone) * len(exercises))
    seeds = hidden_seeds(args.seed, args.hidden)
    total = len(everyone) * len(exercises)
    with tqdm(total=total, unit=" files", disable=None, dynamic_ncols=True) as bar, Workers(jobs) as workers:
        grades = grade(args.folder, exercises, seeds, workers, lambda given: bar.update())
    most = sum(len(exercise.parts) for exercise in exercises)
    wide = max(len(student.name) for student in everyone)
    for student in everyone:
        points = sum(given.points for given in grades if given.student == student.name)
        print(f"{printable(student.name):<{wide}}  {points:>4} of {most}")
    if args.csv:
        write_csv(args.csv, grades)
        print(f"Written: {args.csv}")
    if args.reports:
        write_reports(args.reports, grades)
        print(f"Written: {len(everyone)} reports in {args.reports}")
    return 0


def _export(args: argparse.Namespace) -> int:
    from mabn_ref.learn.notebook import export

    for path in export(args.folder, _only(args.only), args.kind):
        print(path)
    return 0


def _lint(args: argparse.Namespace) -> int:
    """Print what is wrong, and what was looked at."""
    from mabn_ref.learn.exercise import COURSE, course
    from mabn_ref.learn.lint import confusion, lint_course

    folder = args.course or COURSE
    for exercise in course(folder) if args.table else ():
        print(exercise.name)
        for mistake, _, report in confusion(exercise, [0]):
            print(f"  {mistake.name:<32} {', '.join(report.mistakes) or '-':<32} {' '.join(report.sentences)}")
    faults = 0
    for fault in lint_course(folder):
        print(fault, flush=True)
        faults += 1
    known = sum(len(exercise.mistakes) for exercise in course(folder))
    said = "nothing wrong" if not faults else f"{faults} thing{'' if faults == 1 else 's'} wrong"
    print(f"{len(course(folder))} exercises, {known} mistakes that they know: {said}")
    return int(faults > 0)

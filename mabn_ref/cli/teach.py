"""The actions of ``mabn-ref learn`` for teachers: grade, export, lint."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mabn_ref.cli.parser import UsageError, add_number, add_place
from mabn_ref.cli.progress import Progress
from mabn_ref.learn import notebook, sandbox
from mabn_ref.learn.exercise import COURSE, Exercise, course, find
from mabn_ref.learn.grade import NOT_HANDED_IN, grade_class, hidden_seeds
from mabn_ref.learn.gradebook import write_reports
from mabn_ref.learn.plain_text import shown
from mabn_ref.learn.submissions import left_out, students


def add(action: Callable[..., Any]) -> None:
    """Add grade, export and lint with `action`, which takes a name, a function to run and a description."""
    grade = action(
        "grade",
        _grade,
        "Grade the exercises of all students. SUBMISSIONS/STUDENT holds NN_name/exercise.py, NN_name.py or "
        "NN_name.ipynb for each exercise.",
    )
    add_place(grade, "folder", "a folder with one folder per student", metavar="SUBMISSIONS")
    add_place(
        grade,
        "--csv",
        "write a table of grades to FILE (default grades.csv)",
        metavar="FILE",
        nargs="?",
        const=Path("grades.csv"),
    )
    add_place(grade, "--reports", "write a report for each student")
    grade.add_argument("--only", nargs="+", type=_exercise, default=(), metavar="NAME", help="only these exercises")
    seed = "seed of the hidden cases; the same seed gives the same grades (default: drawn at random and printed)"
    add_number(grade, "--seed", int, None, seed)
    add_number(grade, "--hidden", int, 1, "sets of hidden cases, besides the one that students may have seen")
    add_number(grade, "--jobs", int, None, "files graded in parallel (default: one per core)", at_least=1)
    help = "let students' code reach your files and network; only for students that you trust"
    grade.add_argument("--no-sandbox", action="store_true", help=help)
    export = action(
        "export",
        _export,
        "Write a notebook for each exercise: plain, for nbgrader (a graded cell for each part), or for Otter-Grader "
        "(with its test files).",
    )
    add_place(export, "folder", "write to DIR; created if it does not exist")
    help = f"one of {', '.join(notebook.FORMATS)}; default %(default)s"
    export.add_argument("--for", dest="kind", choices=notebook.FORMATS, default="plain", metavar="GRADER", help=help)
    export.add_argument("--only", nargs="+", type=_exercise, default=(), metavar="NAME", help="only these exercises")
    lint = action(
        "lint",
        _lint,
        "Check that every exercise has what it needs: its skeleton fails, its solution passes, and each known "
        "mistake gets its message. The exit code is 1 if something is wrong.",
    )
    add_place(lint, "--course", "a folder of exercises (default: the course itself)", COURSE)
    table = "print the message that each deliberate mistake gets"
    lint.add_argument("--table", action="store_true", help=table)


def _exercise(name: str) -> str:
    """Return the full name of an exercise."""
    try:
        return find(name).name
    except ValueError as error:
        raise argparse.ArgumentTypeError(error) from None


def _only(chosen: Sequence[str]) -> list[Exercise]:
    return [exercise for exercise in course() if not chosen or exercise.name in chosen]


def _grade(args: argparse.Namespace) -> int:
    exercises = _only(args.only)
    everyone = students(args.folder)
    for option, place in (("--csv", args.csv and args.csv.parent), ("--reports", args.reports)):
        if place and args.folder.resolve() in place.resolve().parents:
            raise UsageError(
                f"argument {option}: {place} is in {args.folder}, where each folder counts as a student's"
            )
    passed_over = left_out(args.folder, exercises)
    for name, reason in passed_over:
        print(f"not graded: {shown(name)} ({reason})", file=sys.stderr)
    command = [] if args.no_sandbox else sandbox.command(args.folder)
    total = len(everyone) * len(exercises)
    jobs = min(args.jobs or os.cpu_count() or 1, total)
    seed = secrets.randbelow(10**9) if args.seed is None else args.seed
    seeds = hidden_seeds(seed, args.hidden)
    if args.reports:  # fail before anything is graded if they cannot be written
        args.reports.mkdir(parents=True, exist_ok=True)
    with Progress("files", total) as progress:
        grades = grade_class(args.folder, exercises, seeds, jobs, command, args.csv, lambda given: progress.step())
    most = sum(len(exercise.parts) for exercise in exercises)
    wide = max(len(shown(student.name)) for student in everyone)
    for student in everyone:
        own = [given for given in grades if given.student == student.name]
        lacking = ", ".join(given.exercise for given in own if given.lacks)
        there = sum(given.said != NOT_HANDED_IN for given in own)
        notes = [f"{there} of {len(own)} handed in"] * (there < len(own))
        notes += [f"not passed yet: {lacking}"] * bool(lacking)
        points = f"{sum(given.points for given in own):>4} of {most}"
        print("  ".join([f"{shown(student.name):<{wide}}", points, *notes]))
    how = "without a sandbox" if args.no_sandbox else "in bubblewrap"
    print(f"Run {how}; hidden cases of --seed {seed}, --hidden {args.hidden}")
    if args.csv:
        print(f"Written: {args.csv}")
    failed = []
    if args.reports:
        about = f"\nHidden cases: {args.hidden} of --seed {seed}. Run {how}.\n"
        failed = write_reports(args.reports, grades, about, passed_over)
        print(f"Written: {len(everyone) - len(failed)} reports in {args.reports}")
    for error in failed:
        print(f"mabn-ref learn: error: {error}", file=sys.stderr)
    return 1 if failed else 0


def _export(args: argparse.Namespace) -> None:
    for path in notebook.export(args.folder, _only(args.only), args.kind):
        print(path)


def _lint(args: argparse.Namespace) -> int:
    """Print what is wrong, and how much was checked."""
    from mabn_ref.learn.lint import confusion, lint_course  # imports doctest, which is slow

    exercises = course(args.course)
    if not exercises:
        raise UsageError(f"argument --course: {args.course} has no exercises")
    for exercise in exercises if args.table else ():
        print(exercise.name)
        for name, _, report in confusion(exercise, [0]):
            print(f"  {name:<32} {', '.join(report.mistakes) or '-':<32} {' '.join(report.sentences)}")
    faults = 0
    with Progress("lint") as progress:
        for fault in lint_course(args.course):
            progress.say(fault)
            faults += 1
    known = sum(len(exercise.mistakes) for exercise in exercises)
    said = "nothing wrong" if not faults else f"{faults} thing{'' if faults == 1 else 's'} wrong"
    looked_at = "1 exercise" if len(exercises) == 1 else f"{len(exercises)} exercises"
    print(f"{looked_at}, {known} mistake{'' if known == 1 else 's'} known: {said}")
    return int(faults > 0)

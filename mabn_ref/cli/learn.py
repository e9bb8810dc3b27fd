"""``mabn-ref learn``: the exercises."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

__all__ = ["add", "run"]


def add(commands: Any) -> None:
    """Add the command and its actions."""
    parser = commands.add_parser("learn", help="exercises that check themselves")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    lint = actions.add_parser(
        "lint",
        help="check the course itself, for whoever adds an exercise",
        description="Check that every exercise has what it needs: its skeleton fails, its solution passes, and each "
        "mistake it knows is told its sentence. The exit code is 1 if something is wrong.",
    )
    lint.add_argument("--course", type=Path, metavar="DIR", help="a folder of exercises (default: the course itself)")
    lint.set_defaults(act=_lint, run=run, parser=lint)


def run(args: argparse.Namespace) -> int:
    """Do what the action says."""
    code: int = args.act(args)
    return code


def _lint(args: argparse.Namespace) -> int:
    """Print what is wrong, and what was looked at."""
    from mabn_ref.exercises.exercise import COURSE, course
    from mabn_ref.exercises.lint import lint_course

    folder = args.course or COURSE
    faults = 0
    for fault in lint_course(folder):
        print(fault, flush=True)
        faults += 1
    known = sum(len(exercise.mistakes) for exercise in course(folder))
    said = "nothing wrong" if not faults else f"{faults} thing{'' if faults == 1 else 's'} wrong"
    print(f"{len(course(folder))} exercises, {known} mistakes that they know: {said}")
    return int(faults > 0)

"""``mabn-ref learn``: the exercises, for learners and for teachers."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mabn_ref.cli import teach
from mabn_ref.cli.parser import UsageError, add_number, usage_errors

__all__ = ["ACTIONS", "add", "run", "with_action"]

ACTIONS = ("start", "status", "check", "hint", "watch", "reset", "solution", "grade", "export", "lint")
_DESCRIPTION = """\
Exercises that check themselves. `mabn-ref learn DIR` makes a working folder; the other commands work in it.
"""


def with_action(argv: Sequence[str]) -> list[str]:
    """Put in the action "start" where a folder stands in its place: ``learn DIR`` is ``learn start DIR``.

    Raises
    ------
    UsageError
        If it looks like a misspelt action rather than a folder.

    Examples
    --------
    >>> with_action(["learn", "course"]), with_action(["learn", "check"])
    (['learn', 'start', 'course'], ['learn', 'check'])
    """
    argv = list(argv)
    if argv[:1] != ["learn"] or len(argv) < 2 or argv[1].startswith("-") or argv[1] in ACTIONS:
        return argv
    near = difflib.get_close_matches(argv[1], ACTIONS, n=1)
    if near and not Path(argv[1]).exists():
        raise UsageError(f"unknown action {argv[1]!r}: did you mean {near[0]!r}? A folder of that name: ./{argv[1]}")
    return ["learn", "start", *argv[1:]]


def add(commands: Any) -> None:
    """Add the command and its actions."""
    parser = commands.add_parser("learn", help="exercises that check themselves", description=_DESCRIPTION)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, act: Any, help: str, description: str = "") -> Any:
        added = actions.add_parser(name, help=help, description=description or f"{help[0].upper()}{help[1:]}.")
        added.set_defaults(act=act, run=run, parser=added)
        return added

    start = action("start", _start, "make a working folder, or add to one what is missing: mabn-ref learn DIR")
    start.add_argument("folder", type=Path, metavar="DIR")
    for name, act, help in (
        ("status", _status, "list the exercises and what has passed"),
        ("check", _check, "check an exercise; the exit code is 1 if it has not passed"),
        ("hint", _hint, "show the next of three hints"),
        ("watch", _watch, "check an exercise whenever it is saved"),
        ("reset", _reset, "start an exercise over; your file is kept as exercise.py.old"),
        ("solution", _solution, "show our solution of an exercise that has passed"),
    ):
        added = action(name, act, help)
        added.add_argument(
            "--dir", type=Path, default=Path(), metavar="DIR", help="the working folder (default: here)"
        )
        which = added.add_mutually_exclusive_group() if name == "check" else added
        if name != "status":
            which.add_argument(
                "name", nargs="?", metavar="NAME", help="such as 02_bn_forward or 2 (default: the current)"
            )
        if name == "check":
            which.add_argument("--all", action="store_true", help="check all exercises")
            add_number(added, "--seed", int, None, "of the cases (default: fresh ones)")
    teach.add(action)


def run(args: argparse.Namespace) -> int:
    """Do what the action says."""
    with usage_errors():
        code: int = args.act(args)
    return code


def _start(args: argparse.Namespace) -> int:
    from mabn_ref.learn.folder import Folder

    folder = Folder(args.folder)
    new = folder.make()
    print(f"{len(new)} exercises written to {args.folder}, {len(folder.exercises) - len(new)} were there already.")
    print(f"\n  cd {args.folder}\n  mabn-ref learn watch\n\nBegin with {folder.current().name}/statement.md.")
    return 0


def _opened(args: argparse.Namespace) -> tuple[Any, Any, Any]:
    """The folder, the exercise that is meant, and how to write."""
    from mabn_ref.learn.exercise import find
    from mabn_ref.learn.folder import Folder
    from mabn_ref.learn.screens import style_for

    folder = Folder.find(args.dir)
    exercise = find(args.name, folder.exercises) if getattr(args, "name", None) else folder.current()
    return folder, exercise, style_for(sys.stdout)


def _status(args: argparse.Namespace) -> int:
    from mabn_ref.learn.screens import listing

    folder, exercise, style = _opened(args)
    print(listing(folder.exercises, folder.load(), exercise.name, style))
    return 0


def _check(args: argparse.Namespace) -> int:
    from mabn_ref.learn.session import check, check_all, fresh_seeds, progress_bar

    folder, exercise, style = _opened(args)
    seeds = fresh_seeds() if args.seed is None else (args.seed,)
    if args.all:
        return int(not check_all(folder, seeds, style, print))
    folder.choose(exercise)
    passed, said = check(folder, exercise, seeds, style)
    print(f"{said}\n\n{progress_bar(folder)}")
    return int(not passed)


def _hint(args: argparse.Namespace) -> int:
    from mabn_ref.learn.session import hint

    folder, exercise, style = _opened(args)
    print(f"{style(exercise.name, 'bold')}  {exercise.title}\n\n{hint(folder, exercise, style)}")
    return 0


def _watch(args: argparse.Namespace) -> int:
    from mabn_ref.learn.keys import keys
    from mabn_ref.learn.watch import watch

    folder, exercise, style = _opened(args)
    if not sys.stdin.isatty():
        raise UsageError("watch needs a terminal; mabn-ref learn check looks once")
    folder.choose(exercise)
    with keys() as key:
        watch(folder, exercise, key, style)
    return 0


def _reset(args: argparse.Namespace) -> int:
    from mabn_ref.learn.screens import place

    folder, exercise, style = _opened(args)
    old = folder.reset(exercise)
    kept = f"; yours is kept as {old.name}" if old else ""
    print(f"{place(folder.file(exercise), None, style)} is as it was at the beginning{kept}")
    return 0


def _solution(args: argparse.Namespace) -> int:
    from mabn_ref.learn.session import solution

    folder, exercise, style = _opened(args)
    exercise = exercise if args.name else folder.chosen()
    shown = solution(folder, exercise, style)
    if shown is None:
        raise UsageError(f"{exercise.name} has not passed yet; mabn-ref learn hint {exercise.name} helps on")
    print(shown)
    return 0

"""``mabn-ref learn``: the exercises, for learners and for teachers."""

from __future__ import annotations

import argparse
import difflib
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mabn_ref.cli import teach
from mabn_ref.cli.parser import UsageError, add_number, place, usage_errors
from mabn_ref.cli.progress import Progress

_STUDENT = {
    "start": "make a working folder, or add to one what is missing",
    "status": "list the exercises, what has passed, and which is current",
    "show": "read the statement of an exercise",
    "edit": "open the file of an exercise in your editor, $VISUAL or $EDITOR",
    "watch": "check an exercise whenever it is saved",
    "check": "check an exercise once; the exit code is 1 if it has not passed",
    "hint": "show the next of three hints",
    "solution": "show the model solution of an exercise that has passed",
    "reset": "start an exercise over; your file is kept as exercise.py.old",
}
_TEACHER = {
    "grade": "grade a folder of submissions, each in a sandbox",
    "export": "write the exercises as notebooks",
    "lint": "check the course itself, for whoever adds an exercise",
}
ACTIONS = (*_STUDENT, *_TEACHER)


def _table(actions: Mapping[str, str]) -> str:
    return "\n".join(f"  {name:<10}{help}" for name, help in actions.items())


_DESCRIPTION = f"""\
Exercises that check themselves, from the mean of a batch to MABN. Start with

  mabn-ref learn DIR

which makes a folder with a statement and a file to write for each exercise.
Then, in that folder:

{_table(_STUDENT)}

Without NAME each means the exercise that you checked last or, once that has
passed, the first open one.

For teachers:

{_table(_TEACHER)}

mabn-ref learn ACTION --help says more of each.
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
    parser = commands.add_parser(
        "learn",
        help="exercises that check themselves",
        usage="mabn-ref learn DIR\n       mabn-ref learn ACTION ...",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, prog="mabn-ref learn")
    texts = _STUDENT | _TEACHER

    def action(name: str, act: Any, description: str = "") -> Any:
        text = description or f"{texts[name][0].upper()}{texts[name][1:]}."
        added = actions.add_parser(name, description=text)
        added.set_defaults(act=act, run=run, parser=added)
        return added

    start = action("start", _start)
    start.add_argument("folder", type=place, metavar="DIR")
    for name, act in (
        ("status", _status),
        ("show", _show),
        ("edit", _edit),
        ("watch", _watch),
        ("check", _check),
        ("hint", _hint),
        ("solution", _solution),
        ("reset", _reset),
    ):
        added = action(name, act)
        added.add_argument(
            "--dir", type=place, default=Path(), metavar="DIR", help="the working folder (default: here)"
        )
        if name == "hint":
            added.add_argument("--all", action="store_true", help="show all hints taken so far, and no new one")
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
    written = f"{len(new)} exercise{'' if len(new) == 1 else 's'} written to {args.folder}"
    print(f"{written}, {len(folder.exercises) - len(new)} were there already.")
    print(f"\n  cd {args.folder}\n  mabn-ref learn show\n  mabn-ref learn watch\n")
    print(f"show prints the statement of {folder.current().name}, watch checks its exercise.py whenever you save it.")
    return 0


def _opened(args: argparse.Namespace) -> tuple[Any, Any, Any, Any]:
    """The folder, the exercise that is meant, how to write, and what: `mabn_ref.learn.terminal`."""
    from mabn_ref.learn import terminal
    from mabn_ref.learn.exercise import find
    from mabn_ref.learn.folder import Folder

    folder = Folder.find(args.dir)
    exercise = find(args.name, folder.exercises) if getattr(args, "name", None) is not None else folder.current()
    return folder, exercise, terminal.style_for(sys.stdout), terminal


def _status(args: argparse.Namespace) -> int:
    folder, exercise, style, terminal = _opened(args)
    print(terminal.listing(folder.exercises, folder.load(), exercise.name, style))
    return 0


def _show(args: argparse.Namespace) -> int:
    """Print a statement; with a name in any folder."""
    from mabn_ref.learn.exercise import find
    from mabn_ref.learn.folder import Folder
    from mabn_ref.learn.terminal import place, statement, style_for

    style = style_for(sys.stdout)
    try:
        folder = Folder.find(args.dir)
    except FileNotFoundError:
        if args.name is None:
            raise
        print(statement(find(args.name), style))
        return 0
    exercise = find(args.name, folder.exercises) if args.name is not None else folder.current()
    print(f"{statement(exercise, style)}\n\nWrite it in {place(folder.file(exercise), None, style)}.")
    return 0


def _edit(args: argparse.Namespace) -> int:
    folder, exercise, *_ = _opened(args)
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        raise UsageError(f"neither VISUAL nor EDITOR is set; open {folder.file(exercise)} in your editor")
    return subprocess.call([*shlex.split(editor), str(folder.file(exercise))])


def _check(args: argparse.Namespace) -> int:
    folder, exercise, style, terminal = _opened(args)
    seeds = terminal.fresh_seeds() if args.seed is None else (args.seed,)
    if args.all:
        with Progress("exercises", len(folder.exercises)) as progress:
            return int(not terminal.check_all(folder, seeds, style, progress.step))
    moved = folder.chosen() != exercise
    folder.choose(exercise)
    passed, said = terminal.check(folder, exercise, seeds, style)
    print(f"{said}\n\n{terminal.progress_bar(folder)}")
    if moved and not passed:
        print(f"The current exercise is now {exercise.name}.")
    return int(not passed)


def _hint(args: argparse.Namespace) -> int:
    folder, exercise, style, terminal = _opened(args)
    said = (terminal.hints_taken if args.all else terminal.hint)(folder, exercise, style)
    print(f"{style(exercise.name, 'bold')}  {exercise.title}\n\n{said}")
    return 0


def _watch(args: argparse.Namespace) -> int:
    from mabn_ref.learn.watch import keys, watch

    folder, exercise, style, _ = _opened(args)
    if not sys.stdin.isatty():
        raise UsageError("watch needs a terminal; mabn-ref learn check looks once")
    folder.choose(exercise)
    with keys() as key:
        watch(folder, exercise, key, style)
    return 0


def _reset(args: argparse.Namespace) -> int:
    folder, exercise, style, terminal = _opened(args)
    old = folder.reset(exercise)
    kept = f"; yours is kept as {old.name}" if old else ""
    print(f"{terminal.place(folder.file(exercise), None, style)} is as it was at the beginning{kept}")
    return 0


def _solution(args: argparse.Namespace) -> int:
    folder, exercise, style, terminal = _opened(args)
    exercise = exercise if args.name is not None else folder.chosen()
    shown = terminal.solution(folder, exercise, style)
    if shown is None:
        raise UsageError(f"{exercise.name} has not passed yet; mabn-ref learn hint {exercise.name} helps on")
    print(shown)
    return 0

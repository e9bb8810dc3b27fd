"""``mabn-ref learn``: the exercises, for students and for teachers."""

from __future__ import annotations

import argparse
import difflib
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from mabn_ref.cli import teach
from mabn_ref.cli.parser import UsageError, add_number, add_place, usage_errors
from mabn_ref.cli.progress import Progress
from mabn_ref.learn import terminal
from mabn_ref.learn.exercise import Exercise, find
from mabn_ref.learn.folder import Folder
from mabn_ref.learn.watch import keys, watch


def with_action(argv: Sequence[str]) -> list[str]:
    """Insert the action "start" where there is only a folder: ``learn DIR`` is ``learn start DIR``.

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
    near = ["status"] if argv[1] in ("list", "ls") else difflib.get_close_matches(argv[1], ACTIONS, n=1)
    if near and not Path(argv[1]).exists():
        raise UsageError(f"unknown action {argv[1]!r}: did you mean {near[0]!r}? For a folder: ./{argv[1]}")
    return ["learn", "start", *argv[1:]]


def run(args: argparse.Namespace) -> int | None:
    """Run the action."""
    with usage_errors():
        code: int | None = args.act(args)
    return code


def _start(args: argparse.Namespace) -> None:
    folder = Folder(args.folder)
    new = folder.make()
    written = f"{len(new)} exercise{'' if len(new) == 1 else 's'} written to {args.folder}"
    print(f"{written}, {len(folder.exercises) - len(new)} were there already.")
    there = "" if folder.path.resolve() == Path.cwd() else f"  cd {args.folder}\n"
    print(f"\n{there}  mabn-ref learn show\n  mabn-ref learn watch\n")
    print(
        f"show prints the statement of {folder.current().name};\nwatch checks its exercise.py whenever you save it."
    )


def _opened(args: argparse.Namespace) -> tuple[Folder, Exercise, terminal.Style]:
    """Return the folder, the exercise to work on, and the style of the output."""
    folder = Folder.find(args.dir)
    if args.name is not None:
        exercise = find(args.name, folder.exercises)
    else:
        exercise = folder.around(args.dir) or folder.current()
    return folder, exercise, terminal.style_for(sys.stdout)


def _status(args: argparse.Namespace) -> None:
    folder, exercise, style = _opened(args)
    print(terminal.listing(folder, exercise, style))


def _show(args: argparse.Namespace) -> None:
    """Print a statement; given a name, this works outside an exercise folder too."""
    try:
        folder, exercise, style = _opened(args)
    except FileNotFoundError:
        if args.name is None:
            raise
        print(terminal.statement(find(args.name), terminal.style_for(sys.stdout)))
        return
    where = terminal.place(folder.file(exercise), None, style)
    print(f"{terminal.statement(exercise, style)}\n\nWrite it in {where}.")


def _edit(args: argparse.Namespace) -> int:
    folder, exercise, _ = _opened(args)
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        raise UsageError(f"neither VISUAL nor EDITOR is set; open {folder.file(exercise)} in your editor")
    try:
        command = [*shlex.split(editor), str(folder.file(exercise))]
    except ValueError as error:
        raise UsageError(f"the editor is {editor!r}, expected a command: {str(error).lower()}") from error
    return subprocess.call(command)


def _check(args: argparse.Namespace) -> int:
    folder, exercise, style = _opened(args)
    seeds = terminal.fresh_seeds() if args.seed is None else (args.seed,)
    if args.all:
        with Progress("exercises", len(folder.exercises)) as progress:
            return int(not terminal.check_all(folder, seeds, style, progress.step))
    moved = folder.chosen() != exercise and exercise.name not in folder.load().passed
    folder.choose(exercise)
    passed, said = terminal.check(folder, exercise, seeds, style)
    print(f"{said}\n\n{terminal.progress_bar(folder)}")
    following = folder.following(exercise)
    if passed and following and folder.around(args.dir):
        print(f"\n  cd {folder.file(following).parent}")
    if moved and not passed:
        print(f"The current exercise is now {exercise.name}.")
    return int(not passed)


def _hint(args: argparse.Namespace) -> None:
    folder, exercise, style = _opened(args)
    said = (terminal.hints_taken if args.all else terminal.hint)(folder, exercise, style)
    print(f"{style(exercise.name, 'bold')}  {exercise.title}\n\n{said}")


def _watch(args: argparse.Namespace) -> None:
    folder, exercise, style = _opened(args)
    if not sys.stdin.isatty():
        raise UsageError("watch needs a terminal; mabn-ref learn check needs none")
    folder.choose(exercise)
    with keys() as key:
        watch(folder, exercise, key, style)


def _reset(args: argparse.Namespace) -> None:
    folder, exercise, style = _opened(args)
    old = folder.reset(exercise)
    kept = f"; your file is kept as {old.name}" if old else ""
    print(f"{terminal.place(folder.file(exercise), None, style)} is back to the skeleton{kept}")


def _solution(args: argparse.Namespace) -> None:
    folder, exercise, style = _opened(args)
    exercise = exercise if args.name is not None or folder.around(args.dir) else folder.chosen()
    print(terminal.solution(folder, exercise, style))


_STUDENT = {
    "start": (_start, "make a working folder, or add what is missing in it"),
    "status": (_status, "list the exercises: which have passed, and which is current"),
    "show": (_show, "read the statement of an exercise"),
    "edit": (_edit, "open the file of an exercise in your editor, $VISUAL or $EDITOR"),
    "watch": (_watch, "check an exercise whenever it is saved"),
    "check": (_check, "check an exercise once; the exit code is 1 if it has not passed"),
    "hint": (_hint, "show the next of three hints"),
    "solution": (_solution, "show the model solution of an exercise that has passed"),
    "reset": (_reset, "start an exercise over; your file is kept as exercise.py.old"),
}
_TEACHER = {
    "grade": "grade a folder of submissions, each in a sandbox",
    "export": "write the exercises as notebooks",
    "lint": "check the course itself, after you add an exercise",
}
_TEXTS = {name: text for name, (_, text) in _STUDENT.items()} | _TEACHER
ACTIONS = tuple(_TEXTS)


def _table(names: Iterable[str]) -> str:
    return "\n".join(f"  {name:<10}{_TEXTS[name]}" for name in names)


_DESCRIPTION = f"""\
Exercises that check themselves, from the mean of a batch to MABN. Start with

  mabn-ref learn DIR

It makes a folder with a statement and a file to write for each exercise. Then,
in that folder:

{_table(_STUDENT)}

Without NAME, an action takes the exercise whose folder you are in; elsewhere,
the one you checked last or, once that has passed, the first open one.

For teachers:

{_table(_TEACHER)}

mabn-ref learn ACTION --help describes an action and its options.
"""


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

    def action(name: str, act: Callable[..., int | None], description: str) -> Any:
        added = actions.add_parser(name, description=description)
        added.set_defaults(act=act, run=run, parser=added, name=None)  # status takes no NAME
        return added

    for name, (act, text) in _STUDENT.items():
        added = action(name, act, f"{text[0].upper()}{text[1:]}.")
        if name == "start":
            add_place(added, "folder", "the working folder; created if it does not exist")
            continue
        add_place(added, "--dir", "the working folder (default: here)", Path())
        if name == "hint":
            added.add_argument("--all", action="store_true", help="show all hints taken so far, and no new one")
        which = added.add_mutually_exclusive_group() if name == "check" else added
        if name != "status":
            such = "an exercise, such as 02_bn_forward or 2 (default: the current one)"
            which.add_argument("name", nargs="?", metavar="NAME", help=such)
        if name == "check":
            which.add_argument("--all", action="store_true", help="check all exercises")
            add_number(added, "--seed", int, None, "seed of the test cases (default: fresh cases each time)")
    teach.add(action)

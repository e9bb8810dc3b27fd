"""``mabn-ref learn``: the exercises, for learners and for teachers."""

from __future__ import annotations

import argparse
import difflib
import hashlib
import os
import secrets
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import mabn_ref
from mabn_ref.cli.parser import UsageError, add_number, place, usage_errors
from mabn_ref.cli.progress import Progress
from mabn_ref.extras import require

__all__ = ["ACTIONS", "add", "run", "with_action"]

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
    _add_for_teachers(action)


def _add_for_teachers(action: Callable[..., Any]) -> None:
    """Add grade, export and lint with `action`, which takes a name, what to do, and a description."""
    grade = action(
        "grade",
        _grade,
        "Grade SUBMISSIONS/STUDENT/NN_name/exercise.py, or NN_name.py or NN_name.ipynb, of all students. Needs the "
        "extra run.",
    )
    grade.add_argument("folder", type=place, metavar="SUBMISSIONS", help="with a folder for each student")
    grade.add_argument(
        "--csv",
        type=place,
        nargs="?",
        const=Path("grades.csv"),
        metavar="FILE",
        help="write a table (grades.csv)",
    )
    grade.add_argument("--reports", type=place, metavar="DIR", help="write a report for each student")
    grade.add_argument("--only", nargs="+", type=_exercise, default=(), metavar="NAME", help="these exercises alone")
    seed = "of the hidden cases; the same seed gives the same grades (default: drawn now, and printed)"
    add_number(grade, "--seed", int, None, seed)
    add_number(grade, "--hidden", int, 1, "sets of hidden cases, beside the one that students may have seen")
    add_number(grade, "--jobs", int, None, "files side by side (default: one a core)", at_least=1)
    help = "run the files of students that you trust with your own files and network"
    grade.add_argument("--no-sandbox", action="store_true", help=help)
    export = action(
        "export",
        _export,
        "Write a notebook for each exercise: plain, for nbgrader (a graded cell for each part), or for Otter-Grader "
        "(with its test files).",
    )
    export.add_argument("folder", type=place, metavar="DIR")
    export.add_argument("--notebooks", action="store_true", required=True, help="the form, and so far the only one")
    export.add_argument(
        "--for", dest="kind", choices=("plain", "nbgrader", "otter"), default="plain", metavar="GRADER"
    )
    export.add_argument("--only", nargs="+", type=_exercise, default=(), metavar="NAME", help="these exercises alone")
    lint = action(
        "lint",
        _lint,
        "Check that every exercise has what it needs: its skeleton fails, its solution passes, and each mistake it "
        "knows is told its sentence. The exit code is 1 if something is wrong.",
    )
    lint.add_argument(
        "--course", type=place, metavar="DIR", help="a folder of exercises (default: the course itself)"
    )
    lint.add_argument(
        "--table", action="store_true", help="print what is said of each mistake that is made on purpose"
    )


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
    print(f"\n  cd {args.folder}\n  mabn-ref learn show\n  mabn-ref learn watch\n")
    print(f"show prints the statement of {folder.current().name}, watch checks its exercise.py whenever you save it.")
    return 0


def _opened(args: argparse.Namespace) -> tuple[Any, Any, Any]:
    """The folder, the exercise that is meant, and how to write."""
    from mabn_ref.learn.exercise import find
    from mabn_ref.learn.folder import Folder
    from mabn_ref.learn.terminal import style_for

    folder = Folder.find(args.dir)
    exercise = find(args.name, folder.exercises) if getattr(args, "name", None) is not None else folder.current()
    return folder, exercise, style_for(sys.stdout)


def _status(args: argparse.Namespace) -> int:
    from mabn_ref.learn.terminal import listing

    folder, exercise, style = _opened(args)
    print(listing(folder.exercises, folder.load(), exercise.name, style))
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
    folder, exercise, _ = _opened(args)
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        raise UsageError(f"neither VISUAL nor EDITOR is set; open {folder.file(exercise)} in your editor")
    return subprocess.call([*shlex.split(editor), str(folder.file(exercise))])


def _check(args: argparse.Namespace) -> int:
    from mabn_ref.learn.terminal import check, check_all, fresh_seeds, progress_bar

    folder, exercise, style = _opened(args)
    seeds = fresh_seeds() if args.seed is None else (args.seed,)
    if args.all:
        with Progress("exercises", len(folder.exercises)) as progress:
            return int(not check_all(folder, seeds, style, progress.step))
    moved = folder.chosen() != exercise
    folder.choose(exercise)
    passed, said = check(folder, exercise, seeds, style)
    print(f"{said}\n\n{progress_bar(folder)}")
    if moved and not passed:
        print(f"The current exercise is now {exercise.name}.")
    return int(not passed)


def _hint(args: argparse.Namespace) -> int:
    from mabn_ref.learn.terminal import hint, hints_taken

    folder, exercise, style = _opened(args)
    said = (hints_taken if args.all else hint)(folder, exercise, style)
    print(f"{style(exercise.name, 'bold')}  {exercise.title}\n\n{said}")
    return 0


def _watch(args: argparse.Namespace) -> int:
    from mabn_ref.learn.watch import keys, watch

    folder, exercise, style = _opened(args)
    if not sys.stdin.isatty():
        raise UsageError("watch needs a terminal; mabn-ref learn check looks once")
    folder.choose(exercise)
    with keys() as key:
        watch(folder, exercise, key, style)
    return 0


def _reset(args: argparse.Namespace) -> int:
    from mabn_ref.learn.terminal import place

    folder, exercise, style = _opened(args)
    old = folder.reset(exercise)
    kept = f"; yours is kept as {old.name}" if old else ""
    print(f"{place(folder.file(exercise), None, style)} is as it was at the beginning{kept}")
    return 0


def _solution(args: argparse.Namespace) -> int:
    from mabn_ref.learn.terminal import solution

    folder, exercise, style = _opened(args)
    exercise = exercise if args.name is not None else folder.chosen()
    shown = solution(folder, exercise, style)
    if shown is None:
        raise UsageError(f"{exercise.name} has not passed yet; mabn-ref learn hint {exercise.name} helps on")
    print(shown)
    return 0


def _exercise(name: str) -> str:
    """The whole name of an exercise."""
    from mabn_ref.learn.exercise import find

    try:
        return str(find(name).name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(error) from None


def _only(chosen: Sequence[str]) -> list[Any]:
    from mabn_ref.learn.exercise import course

    return [exercise for exercise in course() if not chosen or exercise.name in chosen]


def _grade(args: argparse.Namespace) -> int:
    from mabn_ref.learn import sandbox
    from mabn_ref.learn.grade import Grade, grade, hidden_seeds, left_out, shown, students, write_csv, write_reports
    from mabn_ref.train.workers import Workers

    tqdm = require("tqdm", "run").tqdm
    exercises = _only(args.only)
    everyone = students(args.folder)
    for name, reason in left_out(args.folder):
        print(f"not graded: {shown(name)} ({reason})", file=sys.stderr)
    command = [] if args.no_sandbox else sandbox.command()
    jobs = min(args.jobs or os.cpu_count() or 1, len(everyone) * len(exercises))
    seed = secrets.randbelow(10**9) if args.seed is None else args.seed
    before, there, last = _package_digest(), list[Grade](), time.monotonic()
    # What cannot be written is found out before anything is graded.
    if args.csv:
        write_csv(args.csv, [])
    if args.reports:
        args.reports.mkdir(parents=True, exist_ok=True)

    def keep(given: Grade) -> None:
        """Write the table as it grows: what ends this command takes no more than the last seconds' grades."""
        nonlocal last
        bar.update()
        there.append(given)
        if args.csv and time.monotonic() > last + 2:
            write_csv(args.csv, there)
            last = time.monotonic()

    total = len(everyone) * len(exercises)
    with tqdm(total=total, unit=" files", disable=None, dynamic_ncols=True) as bar, Workers(jobs) as workers:
        grades = grade(args.folder, exercises, hidden_seeds(seed, args.hidden), workers, keep, command)
    if _package_digest() != before:
        raise OSError("the files of mabn_ref changed while submissions ran: install it again, these grades are void")
    most = sum(len(exercise.parts) for exercise in exercises)
    wide = max(len(shown(student.name)) for student in everyone)
    for student in everyone:
        points = sum(given.points for given in grades if given.student == student.name)
        print(f"{shown(student.name):<{wide}}  {points:>4} of {most}")
    how = "without a sandbox" if args.no_sandbox else "in bubblewrap"
    print(f"Run {how}; hidden cases of --seed {seed}, --hidden {args.hidden}")
    if args.csv:
        write_csv(args.csv, grades)
        print(f"Written: {args.csv}")
    failed = []
    if args.reports:
        failed = write_reports(
            args.reports, grades, f"Hidden cases: seed {seed}, {args.hidden} of them. Run {how}.\n"
        )
        print(f"Written: {len(everyone) - len(failed)} reports in {args.reports}")
    for error in failed:
        print(f"mabn-ref learn: error: {error}", file=sys.stderr)
    return 1 if failed else 0


def _package_digest() -> str:
    """A digest of the package's files, which judge and hold the solutions."""
    digest = hashlib.sha256()
    for path in sorted(Path(mabn_ref.__file__).parent.rglob("*")):
        if path.suffix in (".py", ".toml", ".md"):
            digest.update(f"{path}\0".encode() + path.read_bytes())
    return digest.hexdigest()


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
    if not course(folder):
        raise UsageError(f"argument --course: {folder} has no exercises")
    for exercise in course(folder) if args.table else ():
        print(exercise.name)
        for name, _, report in confusion(exercise, [0]):
            print(f"  {name:<32} {', '.join(report.mistakes) or '-':<32} {' '.join(report.sentences)}")
    faults = 0
    with Progress("lint") as progress:
        for fault in lint_course(folder):
            progress.say(fault)
            faults += 1
    known = sum(len(exercise.mistakes) for exercise in course(folder))
    said = "nothing wrong" if not faults else f"{faults} thing{'' if faults == 1 else 's'} wrong"
    print(f"{len(course(folder))} exercises, {known} mistakes that they know: {said}")
    return int(faults > 0)

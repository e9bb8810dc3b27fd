"""``mabn-ref gradcheck``, ``mistakes``, ``check``, ``vectors``: check passes and layers against the equations."""

from __future__ import annotations

import argparse
import ast
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from mabn_ref import storage
from mabn_ref.cli.parser import UsageError, add_command, add_number, add_place, ending_in, name_from, usage_errors
from mabn_ref.cli.progress import Progress
from mabn_ref.mistakes.random_inputs import RIGHT_DRAWS
from mabn_ref.norms import NORMS

NAMES = tuple(module.__name__.rpartition(".")[2] for module in RIGHT_DRAWS if hasattr(module, "backward"))
CHECKED = tuple(name for name in NORMS if name != "sync-bn")  # which in one process is "bn"
VECTORS = ("bn", "brn", "modified-bn", "mabn")
"""The normalisers with test vectors. `mabn_ref.check.vectors` has the list too, but is slow to import."""

_GRADCHECK = """\
Check the backward pass of every normaliser and layer on random inputs: by central differences, by the complex step
where forward is analytic, and in 50-digit arithmetic. Errors are relative to the largest derivative; the column
"Taylor" is the first-order part of the remainder, "exact" if all of it is rounding. The exit code is 1 if a gradient
is wrong.
"""
_MISTAKES = """\
Test the package's own checks, called oracles: they must reject every wrong pass of the catalogue of mistakes and
accept every right pass. The exit code is 1 if a pass is misjudged.
"""
_CHECK = """\
Run a layer of any framework through training steps and inference, compare everything it returns and keeps with the
equations, and say in words what it does differently: a convention, or a mistake. The exit code is 1 if the layer does
not conform.
"""
_VECTORS = """\
Write test vectors for languages and frameworks that cannot call Python: the calls that `mabn-ref check` makes to
a layer, in sequences, with the right outputs, gradients and moving statistics. Each sequence is a .npz file, and
vectors.json describes them all. The numbers come from 50-digit arithmetic and are the same on every machine.
"""


def add(commands: Any) -> None:
    """Add the four commands and their options."""
    parser = add_command(commands, "gradcheck", _gradcheck, "check every backward pass", _GRADCHECK)
    every = f"any of {', '.join(NAMES)}; default all"
    parser.add_argument("names", nargs="*", type=name_from("name", NAMES), metavar="NAME", help=every)
    add_number(parser, "--draws", int, 20, "random inputs for each pass", at_least=1)
    add_number(parser, "--seed", int, 0, "seed of the inputs")
    add_number(parser, "--jobs", int, None, "passes checked in parallel (default: one per core)", at_least=1)

    parser = add_command(commands, "mistakes", _mistakes, "test that the checks reject wrong passes", _MISTAKES)
    add_number(parser, "--draws", int, 200, "inputs for each wrong pass", at_least=1)
    add_number(parser, "--seeds", int, 1000, "inputs for each right pass", at_least=1)
    add_number(parser, "--jobs", int, None, "passes judged in parallel (default: one per core)", at_least=1)

    parser = add_command(commands, "check", _check, "check your own layer against the equations", _CHECK)
    path = "the layer, as MODULE:NAME or FILE:NAME, such as my_package.norms:MyMABN2d or norms.py:MyMABN2d; the "
    path += "current directory is searched first"
    parser.add_argument("target", nargs="?", metavar="TARGET", help=path)
    norm, names = name_from("norm", CHECKED), f"the normaliser that the layer implements: {', '.join(CHECKED)}"
    parser.add_argument("--as", dest="norm", type=norm, metavar="NORM", help=names)
    samples = "samples that share statistics, or the samples in a call where none do (default: several numbers)"
    add_number(parser, "--norm-batch", int, None, samples, at_least=1)
    add_number(parser, "--groups", int, 1, "normalisation batches per call (not channel groups)", at_least=1)
    extra: dict[str, Any] = {"type": _keyword, "action": "append", "default": [], "metavar": "NAME=VALUE"}
    parser.add_argument(
        "--with", dest="extra", **extra, help="a keyword for the layer's constructor; may be repeated"
    )
    parser.add_argument(
        "--call",
        **extra,
        help="a keyword for every call; NAME=training is True in training, NAME=inference at inference",
    )
    axis = "the channel axis of a PyTorch or NumPy layer (default: 1 or -1, whichever runs)"
    parser.add_argument("--axis", type=int, metavar="AXIS", help=axis)
    template = "only write FILE.py, with four functions to fill in for a library that the check does not know"
    parser.add_argument("--template", type=ending_in(".py"), metavar="FILE.py", help=template)
    parser.add_argument("--short", action="store_true", help="run fewer scenarios, for continuous integration")
    limit = "time for each scenario; importing the layer gets a minute more"
    add_number(parser, "--time-limit", float, 20, limit, at_least=0.1, metavar="SECONDS")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")

    parser = add_command(commands, "vectors", _vectors, "write test vectors for other languages", _VECTORS)
    add_place(parser, "folder", "write to DIR; created if it does not exist")
    norm, names = name_from("norm", VECTORS), f"any of {', '.join(VECTORS)}; default all"
    parser.add_argument("--norms", nargs="+", type=norm, default=VECTORS, metavar="NORM", help=names)
    parser.add_argument("--small", action="store_true", help="write the small set that comes with the package")


@contextlib.contextmanager
def _in_parallel(args: argparse.Namespace, tasks: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """Yield a `map` over as many processes as asked for, at most one per task; for one, yield the built-in `map`."""
    from mabn_ref.train.workers import Workers

    jobs = min(args.jobs or os.cpu_count() or 1, tasks)
    if jobs == 1:
        yield map
    else:
        with Workers(jobs) as workers:
            yield workers.map


def _gradcheck(args: argparse.Namespace) -> int:
    """Print a line for each input of each pass, then the details of each wrong gradient."""
    from mabn_ref.mistakes.gradient_table import FORMAT, HEADER, check_all, equation

    wrong, names = [], args.names or NAMES
    with Progress("gradcheck", len(names)) as progress, _in_parallel(args, len(names)) as run:
        progress.say(FORMAT.format(*HEADER))
        of_names = run(partial(check_all, draws=args.draws, seed=args.seed), names)
        for name, lines in zip(names, of_names, strict=True):
            progress.say(f"{name}: {equation(name)}")
            for line in lines:
                progress.say(FORMAT.format(line.name, *line.errors, line.verdict))
                wrong += [] if line.failure is None else [line.failure]
            progress.step()
    for failure in wrong:
        print(f"\n{failure}")
    drawn = f"{args.draws} draw{'' if args.draws == 1 else 's'}"
    print(f"\n{'all gradients are right' if not wrong else f'wrong: {len(wrong)}'}; {drawn} of each")
    return int(bool(wrong))


def _mistakes(args: argparse.Namespace) -> int:
    from mabn_ref.mistakes import tally

    with Progress("mistakes", tally.passes()) as progress, _in_parallel(args, tally.passes()) as run:
        judged = tally.judge(args.draws, args.seeds, progress.step, run)
    print(tally.summary(judged))
    return int(any(t.misjudged for t in judged))


def _keyword(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r}, expected NAME=VALUE")
    try:
        return name, ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return name, value


def _check(args: argparse.Namespace) -> int:
    if args.template is not None:
        if args.target is not None:
            args.parser.error(
                f"argument TARGET: {args.target!r} is not allowed with --template, which checks nothing"
            )
        return _template(args.template)
    missing = [name for name, value in (("TARGET", args.target), ("--as", args.norm)) if value is None]
    if missing:
        args.parser.error(f"the following arguments are required: {', '.join(missing)}")
    from mabn_ref.check import check

    progress = None if args.json or not sys.stderr.isatty() else _progress
    options = {name: getattr(args, name) for name in ("norm_batch", "groups", "short", "time_limit")}
    with usage_errors():
        try:
            more = {"extra": dict(args.extra), "axis": args.axis, "call": dict(args.call), "progress": progress}
            report = check(args.target, args.norm, **options, **more)
        except TypeError as error:
            raise UsageError(error) from error
        finally:
            if progress:
                progress("")
    print(json.dumps(report.to_dict(), indent=1) if args.json else report)
    return int(not report.conforms)


def _progress(scenario: str) -> None:
    """Show the running scenario, on a line that the next one overwrites."""
    print(f"\r{scenario:<40}\r", end="", file=sys.stderr, flush=True)


def _template(path: Path) -> int:
    from mabn_ref.check import template

    with usage_errors():
        if path.exists():
            raise UsageError(f"argument --template: {str(path)!r} exists, expected the name of a new file")
        storage.write(path, Path(template.__file__).read_bytes())
    print(f"{path}: fill in the four functions, then run mabn-ref check {path} --as NORM")
    return 0


def _vectors(args: argparse.Namespace) -> None:
    """Print a line for each file as it is written."""
    from mabn_ref.check.vectors import full_set, small_set, write

    chosen = (small_set if args.small else full_set)(args.norms)
    with Progress("vectors", len(chosen) + 1) as progress:
        for path, size in write(args.folder, chosen):
            progress.step(f"{path}  {size / 1000:,.0f} kB")

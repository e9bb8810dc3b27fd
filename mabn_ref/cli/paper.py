"""``mabn-ref paper``: the paper's tables, figures and theorems in miniature."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import textwrap
from pathlib import Path
from typing import Any

from mabn_ref.cli.options import (
    add_run_options,
    count,
    data_title,
    failures,
    require_images,
    require_run_extra,
    settings,
)
from mabn_ref.cli.parser import add_number, name_from, usage_errors

__all__ = ["NAMES", "add", "run"]

NAMES = (
    "search",
    "table1",
    "figure1b",
    "table2",
    "table4",
    "credit",
    "window",
    "related",
    "figures",
    "theorem1",
    "theorem2",
    "weight_noise",
    "equation6",
    "table8",
    "table9",
)
"""The studies; `mabn_ref.paper.studies.STUDIES` holds what they are, and is imported when one is run."""

_WIDTH = 110
_DESCRIPTION = """\
Reproduce a table, figure or theorem of the paper in miniature: print it beside the paper's own numbers, with 95 %
intervals of paired differences and verdicts, and write DIR/NAME.json, .png and .svg. "all" runs all of them and
writes DIR/report.html, one page. Every run is a line of a file in DIR and is not run again, so that what was
interrupted goes on, and studies share the runs they have in common.
"""
_EPILOG = """\
table1, table2, table4, figure1b, window: errors of many runs. credit: what each part of MABN does to the gap between
small and large batches. search: as many settings for every method. related: the methods of the paper's section 2.
figures: Figures 2, 3 and 4, batch statistics in training. table8: a class for every pixel, with weights updated after
two images (5 seeds).
weight_noise: what reaches the weights of the noise that theorem2 is about.
equation6: statistics of the whole training set. table9: time, memory and operations, with Figure 1(a).
"""


def add(commands: Any) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "paper", help="the paper's tables, figures and theorems", description=_DESCRIPTION, epilog=_EPILOG
    )
    parser.add_argument(
        "name", type=name_from("study", (*NAMES, "all")), metavar="NAME", help=f"{', '.join(NAMES)}, or all"
    )
    add_number(parser, "--seeds", int, None, "seeds 0 to N - 1 (default: 3; theorems 1; table8 5)", at_least=1)
    where = parser.add_mutually_exclusive_group()
    add_number(where, "--jobs", int, None, "runs side by side (default: one a core)", at_least=1)
    where.add_argument("--dask", metavar="ADDRESS", help="run on a Dask cluster, tcp://HOST:PORT (extra dask)")
    parser.add_argument(
        "--layer",
        type=name_from("layer", [f"norm{n}" for n in range(1, 8)]),
        default="norm4",
        metavar="NAME",
        help="layer of figures, norm1 to norm7; default %(default)s",
    )
    add_run_options(parser)
    parser.add_argument("--out", type=Path, default=Path("paper"), metavar="DIR", help="default %(default)s")
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Run one study or all of them."""
    from mabn_ref.paper import report, runner
    from mabn_ref.paper.studies import STUDIES
    from mabn_ref.paper.study import Context, Outcome, Study
    from mabn_ref.train import atomic, devices, results

    require_run_extra()
    devices.library(args.device)
    with usage_errors():
        shared = settings(args)
    names = NAMES if args.name == "all" else (args.name,)
    failed, found = list[Exception](), dict[str, tuple[Study, Outcome]]()
    command = f"mabn-ref {shlex.join(_retyped(sys.argv[1:]))}"
    contexts = dict[str, Context]()
    for name in names:
        seeds = tuple(range(args.seeds or STUDIES[name].seeds))
        contexts[name] = STUDIES[name].suited(Context(seeds, shared, args.layer))
    with usage_errors():
        planned = [config for name in names for config in STUDIES[name].plan(contexts[name], [])]
    # Those from files are the same images in all runs; the others are generated and need no look.
    for config in [config for config in planned if config.data != "embedded"][:1]:
        require_images(config)
    for name, context in contexts.items():
        study = STUDIES[name]
        failed += _run(name, args, context)
        with usage_errors():
            outcome = study.outcome(context, results.read(args.out / study.file))
        _show(study, outcome, context)
        paths = runner.write(name, study, outcome, context, args.out, command)
        print(f"Written: {', '.join(map(str, paths))}\n")
        found[name] = (study, outcome)
    if args.name == "all":
        path = args.out / "report.html"
        html = report.page(found, f"{_about(shared)}; {_versions()}; {command}").encode()
        atomic.write(path, lambda file: file.write(html))
        print(f"Written: {path}")
    if failed:
        print(f"mabn-ref paper: error: {failures(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _retyped(words: list[str]) -> list[str]:
    """The words of the command without where it ran and where to: what someone else would type for its numbers."""
    kept: list[str] = []
    value_follows = False
    for word in words:
        option, _, value = word.partition("=")
        if option in ("--out", "--jobs", "--dask"):
            value_follows = not value
        elif value_follows:
            value_follows = False
        else:
            kept.append(word)
    return kept


def _run(name: str, args: argparse.Namespace, context: Any) -> list[Exception]:
    """Run what is missing of a study, with one bar over all runs; return why some failed."""
    from mabn_ref.paper import runner
    from mabn_ref.paper.executors import executor
    from mabn_ref.paper.studies import STUDIES
    from mabn_ref.train import sweeps
    from mabn_ref.train.config import label
    from mabn_ref.train.progress import Bar

    study, jobs, failed = STUDIES[name], args.jobs or os.cpu_count() or 1, list[Exception]()
    with usage_errors():
        runner.missing(study, context, args.out)
    try:
        for configs in runner.phases(study, context, args.out):
            path = args.out / study.file
            print(f"{name}: {count(len(configs), 'run')} to do in {path}", file=sys.stderr)
            with (
                Bar(runs=len(configs)) as bar,
                executor(min(jobs, len(configs)), args.dask, bar.report) as pool,
            ):
                for config, record in sweeps.sweep(configs, pool, path, args.device, study.task):
                    failed += [record] if isinstance(record, Exception) else []
                    bar.end(config, f"{name}, {label(config)}, seed {config.seed}{_ended(record)}")
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"the same command goes on with the runs that {args.out} lacks") from None
    return failed


def _ended(record: dict[str, Any] | Exception) -> str:
    if isinstance(record, Exception):
        return f" failed: {type(record).__name__}: {record}"
    if record["status"] == "diverged":
        return f" diverged: {record['message']}"
    return f": test error {record['epochs'][-1]['test_error']:.2f} %, {record['seconds']:.0f} s"


def _show(study: Any, outcome: Any, context: Any) -> None:
    print(study.title)
    if study.plan(context, []):  # what simulates or measures has no images
        print(f"{_about(context.settings)}, {count(len(context.seeds), 'seed')}")
    print()
    for table in outcome.tables:
        print(f"{table}\n")
    for line in outcome.verdicts:
        print(textwrap.fill(line, _WIDTH, initial_indent="- ", subsequent_indent="  "))
    paired = any("±" in line for line in outcome.verdicts)
    print("\n±: 95 % t interval over the seeds; differences are paired by seed.\n" if paired else "")
    for note in outcome.notes:
        print(textwrap.fill(note, _WIDTH))


def _versions() -> str:
    import platform

    import numpy

    from mabn_ref import __version__

    machine = f"{platform.platform()}, {count(os.cpu_count() or 1, 'core')}"
    return f"mabn_ref {__version__}, NumPy {numpy.__version__}, Python {platform.python_version()}, {machine}"


def _about(shared: Any) -> str:
    from mabn_ref.train import datasets
    from mabn_ref.train.config import RunConfig

    config = RunConfig(**shared)
    with usage_errors():
        images = len(datasets.load(config).train.labels)
    return f"{data_title(config, images)}, {count(config.epochs, 'epoch')}"

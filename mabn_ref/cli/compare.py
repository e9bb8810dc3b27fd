"""``mabn-ref compare``: the same network and images, one row a normaliser, several seeds, side by side."""

from __future__ import annotations

import argparse
import os
import sys
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
from mabn_ref.cli.parser import add_number, name_from, number, usage_errors
from mabn_ref.train.config import RunConfig, label
from mabn_ref.train.rows import DEFAULT_ROWS, ROWS, plan

__all__ = ["add", "run"]

_DESCRIPTION = """\
Train one network with several normalisers, over several seeds. All rows of a seed share images, initial weights
and batch order. Prints a table, and writes DIR/results.jsonl (a line a run) and DIR/curves.png. Runs that
DIR/results.jsonl holds already are not run again, so an interrupted comparison goes on where it was.
"""
_EPILOG = "Seconds only, for continuous integration: --epochs 1 --seeds 2 --width 4 --train-size 64 --test-size 20"


def add(commands: Any) -> None:
    """Add the command and its options."""
    parser = commands.add_parser("compare", help="compare normalisers", description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument(
        "--rows",
        nargs="+",
        type=name_from("row", ROWS),
        default=DEFAULT_ROWS,
        metavar="ROW",
        help=f"some of {', '.join(ROWS)}; default {' '.join(DEFAULT_ROWS)}",
    )
    parser.add_argument(
        "--mabn-window",
        nargs="+",
        type=number(int, 1),
        default=(),
        metavar="M",
        help="further rows: mabn-2 with moving averages over M normalisation batches (mabn-2 itself has M = 16)",
    )
    add_number(parser, "--seeds", int, 3, "seeds 0 to N - 1", at_least=1)
    add_number(parser, "--jobs", int, None, "runs side by side (default: one a core)", at_least=1)
    add_run_options(parser)
    output = parser.add_argument_group("output")
    output.add_argument("--out", type=Path, default=Path("results"), metavar="DIR", help="default %(default)s")
    output.add_argument(
        "--fresh", action="store_true", help="start over, keeping DIR/results.jsonl as results.jsonl.old"
    )
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Run what is missing, then print the table and draw the curves."""
    from mabn_ref.train import devices, plots, results, sweeps, tables

    require_run_extra()
    devices.library(args.device)
    path = args.out / "results.jsonl"
    with usage_errors():
        configs = plan(args.rows, range(args.seeds), args.mabn_window, **settings(args))
        images = require_images(configs[0])
        if args.fresh and path.exists():
            path.replace(path.with_name(path.name + ".old"))
        missing = sweeps.missing(configs, path)
    if len(missing) < len(configs):
        print(
            f"{len(configs) - len(missing)} of {len(configs)} runs are in {path} already; --fresh runs them again",
            file=sys.stderr,
        )
    failed = _run(missing, path, args.jobs or os.cpu_count() or 1, args.device) if missing else []

    rows = tables.collect(configs, results.read(path))
    title = f"{data_title(configs[0], images)}, {count(configs[0].epochs, 'epoch')}, {count(args.seeds, 'seed')}"
    print(f"Test error in % on {title}\n\n{tables.table(rows)}\n")
    standardized = " WS: weight standardisation." if any(config.standardized for config in configs) else ""
    print(
        "±: 95 % t interval over the seeds; differences are paired by seed. WC: weight centralisation." + standardized
    )
    plots.learning_curves(args.out / "curves.png", rows, title[0].upper() + title[1:])
    print(f"Written: {path}, {args.out / 'curves.png'}")
    if failed:
        print(f"mabn-ref compare: error: {failures(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _run(configs: list[RunConfig], path: Path, jobs: int, device: str) -> list[Exception]:
    """Run `configs` in worker processes with one bar over all of them; return why some failed."""
    from mabn_ref.train import sweeps
    from mabn_ref.train.progress import Bar
    from mabn_ref.train.workers import Workers

    failed = list[Exception]()
    try:
        with Bar(runs=len(configs)) as bar, Workers(min(jobs, len(configs)), on_report=bar.report) as workers:
            for config, record in sweeps.sweep(configs, workers, path, device):
                name = f"{label(config)}, seed {config.seed}"
                if isinstance(record, Exception):
                    failed.append(record)
                    bar.end(config, f"{name} failed: {type(record).__name__}: {record}")
                elif record["status"] == "diverged":
                    bar.end(config, f"{name} diverged: {record['message']}")
                else:
                    error = record["epochs"][-1]["test_error"]
                    bar.end(config, f"{name}: test error {error:.2f} %, {record['seconds']:.0f} s")
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"the same command goes on with the runs that {path} lacks") from None
    return failed

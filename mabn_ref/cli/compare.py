"""``mabn-ref compare``: train one network with several normalisers, a row for each, and several seeds."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mabn_ref import storage
from mabn_ref.cli import options
from mabn_ref.cli.parser import add_command, add_number, add_place, name_from, number, usage_errors
from mabn_ref.train.comparison import DEFAULT_ROWS, ROWS, collect, learning_curves, plan, sketch, table
from mabn_ref.train.config import RunConfig
from mabn_ref.train.table_layout import FEWEST, WIDTH

if TYPE_CHECKING:
    from mabn_ref.train import datasets

_DESCRIPTION = """\
Train one small network with several normalisers and several seeds, and compare the test errors. All rows of a seed
share images, initial weights and batch order. The command prints a table and the learning curves, and writes
DIR/results.jsonl, one line per run, and DIR/curves.png. A run that is already in DIR/results.jsonl is not repeated,
so the same command resumes an interrupted comparison.
"""
_EPILOG = "For a comparison that takes seconds: --epochs 1 --seeds 2 --width 4 --train-size 64 --test-size 20"


def add(commands: Any) -> None:
    """Add the command and its options."""
    parser = add_command(commands, "compare", run, "compare normalisers", _DESCRIPTION, _EPILOG)
    rows = f"any of {', '.join(ROWS)}; default {' '.join(DEFAULT_ROWS)}"
    parser.add_argument(
        "--rows", nargs="+", type=name_from("row", ROWS), default=DEFAULT_ROWS, metavar="ROW", help=rows
    )
    rows = "add a row for each M: mabn-2 with moving averages over M normalisation batches (mabn-2 itself has M = 16)"
    parser.add_argument("--mabn-window", nargs="+", type=number(int, 1, 100_000), default=(), metavar="M", help=rows)
    options.add_devices(parser)
    add_number(parser, "--seeds", int, 3, "run seeds 0 to N - 1", at_least=1)
    add_number(parser, "--jobs", int, None, "runs in parallel (default: one per core)", at_least=1)
    options.add_run_options(parser)
    output = parser.add_argument_group("output")
    add_place(output, "--out", "write to DIR (default %(default)s)", Path("results"))
    fresh = "start over; the old results are kept in DIR/results.jsonl.old, the next time in .old2, and so on"
    output.add_argument("--fresh", action="store_true", help=fresh)


def run(args: argparse.Namespace) -> int:
    """Do the runs that are missing, then print the table and draw the curves."""
    options.require(args)
    with usage_errors():
        configs = plan(args.rows, range(args.seeds), args.mabn_window, **options.settings(args), devices=args.devices)
        images = options.require_images(configs[0])
    with options.lock(args.out / ".lock"):
        return _compare(args, configs, images)


def _compare(args: argparse.Namespace, configs: list[RunConfig], images: datasets.Images) -> int:
    from mabn_ref.train import results

    path = args.out / "results.jsonl"
    if args.fresh and path.exists() and path.stat().st_size:
        print(f"the old results are now {storage.put_aside(path)}", file=sys.stderr)
    records = options.recorded(path, configs, images.digest)
    missing = results.missing(configs, records)
    if len(missing) < len(configs):
        there = f"{len(configs) - len(missing)} of {len(configs)} runs are in {path} already"
        print(f"{there}; --fresh runs them again", file=sys.stderr)
    again = "the same command without --fresh" if args.fresh else "the same command"
    done = options.sweep(missing, args, path, digest=images.digest, again=again) if missing else []
    records += [record for record in done if not isinstance(record, Exception)]
    failed = [error for error in done if isinstance(error, Exception)]

    rows = collect(configs, records)
    data = options.data_title(configs[0], len(images.train.labels))
    title = f"{data}, {options.count(configs[0].epochs, 'epoch')}, {options.count(args.seeds, 'seed')}"
    print(f"Test error in % on {title}\n\n{table(rows)}\n")
    ended, files = any(row.curves for row in rows), [path]
    if ended:
        blocks = options.can_print("▁█")
        scale = "block height: 0 to the highest" if blocks else "digits: tens of per cent"
        print(f"Test error after each epoch ({scale}) and after the last:\n\n{sketch(rows, blocks=blocks)}\n")
        files.append(args.out / "curves.png")
        learning_curves(files[-1], rows, title[0].upper() + title[1:])
    print(textwrap.fill(_legend(configs, args.seeds), WIDTH))
    print(options.written(files))
    if not ended and not failed:
        print("mabn-ref compare: error: every run diverged; there is no curve to draw", file=sys.stderr)
        return 1
    return options.code_of(failed, "compare", again)


def _legend(configs: Sequence[RunConfig], seeds: int) -> str:
    """Explain the signs and letters in the table."""
    interval = (
        "±: 95 % t interval over the seeds; differences are paired by seed."
        if seeds >= FEWEST
        else f"Differences are paired by seed; fewer than {FEWEST} seeds give no interval."
    )
    standardized = " WS: weight standardisation." if any(config.standardized for config in configs) else ""
    return f"{interval} WC: weight centralisation.{standardized}"

"""``mabn-ref vectors``: the scenarios with their numbers, for other languages."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mabn_ref.cli.parser import name_from

__all__ = ["add", "run"]

NORMS = ("bn", "brn", "modified-bn", "mabn")
_DESCRIPTION = """\
Write the sequences of calls that `mabn-ref check` puts a layer through, with the outputs, gradients and moving
statistics that belong to them, for languages and frameworks that cannot call Python: a .npz file each, and
vectors.json, which describes them. The numbers are those of 50-digit arithmetic, the same on every machine.
"""


def add(commands: Any) -> None:
    """Add the command and its options."""
    parser = commands.add_parser("vectors", help="write test vectors for other languages", description=_DESCRIPTION)
    parser.add_argument("folder", type=Path, metavar="DIR", help="where to; made if it is not there")
    parser.add_argument(
        "--norms",
        nargs="+",
        type=name_from("norm", NORMS),
        default=NORMS,
        metavar="NORM",
        help=f"some of {', '.join(NORMS)}; default all",
    )
    parser.add_argument("--small", action="store_true", help="the small set, as it comes with the package")
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Print a line for each file as it is written."""
    from mabn_ref.check.vectors import full_set, small_set, write

    for path, size in write(args.folder, (small_set if args.small else full_set)(args.norms)):
        print(f"{path}  {size / 1000:,.0f} kB", flush=True)
    return 0

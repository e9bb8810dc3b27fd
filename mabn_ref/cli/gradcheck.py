"""``mabn-ref gradcheck``: every backward pass of the project against numerical derivatives."""

from __future__ import annotations

import argparse
from typing import Any

from mabn_ref.cli.parser import add_number, name_from
from mabn_ref.norms import NORMS

__all__ = ["NAMES", "add", "run"]

_EQUATIONS = {
    "batch_norm": "bn-backward (4)",
    "batch_renorm": "brn-backward, r and d held",
    "modified_batch_norm": "modified-backward (16)",
    "mabn": "mabn-backward (20), one call",
    "mabn_variants": "mabn-backward (20), one call",
    "group_norm": "gn-backward",
    "moving_statistics": "moving-backward, batch's",
    "eval_norm": "bn-backward (4), in training",
    "online_norm": "online-backward, first sample",
    "sync_batch_norm": "bn-backward (4), over ranks",
    "conv2d": "conv2d-backward",
    "centralize": "centralize-backward",
    "standardize": "standardize-backward",
    "linear": "linear-backward",
    "relu": "relu-backward",
    "global_average_pool": "global-average-pool-backward",
    "upsample": "upsample-backward",
    "softmax_cross_entropy": "softmax-cross-entropy-backward",
}
"""Of a module's backward pass, as the table has it."""

NAMES = tuple(dict.fromkeys([*(norm.module.__name__.rpartition(".")[2] for norm in NORMS.values()), *_EQUATIONS]))
"""What is checked: every normaliser, and every layer that has a backward pass."""

_DESCRIPTION = """\
Check the backward pass of every normaliser and layer on random draws: by central differences, by the complex step
where forward is analytic, and with numbers of 50 digits. Errors are relative to the largest derivative; Taylor is
what the remainder has of first order. The exit code is 1 if a gradient is wrong.
"""


def add(commands: Any) -> None:
    """Add the command and its options."""
    parser = commands.add_parser("gradcheck", help="check every backward pass", description=_DESCRIPTION)
    parser.add_argument(
        "names",
        nargs="*",
        type=name_from("name", NAMES),
        metavar="NAME",
        help=f"some of {', '.join(NAMES)}; default all",
    )
    add_number(parser, "--draws", int, 20, "random draws of each", at_least=1)
    add_number(parser, "--seed", int, 0, "of the draws")
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Print a line for each input of each pass, and what is known of each that is wrong."""
    from mabn_ref.mistakes.gradient_table import FORMAT, HEADER, check_all

    wrong = []
    print(FORMAT.format(*HEADER))
    for name in args.names or NAMES:
        for line in check_all(name, args.draws, args.seed):
            first = line.name == line.first
            print(
                FORMAT.format(name if first else "", _EQUATIONS.get(name, "") if first else "", *line.cells()),
                flush=True,
            )
            wrong += [] if line.failure is None else [line.failure]
    for failure in wrong:
        print(f"\n{failure}")
    print(f"\n{'all gradients are right' if not wrong else f'wrong: {len(wrong)}'}; {args.draws} draws of each")
    return int(bool(wrong))

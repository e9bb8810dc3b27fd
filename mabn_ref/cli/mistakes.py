"""``mabn-ref mistakes``: what the oracles say of every wrong pass of the catalogue, and of every right one."""

from __future__ import annotations

import argparse
from typing import Any

from mabn_ref.cli.parser import add_number

__all__ = ["add", "run"]


def add(commands: Any) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "mistakes",
        help="count the wrong passes that are rejected",
        description="Have the oracles judge every wrong pass of the catalogue, and every right pass. The exit code "
        "is 1 if one is misjudged.",
    )
    add_number(parser, "--draws", int, 200, "draws of each wrong pass", at_least=1)
    add_number(parser, "--seeds", int, 1000, "draws of each right pass", at_least=1)
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Count and print."""
    from mabn_ref.mistakes.tally import count

    return count(args.draws, args.seeds)

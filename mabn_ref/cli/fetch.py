"""``mabn-ref fetch``: download a data set into the cache."""

from __future__ import annotations

import argparse
from typing import Any

from mabn_ref.cli.parser import add_name, usage_errors

__all__ = ["add", "run"]


def add(commands: Any) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "fetch", help="download CIFAR-10 into the cache", description="Download a data set, once, and print its path."
    )
    add_name(parser, "name", "data set", ("cifar10",), "cifar10")
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Download, check the hash, print the path."""
    from mabn_ref.data.fetch import fetch_cifar10

    with usage_errors():
        print(fetch_cifar10())
    return 0

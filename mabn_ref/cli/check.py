"""``mabn-ref check``: somebody else's layer against the equations."""

from __future__ import annotations

import argparse
import ast
import json
from typing import Any

from mabn_ref.cli.parser import UsageError, add_number, name_from, usage_errors
from mabn_ref.norms import NORMS

__all__ = ["add", "run"]

_DESCRIPTION = """\
Run a layer of any framework over sequences of training steps and an inference, compare everything it returns and
keeps with the equations, and say in words what it does differently: a convention, or a mistake. The exit code is 1 if
it disagrees.
"""


def add(commands: Any) -> None:
    """Add the command and its options."""
    parser = commands.add_parser("check", help="check your own layer", description=_DESCRIPTION)
    parser.add_argument(
        "target",
        metavar="TARGET",
        help="a dotted path such as my_package.norms:MyMABN2d; the current directory is searched first",
    )
    parser.add_argument(
        "--as",
        dest="norm",
        type=name_from("norm", NORMS),
        required=True,
        metavar="NORM",
        help=f"what it is to be: {', '.join(NORMS)}",
    )
    add_number(
        parser,
        "--norm-batch",
        int,
        None,
        "samples that share statistics, or of a call where none do (default: several numbers)",
        at_least=1,
    )
    add_number(parser, "--groups", int, 1, "normalisation batches in every call, not groups of channels", at_least=1)
    parser.add_argument(
        "--with",
        dest="extra",
        type=_keyword,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a keyword for its constructor; may be repeated",
    )
    parser.add_argument("--short", action="store_true", help="a short set of scenarios, for continuous integration")
    add_number(parser, "--time-limit", float, 20, "for every scenario", metavar="SECONDS")
    parser.add_argument("--json", action="store_true", help="the report as JSON")
    parser.set_defaults(run=run, parser=parser)


def _keyword(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r}, expected NAME=VALUE")
    try:
        return name, ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return name, value


def run(args: argparse.Namespace) -> int:
    """Check and print the report."""
    from mabn_ref.check import check

    with usage_errors():
        try:
            report = check(
                args.target,
                args.norm,
                norm_batch=args.norm_batch,
                groups=args.groups,
                short=args.short,
                time_limit=args.time_limit,
                extra=dict(args.extra),
            )
        except TypeError as error:
            raise UsageError(error) from error
    print(json.dumps(report.to_dict(), indent=1) if args.json else report)
    return int(not report.conforms)

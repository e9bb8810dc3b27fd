"""The command line. Each file has a function `add`, which adds its commands, their options and what they run."""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys
from collections.abc import Sequence

from mabn_ref import __version__
from mabn_ref.cli.parser import Parser, UsageError, in_options
from mabn_ref.train.devices import DeviceError

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "compare": ("compare",),
    "paper": ("paper",),
    "train": ("train", "fetch", "export"),
    "checks": ("gradcheck", "mistakes", "check", "vectors"),
    "learn": ("learn",),
}
"""The commands of each file. Only the file of the given command is imported: importing all takes twice as long."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; ``sys.argv[1:]`` if None.

    Returns
    -------
    int
        0 if it worked; 1 if it failed; 2 if the arguments, or a file they name, are wrong; 130 if it was interrupted;
        141 if the reader of its output, such as ``head``, has closed the pipe.

    Examples
    --------
    >>> main(["--version"])  # doctest: +ELLIPSIS
    mabn-ref ...
    0
    """
    try:
        code = _run(argv)
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more when it exits
        if isinstance(error, BrokenPipeError):
            return 141
        print(f"mabn-ref: error: standard output: {error.strerror}", file=sys.stderr)
        return 1
    return code


def _run(argv: Sequence[str] | None) -> int:
    """Parse the arguments, run the command and print what went wrong."""
    parser = Parser(prog="mabn-ref", description="A NumPy reference for BN, BRN, modified BN and MABN.")
    parser.add_argument("--version", action="version", version=f"mabn-ref {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    argv = sys.argv[1:] if argv is None else argv
    name, args = "mabn-ref", argparse.Namespace(parser=None)
    try:
        for file in _needed(argv):
            command = importlib.import_module(f"mabn_ref.cli.{file}")
            command.add(commands)
            argv = command.with_action(argv) if file == "learn" else argv
        args = parser.parse_args(argv)
        name = f"mabn-ref {args.command}"
        return args.run(args) or 0
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    except UsageError as error:
        print(f"{name}: error: {in_options(str(error), args.parser)}", file=sys.stderr)
        return 2
    except (OSError, MemoryError, ImportError, DeviceError) as error:
        if isinstance(error, OSError) and error.errno in (errno.EPIPE, errno.ENOSPC) and error.filename is None:
            raise  # an error of standard output: a full disk elsewhere names its file
        print(f"{name}: error: {_told(error)}", file=sys.stderr)
        return 2 if isinstance(error, FileNotFoundError) else 1
    except RuntimeError as error:
        if not isinstance(error.__context__, OSError):
            raise
        # Before Python 3.13 pathlib turns the OSError of a link that leads to itself into a RuntimeError.
        print(f"{name}: error: {_told(error.__context__)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print(f"{name}: interrupted{''.join(f'; {note}' for note in stop.args)}", file=sys.stderr)
        return 130


def _needed(argv: Sequence[str]) -> list[str]:
    """Return the file of the given command; all files if it is missing or unknown, for a message that lists them."""
    return [file for file, names in COMMANDS.items() if argv and argv[0] in names] or list(COMMANDS)


def _told(error: Exception) -> str:
    if isinstance(error, FileExistsError):  # raised where a directory is made
        return f"{error.filename} is a file, expected a directory or the name of a new one"
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, MemoryError):
        return f"not enough memory{f': {error}' if error.args else ''}"
    return str(error)

"""``python -m mabn_ref``, the same as the command ``mabn-ref``."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Run the command; an interrupt while it is still being imported ends it like any other."""
    if None in (sys.stdout, sys.stderr):
        _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal without ± gets a question mark
    try:
        from mabn_ref.cli import main as run
    except KeyboardInterrupt:
        print("mabn-ref: interrupted", file=sys.stderr)
        return 130
    return run()


def _open_closed_streams() -> None:
    """Let what is printed go nowhere where whoever started this has closed it; Python has None there."""
    # Numbers 0 to 2 are taken first: a file that got one of them would be what a child process prints to.
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    nowhere = os.fdopen(number, "w", closefd=False)
    sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere


if __name__ == "__main__":
    sys.exit(main())

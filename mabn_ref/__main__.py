"""``python -m mabn_ref``, the same as the command ``mabn-ref``."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command; an interrupt while it is still being imported ends it like any other."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # a terminal that cannot show ± gets a question mark
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        from mabn_ref.cli import main as run
    except KeyboardInterrupt:
        print("mabn-ref: interrupted", file=sys.stderr)
        return 130
    return run()


if __name__ == "__main__":
    sys.exit(main())

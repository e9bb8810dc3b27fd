"""``python -m mabn_ref``, the same as the command ``mabn-ref``."""

from __future__ import annotations

import sys

from mabn_ref.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""``python -m mabn_ref.mistakes``: count what the oracles reject and accept."""

from __future__ import annotations

import sys

from mabn_ref.mistakes.count import main

if __name__ == "__main__":
    sys.exit(main())

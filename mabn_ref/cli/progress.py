"""The progress of a long command, shown on standard error if that is a terminal and tqdm is installed."""

from __future__ import annotations

import sys
import threading
from typing import Any

_COUNTED = "{desc} {n_fmt}/{total_fmt} |{bar:20}| {elapsed}, {remaining} left"
_TIMED = "{desc} {elapsed}"


class Progress:
    """A bar of the steps done out of `total`, or, without a total, the time since the start; cleared at the end.

    Examples
    --------
    >>> with Progress("squares", total=2) as progress:
    ...     for k in (2, 3):
    ...         progress.step(f"{k} squared is {k * k}")
    2 squared is 4
    3 squared is 9
    """

    def __init__(self, what: str, total: int | None = None) -> None:
        self._bar: Any = None
        self._ended = threading.Event()
        try:
            from tqdm import tqdm
        except ImportError:
            return
        form = _TIMED if total is None else _COUNTED
        self._bar = tqdm(desc=what, total=total, bar_format=form, leave=False, dynamic_ncols=True, disable=None)
        if not self._bar.disable:
            threading.Thread(target=self._tick, daemon=True).start()

    def step(self, line: str | None = None) -> None:
        """Count a step as done, and print a line above the bar."""
        if line is not None:
            self.say(line)
        if self._bar is not None:
            self._bar.update()

    def say(self, line: str) -> None:
        """Print a line above the bar, to standard output."""
        if self._bar is None:
            print(line)
        else:
            self._bar.write(line, file=sys.stdout)
        sys.stdout.flush()

    def _tick(self) -> None:
        while not self._ended.wait(1):
            self._bar.refresh()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        if self._bar is not None:
            self._bar.close()

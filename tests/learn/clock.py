"""A clock for the limits of a student's file: it jumps past them all once the file says that it hangs.

So no test waits for a limit, and none depends on how fast a machine is: the limit itself can be as long as is wanted.
"""

from __future__ import annotations

import time
from pathlib import Path

from tests.signals import HUNG


class Clock:
    """What `process` takes for the time, in place of the module `time`."""

    def __init__(self, marks: Path) -> None:
        self._marks = marks
        marks.touch()

    @property
    def hang(self) -> str:
        """A line for a student's file: it lets the clock jump, and never ends."""
        return f"open({str(self._marks)!r}, 'a').write('x'); __import__('time').sleep({HUNG})"

    @property
    def jumps(self) -> int:
        """How often it has jumped."""
        return self._marks.stat().st_size

    def jump(self) -> None:
        """Let the time of all be up that are waited for now."""
        with self._marks.open("a") as marks:
            marks.write("x")

    def monotonic(self) -> float:
        """Seconds."""
        return time.monotonic() + 2 * HUNG * self.jumps

"""Single keys from a terminal, without waiting for Enter."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["keys"]


@contextlib.contextmanager
def keys() -> Iterator[Callable[[float], str]]:
    """Give a function ``key(seconds)`` that waits so long for a key and returns it, or "" if none came.

    Raises
    ------
    OSError
        If standard input is no terminal.
    """
    if not sys.stdin.isatty():
        raise OSError("standard input is no terminal")
    if sys.platform == "win32":
        yield _on_windows
        return
    import select
    import termios
    import tty

    stream = sys.stdin.fileno()
    before: list[Any] = termios.tcgetattr(stream)
    try:
        tty.setcbreak(stream)  # Ctrl-C still interrupts

        def key(seconds: float) -> str:
            ready = select.select([stream], [], [], seconds)[0]
            return os.read(stream, 1).decode("ascii", errors="replace") if ready else ""

        yield key
    finally:
        termios.tcsetattr(stream, termios.TCSADRAIN, before)


def _on_windows(seconds: float) -> str:
    import msvcrt

    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if msvcrt.kbhit():  # type: ignore[attr-defined,unused-ignore]
            return str(msvcrt.getwch())  # type: ignore[attr-defined,unused-ignore]
        time.sleep(0.02)
    return ""

"""Check the current exercise whenever its file is saved; single keys do what a learner wants next."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mabn_ref.learn.exercise import Exercise
from mabn_ref.learn.folder import Folder
from mabn_ref.learn.terminal import Style, check, fresh_seeds, hint, listing, place, progress_bar, statement

_POLL = 0.25
_MENU = "s: statement   n: next   h: hint   l: list   r: reset   q: quit"


def _show(text: str) -> None:
    clear = "\x1b[2J\x1b[3J\x1b[H" if sys.stdout.isatty() else ""
    print(f"{clear}{text}", end="", flush=True)


def watch(
    folder: Folder,
    exercise: Exercise,
    key: Callable[[float], str],
    style: Style,
    show: Callable[[str], None] = _show,
) -> None:
    """Watch until q is pressed, beginning with an exercise.

    ``key(seconds)`` waits for a key and returns it, or "" if there is none. `show` shows a whole screen: by default
    on standard output, cleared first if it is a terminal.
    """
    while True:
        folder.choose(exercise)
        show(_frame(folder, exercise, f"  Checking {exercise.name} ...", style))
        seen = _stamp(folder.file(exercise))
        _, said = check(folder, exercise, fresh_seeds(), style)
        show(_frame(folder, exercise, said, style))
        while True:
            pressed = key(_POLL)
            if _stamp(folder.file(exercise)) != seen:
                break
            if pressed == "q":
                return
            if pressed == "n":
                if following := folder.following(exercise):
                    exercise = following
                    break
                show(_frame(folder, exercise, f"{said}\n\n  No other exercise is open.", style))
            elif pressed == "h":
                show(_frame(folder, exercise, f"{said}\n\n{hint(folder, exercise, style)}", style))
            elif pressed == "s":
                show(f"{statement(exercise, style)}\n\n{_MENU}\n")
            elif pressed == "l":
                show(f"{listing(folder, exercise, style)}\n\n{_MENU}\n")
            elif pressed == "r":
                show(_frame(folder, exercise, f"  Start {exercise.name} over? Your file is kept. y: yes", style))
                while not (answer := key(_POLL)):
                    pass
                if answer == "y":
                    folder.reset(exercise)
                break


def _frame(folder: Folder, exercise: Exercise, body: str, style: Style) -> str:
    """A screen: the text, the files of the exercise, the progress, and the keys."""
    path = folder.path / exercise.name
    where = f"  read {place(path / 'statement.md', None, style)}   edit {place(folder.file(exercise), None, style)}"
    return f"{body}\n\n{where}\n\n{progress_bar(folder)}\n{_MENU}\n"


def _stamp(path: Path) -> tuple[int, int] | None:
    """A value that changes when the file is saved, also by editors that replace the file."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_ino


@contextlib.contextmanager
def keys() -> Iterator[Callable[[float], str]]:
    """Give a function ``key(seconds)`` that waits that long for a key and returns it, or "" if none came.

    Raises
    ------
    OSError
        If standard input is not a terminal.
    """
    if not sys.stdin.isatty():
        raise OSError("standard input is not a terminal")
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

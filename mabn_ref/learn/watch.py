"""Check the current exercise whenever its file is saved, with a key each for what a learner wants next."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from mabn_ref.learn.exercise import Exercise
from mabn_ref.learn.folder import Folder
from mabn_ref.learn.screens import Style, listing, place
from mabn_ref.learn.session import check, fresh_seeds, hint, progress_bar

__all__ = ["watch"]

_POLL = 0.25
_MENU = "n: next   h: hint   l: list   r: reset   q: quit"


def watch(
    folder: Folder,
    exercise: Exercise,
    key: Callable[[float], str],
    style: Style,
    show: Callable[[str], None] | None = None,
) -> None:
    """Watch until q is pressed.

    Parameters
    ----------
    folder : Folder
    exercise : Exercise
        Where to begin.
    key : callable
        ``key(seconds)`` waits for a key, "" if there is none.
    style : Style
    show : callable, optional
        Shows a whole screen; by default on standard output, cleared first where it is a terminal.
    """
    show = _show if show is None else show
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
                following = folder.following(exercise)
                if following is not None:
                    exercise = following
                    break
            elif pressed == "h":
                show(_frame(folder, exercise, f"{said}\n\n{hint(folder, exercise, style)}", style))
            elif pressed == "l":
                show(listing(folder.exercises, folder.load(), exercise.name, style) + f"\n\n{_MENU}\n")
            elif pressed == "r":
                show(_frame(folder, exercise, f"  Start {exercise.name} over? Your file is kept. y: yes", style))
                if _answer(key) == "y":
                    folder.reset(exercise)
                break


def _answer(key: Callable[[float], str]) -> str:
    while not (pressed := key(_POLL)):
        pass
    return pressed


def _frame(folder: Folder, exercise: Exercise, body: str, style: Style) -> str:
    """A screen: what is worked on, what is said about it, how far one is, and the keys."""
    path = folder.path / exercise.name
    where = f"  read {place(path / 'statement.md', None, style)}   edit {place(folder.file(exercise), None, style)}"
    return f"{body}\n\n{where}\n\n{progress_bar(folder)}\n{_MENU}\n"


def _stamp(path: Path) -> tuple[int, int] | None:
    """Changes when the file is saved, by editors that write it anew as well."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_ino


def _show(text: str) -> None:
    clear = "\x1b[2J\x1b[3J\x1b[H" if sys.stdout.isatty() else ""
    print(f"{clear}{text}", end="", flush=True)

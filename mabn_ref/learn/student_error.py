"""What goes wrong in a student's file, said to the student in a line."""

from __future__ import annotations

import signal
from typing import Any


class StudentError(Exception):
    """Something in the student's code: the message is for the student."""

    def __init__(self, kind: str, message: str, trace: list[Any] | None = None) -> None:
        super().__init__(message[:3000])
        self.kind = kind
        """"todo", "raised", "syntax", "timeout", "not run", "died", "killed", "printed", "missing", "unsendable"."""
        self.trace = [(int(line), str(name)) for line, name in list(trace or [])[:12]]
        """Lines of the student's file that the error went through, outermost first, each with its function."""

    @property
    def line(self) -> int | None:
        """The line of the student's file where it happened, if it is one."""
        return self.trace[-1][0] if self.trace else None

    def excerpt(self, source: str) -> list[str]:
        r"""That line of the file, marked, with one before and after it.

        Examples
        --------
        >>> print(*StudentError("raised", "", [(2, "f")]).excerpt("a = 1\nb = c\n"), sep="\n")
             1 | a = 1
        >    2 | b = c
        """
        if self.line is None:
            return []
        code = source.splitlines()
        around = range(max(self.line - 1, 1), min(self.line + 1, len(code)) + 1)
        return [f"{'>' if k == self.line else ' '} {k:>4} | {code[k - 1]}" for k in around]


def error_of_message(name: str, message: dict[str, Any], megabytes: int) -> StudentError:
    """Say what the student's process tells of an error in the function `name`, or in the file where that is empty."""
    kind, text, trace = str(message["error"]), str(message.get("text", "")), message.get("trace", [])
    where = name or "the file"
    if kind == "NotImplementedError":
        return StudentError("todo", f"{where} is still to be written", trace)
    if kind == "SystemExit":
        said = f"{where} ends the program (exit); return a result instead"
    elif kind == "MemoryError":
        said = f"{where} needs more than {megabytes} MB of memory"
    elif kind in ("SyntaxError", "IndentationError", "TabError"):
        return StudentError("syntax", f"Python cannot read the file: {text}", trace)
    elif kind == "ModuleNotFoundError":
        said = f"{text}: NumPy and the standard library are all there is here"
    else:
        said = f"{where} raised {kind}: {text}" if text else f"{where} raised {kind}"
    return StudentError("raised", said, trace)


def error_of_exit(code: int) -> StudentError:
    """Say how a process ended that was to go on.

    Examples
    --------
    >>> print(error_of_exit(-11))
    its process crashed (SIGSEGV)
    """
    if code >= 0:
        return StudentError("died", f"its process ended by itself (exit code {code})")
    name = next((kind.name for kind in signal.Signals if kind == -code), f"signal {-code}")
    if name in ("SIGXCPU", "SIGKILL"):
        return StudentError("killed", f"its process was stopped ({name}): too much time or memory")
    return StudentError("died", f"its process crashed ({name})")

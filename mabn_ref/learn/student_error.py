"""What goes wrong in a student's file, as one line for the student."""

from __future__ import annotations

import inspect
import re
import signal
from collections.abc import Callable
from typing import Any

from mabn_ref.learn.result_form import described


class Malformed(Exception):
    """A student's value does not have the parts that were asked for; the message is for the student."""


class StudentError(Exception):
    """Something in the student's code: the message is for the student."""

    def __init__(self, kind: str, message: str, trace: list[Any] | None = None) -> None:
        super().__init__(message[:3000])
        self.kind = kind
        """One of todo, raised, syntax, timeout, not run, died, killed, printed, missing, unsendable, form."""
        self.trace = [(min(int(line), 10**6), str(name)[:100]) for line, name in list(trace or [])[:12]]
        """Lines of the student's file that the error went through, outermost first, each with its function."""

    @property
    def line(self) -> int | None:
        """The line of the student's file where it happened, if known."""
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
        code = lines_of(source)
        around = range(max(self.line - 1, 1), min(self.line + 1, len(code)) + 1)
        return [f"{'>' if k == self.line else ' '} {k:>4} | {code[k - 1]}" for k in around]


def lines_of(source: str) -> list[str]:
    r"""The lines of Python code, as Python counts them: a form feed, for example, ends no line.

    Examples
    --------
    >>> lines_of("a = 1\f\nb = 2\n")
    ['a = 1\x0c', 'b = 2']
    """
    return re.split(r"\r\n?|\n", source.removesuffix("\n"))


def error_of_message(name: str, message: dict[str, Any], megabytes: int) -> StudentError:
    """Describe an error that the student's process reports, in the function `name` or, if empty, in the file."""
    kind, text, trace = str(message["error"]), str(message.get("text", "")), message.get("trace", [])
    where = name or "the file"
    if kind == "NotImplementedError":
        return StudentError("todo", f"{where} is still to be written", trace)
    if kind == "SystemExit":
        said = f"{where} ends the program (exit); return a result instead"
    elif kind == "MemoryError":
        said = f"{where} needs more than {megabytes} MB of memory"
    elif kind == "Unreadable":
        return StudentError("syntax", f"Python cannot read the file: {text}", trace)
    elif kind == "ModuleNotFoundError":
        said = f"{text}: only NumPy and the standard library are available here"
    else:
        said = f"{where} raised {kind}: {text}" if text else f"{where} raised {kind}"
    return StudentError("raised", said, trace)


def unsendable(name: str, what: str) -> StudentError:
    """Say that the function `name` returned something that cannot be a result."""
    held = "alone or in tuples (NamedTuples too), lists or dicts"
    expected = f"expected numbers and arrays, of at most double precision, {held}"
    return StudentError("unsendable", f"{name} returned {what}; {expected}")


def handed(function: Callable[..., Any], args: Any, kwargs: Any, trace: list[Any] | None = None) -> Any:
    """Call a function that was handed to the student's code, as that code called it, from the lines of `trace`.

    A `Malformed` says what is wrong with an argument. Any other error would be about the inside of a function that
    the student did not write, so it is replaced.

    Examples
    --------
    >>> def f(x):
    ...     return x[0]
    >>> handed(f, [2], {"h": 1})
    Traceback (most recent call last):
    mabn_ref.learn.student_error.StudentError: your code calls f wrongly: got an unexpected keyword argument 'h'
    >>> handed(f, [2], {})
    Traceback (most recent call last):
    mabn_ref.learn.student_error.StudentError: your code calls f with arguments that it does not take: a number
    """
    name = function.__name__
    try:
        return function(*args, **kwargs)
    except Malformed as error:
        said = f"wrongly: {error}"
    except Exception:
        said = f"with arguments that it does not take: {', '.join(map(described, [*args, *kwargs.values()]))}"
        try:
            inspect.signature(function).bind(*args, **kwargs)
        except TypeError as error:
            said = f"wrongly: {error}"
    raise StudentError("raised", f"your code calls {name} {said}", trace)


def error_of_exit(code: int) -> StudentError:
    """Say how a process ended that should have gone on.

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

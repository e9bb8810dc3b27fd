"""A student's file in a process of its own: its functions can be called, and whatever goes wrong is one clear line.

Time, memory, printed output and the size of answers are limited; the process has NumPy and the standard library on
its path and nothing else. It is no sandbox: the code runs as the user who runs the check and may read that user's
files. Memory, files and CPU time are limited by the operating system where it can, which Windows cannot.
"""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np

from mabn_ref.learn import wire
from mabn_ref.learn.errors import StudentError, of_exit, of_message
from mabn_ref.learn.launch import Limits, kill, start

__all__ = ["Limits", "Student", "StudentError"]


_STARTING = 60.0
"""Seconds for Python and NumPy to start, on a slow and busy machine; no code of a student runs yet."""


class Student:
    """The functions of a student's file as attributes, each call made in the student's process.

    Arguments and results are arrays, numbers, words, and tuples, named tuples, lists and dicts of them; arguments may
    be functions, which the student's code then calls here.

    Parameters
    ----------
    source : str
        The student's file.
    filename : str
        Its name, for messages.
    limits : Limits, optional

    Examples
    --------
    >>> with Student("def double(x):\\n    return 2 * x\\n", "exercise.py") as student:
    ...     student.double(np.ones(2))
    array([2., 2.])
    """

    def __init__(self, source: str, filename: str, limits: Limits | None = None) -> None:
        limits = Limits() if limits is None else limits
        self.printed = ""
        """What the code printed."""
        self.changed: set[str] = set()
        """Functions that changed an array they were given."""
        self.replaced: set[str] = set()
        """Names of NumPy that the code put something else under."""
        self._filename, self._limits = filename, limits
        self._error: StudentError | None = None
        self._answers: queue.Queue[Any] = queue.Queue()
        self._left = _STARTING
        self._folder = tempfile.TemporaryDirectory(prefix="mabn-exercise-", ignore_cleanup_errors=True)
        self._process = start(limits, self._folder.name)
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._listen, self._collect)]
        for reader in self._readers:
            reader.start()
        try:
            self._receive("Python")
            self._left = limits.seconds
            self._send({"source": source, "filename": filename}, [])
            self._receive("")
        except StudentError:
            self.close()
            raise

    def __enter__(self) -> Student:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process and all that it started and that is still in its group."""
        kill(self._process)
        for reader, stream in zip(self._readers, (self._process.stdout, self._process.stderr), strict=True):
            reader.join(0.5)
            if stream is not None and not reader.is_alive():  # else a process that got away holds the other end
                stream.close()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        self._folder.cleanup()

    @property
    def ended(self) -> bool:
        """Whether the process is gone, or stopped because of what the code did."""
        return self._error is not None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._call(name, args, kwargs)

        return call

    def _call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        functions: list[Callable[..., Any]] = []
        tree, buffers = wire.encode([args, kwargs], np.ndarray, functions)
        self._send({"function": name, "content": tree}, buffers)
        message, buffers = self._receive(name, functions)
        self.changed |= {name} if message.get("changed") else set()
        self.replaced |= {str(key) for key in message.get("replaced", [])}
        return self._decoded(message, buffers)

    def _decoded(self, message: dict[str, Any], buffers: list[bytes]) -> Any:
        try:
            return wire.decode(message["content"], buffers, np, wire.plain_named, lambda k: None)
        except Exception:
            raise self._fail("died", "its process answered what no result looks like") from None

    def _send(self, message: dict[str, Any], buffers: list[bytes]) -> None:
        if self._error is not None:
            raise self._error
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it is gone, which the answer will say
            wire.write(self._process.stdin, message, buffers)  # type: ignore[arg-type]

    def _receive(
        self, name: str, functions: list[Callable[..., Any]] | None = None
    ) -> tuple[dict[str, Any], list[bytes]]:
        while True:
            answer = self._next(name)
            if isinstance(answer, StudentError):
                raise self._keep(answer)
            message, buffers = answer
            if "call" in message and functions is not None:
                self._called(message, buffers, functions)
            elif "missing" in message:
                raise StudentError("missing", f"there is no function {message['missing']} in the file")
            elif "unsendable" in message:
                expected = "expected arrays and numbers, alone or in tuples"
                raise StudentError("unsendable", f"{name} returned {message['unsendable']}; {expected}")
            elif "error" in message:
                error = of_message(name, message, self._limits.megabytes)
                raise error if name else self._keep(error)
            else:
                return message, buffers

    def _next(self, name: str) -> Any:
        """The next answer, unless time is up or the process has ended (its children may hold the line open)."""
        ends = time.monotonic() + self._left
        while True:
            ended = self._process.poll() is not None
            try:
                answer = self._answers.get(timeout=max(min(ends - time.monotonic(), 0.25), 0.0))
            except queue.Empty:
                if ended:
                    raise self._keep(self._ended()) from None
                if time.monotonic() >= ends:
                    raise self._fail("timeout", self._too_slow(name)) from None
            else:
                self._left = ends - time.monotonic()
                return answer

    def _called(self, message: dict[str, Any], buffers: list[bytes], functions: list[Callable[..., Any]]) -> None:
        """Answer a call of one of our functions."""
        k = message["call"]
        if not isinstance(k, int) or not 0 <= k < len(functions):
            raise self._fail("died", "its process answered what no result looks like")
        args, kwargs = self._decoded(message, buffers)
        try:
            result = functions[k](*args, **kwargs)
        except Exception as error:
            name = getattr(functions[k], "__name__", "the function")
            raise self._fail("raised", f"{name}, which your code called, raised: {error}") from None
        tree, out = wire.encode(result, np.ndarray)
        self._send({"content": tree}, out)

    def _too_slow(self, name: str) -> str:
        return f"{name or 'the file'} was stopped after {self._limits.seconds:g} s: is there a loop that never ends?"

    def _fail(self, kind: str, message: str) -> StudentError:
        return self._keep(StudentError(kind, message))

    def _keep(self, error: StudentError) -> StudentError:
        """Nothing more is asked of this process."""
        self._error = self._error or error
        kill(self._process)
        return self._error

    def _listen(self) -> None:
        """Put the answers into the queue. Runs in a thread, which ends with the process."""
        assert self._process.stdout is not None
        try:
            while True:
                self._answers.put(wire.read(self._process.stdout, self._limits.answer))  # type: ignore[arg-type]
        except ValueError as error:
            self._answers.put(StudentError("unsendable", f"it returned too much: {error}"))
        except Exception:
            self._answers.put(self._ended())

    def _ended(self) -> StudentError:
        if self._error is not None:
            return self._error
        try:
            return of_exit(self._process.wait(1.0))
        except subprocess.TimeoutExpired:
            return StudentError("died", "its process closed the line on which it is asked")

    def _collect(self) -> None:
        """Keep what is printed, up to the limit. Runs in a thread."""
        assert self._process.stderr is not None
        kept = b""
        with contextlib.suppress(OSError, ValueError):
            while len(kept) <= self._limits.printed:
                piece = os.read(self._process.stderr.fileno(), 65536)
                if not piece:
                    break
                kept += piece
        self.printed = kept[: self._limits.printed].decode("utf-8", errors="replace")
        if len(kept) > self._limits.printed:
            error = StudentError("printed", f"the code printed more than {self._limits.printed:,} characters")
            self._error = self._error or error
            self._answers.put(error)
            kill(self._process)

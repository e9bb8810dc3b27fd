"""A student's file in a process of its own: its functions can be called, and whatever goes wrong is one clear line.

Time, memory, printed output and the size of answers are limited; the process has NumPy and the standard library on
its path and nothing else. Without a `sandbox` the code runs as the user who runs the check and may read that user's
files. Memory, files and CPU time are limited by the operating system where it can, which Windows cannot.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import queue
import re
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from mabn_ref.learn import child
from mabn_ref.learn.sandbox import NOBODY, python
from mabn_ref.learn.student_error import StudentError, error_of_exit, error_of_message

_CALLS = 16
"""How many times `Limits.answer` the arguments may have of all functions that one call of the student's calls."""
_STARTING = 60.0
"""Seconds for Python and NumPy to start, on a slow and busy machine; no code of a student runs yet."""
_NO_RESULT = "its process answered what no result looks like"


class Limits(NamedTuple):
    """What one student's file may use while one exercise is checked."""

    seconds: float = 5.0
    """Time that its functions may take, all calls together."""
    megabytes: int = 512
    """Memory."""
    printed: int = 100_000
    """Characters on standard output and standard error."""
    answer: int = 1_000_000
    """Bytes of one result, and of the arguments of one function that is called here."""


class Student(contextlib.AbstractContextManager["Student"]):
    """The functions of a student's file as attributes, each call made in the student's process.

    Arguments and results are arrays, numbers, words, and tuples, named tuples, lists and dicts of them; arguments may
    be functions, which the student's code then calls here. `filename` is for messages. `sandbox` is what
    `sandbox.command` returns: the words before those of the process.

    Examples
    --------
    >>> with Student("def double(x):\\n    return 2 * x\\n", "exercise.py") as student:
    ...     student.double(np.ones(2))
    array([2., 2.])
    """

    def __init__(self, source: str, filename: str, limits: Limits | None = None, sandbox: Sequence[str] = ()) -> None:
        limits = Limits() if limits is None else limits
        self.printed = ""
        """What the code printed."""
        self.changed: set[str] = set()
        """Functions that changed an array they were given."""
        self.replaced: set[str] = set()
        """Names of NumPy that the code put something else under."""
        self._source, self._filename, self._limits, self._sandbox = source, filename, limits, tuple(sandbox)
        self._left = limits.seconds
        self._begin()

    def _begin(self) -> None:
        """Start a process and have it read the file, in what is left of the time."""
        left = self._left
        self._error: StudentError | None = None
        self._closed = False
        self._answers: queue.Queue[Any] = queue.Queue(maxsize=1)  # who answers unasked waits
        self._left = _STARTING
        self._folder = tempfile.TemporaryDirectory(prefix="mabn-exercise-", ignore_cleanup_errors=True)
        self._process = _start(self._limits, self._folder.name, self._sandbox)
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._listen, self._collect)]
        for reader in self._readers:
            reader.start()
        try:
            self._receive("Python")
            self._left = left
            self._send({"source": self._source, "filename": self._filename}, [])
            self._receive("")
        except BaseException:
            self.close()
            raise

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process and all that it started and that is still in its group."""
        self._closed = True
        _kill(self._process)
        for reader, stream in zip(self._readers, (self._process.stdout, self._process.stderr), strict=True):
            reader.join(0.5)
            if stream is not None and not reader.is_alive():  # else a process that got away holds the other end
                stream.close()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        self._folder.cleanup()

    def _anew(self) -> Student:
        """This file again, in a process that has seen none of the calls before."""
        self.close()
        self._begin()
        return self

    @property
    def ended(self) -> bool:
        """Whether the process is gone, or stopped because of what the code did."""
        return self._error is not None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        return functools.partial(self._call, name)

    def _call(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        functions: list[Callable[..., Any]] = []
        tree, buffers = child.encode([args, kwargs], np.ndarray, functions)
        self._send({"function": name, "content": tree}, buffers)
        message, buffers = self._receive(name, functions)
        self.changed |= {name} if message.get("changed") else set()
        self.replaced |= _names_of_numpy(message.get("replaced"))
        return self._decoded(message, buffers)

    def _decoded(self, message: dict[str, Any], buffers: list[bytes]) -> Any:
        started = time.monotonic()
        try:
            return child.decode(message["content"], buffers, np, child.plain_named, lambda k: None)
        except Exception:
            raise self._fail("died", _NO_RESULT) from None
        finally:
            self._left -= time.monotonic() - started

    def _send(self, message: dict[str, Any], buffers: list[bytes]) -> None:
        if self._error is not None:
            raise self._error
        assert self._process.stdin is not None
        started = time.monotonic()
        try:
            for piece in child.frame(message, buffers):
                _write(self._process.stdin.fileno(), piece, started + self._left)
        except TimeoutError:
            raise self._fail("timeout", self._too_slow(str(message.get("function", "")))) from None
        except OSError:  # it is gone, which the answer will say
            pass
        finally:
            self._left -= time.monotonic() - started

    def _receive(
        self, name: str, functions: list[Callable[..., Any]] | None = None
    ) -> tuple[dict[str, Any], list[bytes]]:
        bytes_left = _CALLS * self._limits.answer
        while True:
            answer = self._next(name)
            if isinstance(answer, StudentError):
                raise self._keep(answer)
            message, buffers, size = answer
            if "call" in message and functions is not None:
                bytes_left -= size
                if bytes_left < 0:
                    raise self._fail("died", f"{name} hands over too much to the functions that it calls")
                self._called(message, buffers, functions)
            elif "missing" in message:
                raise StudentError("missing", f"there is no function {name} in the file")
            elif "unsendable" in message:
                expected = "expected arrays and numbers, alone or in tuples"
                raise StudentError("unsendable", f"{name} returned {message['unsendable']}; {expected}")
            elif "error" in message:
                try:
                    error = error_of_message(name, message, self._limits.megabytes)
                except Exception:
                    raise self._fail("died", _NO_RESULT) from None
                raise error if name else self._keep(error)
            else:
                return message, buffers

    def _next(self, name: str) -> Any:
        """The next answer, unless time is up or the process has ended (its children may hold the line open)."""
        ends = time.monotonic() + self._left
        while True:
            ended = self._process.poll() is not None
            if time.monotonic() >= ends and not ended:
                raise self._fail("timeout", self._too_slow(name))
            try:
                answer = self._answers.get(timeout=max(min(ends - time.monotonic(), 0.25), 0.0))
            except queue.Empty:
                if ended:
                    raise self._keep(self._ended()) from None
            else:
                self._left = ends - time.monotonic()
                return answer

    def _called(self, message: dict[str, Any], buffers: list[bytes], functions: list[Callable[..., Any]]) -> None:
        """Answer a call of one of our functions."""
        k = message["call"]
        if not isinstance(k, int) or not 0 <= k < len(functions):
            raise self._fail("died", _NO_RESULT)
        content = self._decoded(message, buffers)
        started = time.monotonic()
        try:
            args, kwargs = content
            tree, out = child.encode(functions[k](*args, **kwargs), np.ndarray)
        except Exception as error:
            name = getattr(functions[k], "__name__", "the function")
            raise self._fail("raised", f"{name}, which your code called, raised: {error}") from None
        finally:
            self._left -= time.monotonic() - started
        self._send({"content": tree}, out)

    def _too_slow(self, name: str) -> str:
        return f"{name or 'the file'} was stopped after {self._limits.seconds:g} s: is there a loop that never ends?"

    def _fail(self, kind: str, message: str) -> StudentError:
        return self._keep(StudentError(kind, message))

    def _keep(self, error: StudentError) -> StudentError:
        """Nothing more is asked of this process."""
        self._error = self._error or error
        _kill(self._process)
        return self._error

    def _put(self, answer: Any) -> None:
        """Wait until the answer before this one has been taken, or until nothing is asked any more."""
        while not self._closed:
            with contextlib.suppress(queue.Full):
                self._answers.put(answer, timeout=0.1)
                return

    def _listen(self) -> None:
        """Put the answers into the queue. Runs in a thread, which ends with the process."""
        assert self._process.stdout is not None
        try:
            while True:
                self._put(_answer(self._process.stdout, self._limits.answer))  # type: ignore[arg-type]
        except ValueError as error:
            self._put(StudentError("unsendable", f"it returned too much: {error}"))
        except Exception:
            self._put(self._ended())

    def _ended(self) -> StudentError:
        if self._error is not None:
            return self._error
        try:
            code = self._process.wait(1.0)
            # bubblewrap says of a signal what a shell does
            return error_of_exit(128 - code if self._sandbox and code > 128 else code)
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
        self.printed += kept[: self._limits.printed].decode("utf-8", errors="replace")
        if len(kept) > self._limits.printed:
            self._put(self._fail("printed", f"the code printed more than {self._limits.printed:,} characters"))


def _answer(stream: BinaryIO, limit: int) -> tuple[dict[str, Any], list[bytes], int]:
    """A frame, and how much it takes here: the numbers, and objects that are larger than their description."""
    message, buffers = child.read_frame(stream, limit)
    return message, buffers, sum(map(len, buffers)) + 6 * len(json.dumps(message))


def _names_of_numpy(names: Any) -> set[str]:
    """Those words of a process's answer that can be names; it is the student's, and what it says is printed."""
    found = names[:3] if isinstance(names, list) else []
    return {name for name in found if isinstance(name, str) and re.fullmatch(r"numpy[A-Za-z0-9_.]{1,80}", name)}


def _write(file: int, data: bytes, until: float) -> None:
    """Write all of it, however slowly the other side reads, or raise a TimeoutError."""
    if sys.platform == "win32":  # pipes cannot be waited for there: the time limit starts with the answer
        os.write(file, data)
        return
    os.set_blocking(file, False)
    left = memoryview(data)
    while left:
        if not select.select([], [file], [], max(until - time.monotonic(), 0.0))[1]:
            raise TimeoutError
        with contextlib.suppress(BlockingIOError):
            left = left[os.write(file, left) :]


def _start(limits: Limits, folder: str, sandbox: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start Python on `child`, in `folder` or a sandbox and in a session of its own."""
    numpy_folder = Path(np.__file__).resolve().parents[1]
    seconds = math.ceil(2 * limits.seconds + 10)  # a backstop, should this process not get to stop it
    numbers = [str(n) for n in (limits.megabytes, seconds)]
    interpreter, place = sys.executable, Path(child.__file__).resolve()
    if sandbox:
        interpreter = python()
        numbers += [str(NOBODY)] if os.getuid() == 0 else []
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH") if name in os.environ}
    one = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return subprocess.Popen(
        # no site-packages, no environment, nothing written beside the sources
        [*sandbox, interpreter, "-I", "-S", "-B", "-X", "utf8", str(place), str(numpy_folder), *numbers],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=kept | one,
        start_new_session=True,
    )


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the process and all that it started and that is still in its group."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(OSError):
        process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)

"""A student's file in its own process: its functions can be called, and any error becomes one clear line.

Time, memory, printed output and the size of answers are limited; the process has NumPy and the standard library on
its path and nothing else. Without a `sandbox` the code runs as the user who runs the check and may read that user's
files. Memory, files and CPU time are limited by the operating system where it can, which Windows cannot.
"""

from __future__ import annotations

import contextlib
import copy
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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple

import numpy as np

from mabn_ref.learn import child
from mabn_ref.learn.sandbox import NOBODY, python, without_keys
from mabn_ref.learn.student_error import StudentError, error_of_exit, error_of_message, handed, unsendable

_CALLS = 16
"""All arguments that one call may pass to functions here, as a multiple of `Limits.answer`."""
_STARTING = 60.0
"""Seconds for Python and NumPy to start, on a slow and busy machine; no code of a student runs yet."""
_ARGUMENT, _OF_NUMPY = r"[A-Za-z_][A-Za-z0-9_]{,40}", r"numpy[A-Za-z0-9_.]{1,80}"
_NO_RESULT = "its process wrote something that is not a result"


class Limits(NamedTuple):
    """What one student's file may use while one exercise is checked."""

    seconds: float = 5.0  #: time that its functions may take, all calls together
    megabytes: int = 512  #: memory
    printed: int = 100_000  #: characters on standard output and standard error
    answer: int = 1_000_000  #: bytes of one result, and of the arguments of one function that is called here


@dataclass
class _Time:
    """What is left of the time of one file."""

    left: float


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
        self.changed: set[tuple[str, str]] = set()
        """Functions that changed an array they were given, each with the argument that holds it."""
        self.replaced: set[str] = set()
        """Names in NumPy that the code gave another value."""
        self._source, self._filename, self._limits, self._sandbox = source, filename, limits, tuple(sandbox)
        self._time = _Time(limits.seconds)
        self._other: Student | None = None
        self._begin()

    def _begin(self) -> None:
        """Start a process and have it read the file, in what is left of the time."""
        self._error: StudentError | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="mabn-exercise-", ignore_cleanup_errors=True)
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  closed by `close`
        self._process = _start(self._limits, self._folder.name, self._sandbox, self._output)
        self._wanted: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()
        try:
            self._ends = time.monotonic() + _STARTING
            self._receive("Python")
            with self._in_time():
                self._send({"source": self._source, "filename": self._filename}, [])
                self._receive("")
        except BaseException:
            self.close()
            raise

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process and everything that it started and that is still in its group."""
        if self._other is not None:
            self._other.close()
            self.printed, self._other = self.printed + self._other.printed, None
        _kill(self._process)
        self._wanted.put(False)
        self._reader.join(0.5)
        if self._process.stdout is not None and not self._reader.is_alive():
            self._process.stdout.close()  # otherwise an escaped process holds the other end
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        if not self._output.closed:
            self._output.seek(0)
            self.printed += self._output.read(self._limits.printed).decode("utf-8", errors="replace")
            self._output.close()
        self._folder.cleanup()

    def _apart(self) -> Student:
        """The same file in a second process, which sees none of the calls made in this one.

        Both share the time of one, and the same sets of notes about their calls.
        """
        if self._other is None:
            self._other = copy.copy(self)
            self._other.printed = ""
            self._other._begin()
        return self._other

    @property
    def _errors(self) -> list[StudentError]:
        """What ended the process, and the second one."""
        own = [] if self._error is None else [self._error]
        return own if self._other is None else own + self._other._errors

    @property
    def ended(self) -> bool:
        """Whether the process is gone, or stopped because of what the code did."""
        return bool(self._errors)

    @property
    def out_of_time(self) -> bool:
        """Whether it was stopped because its time was up."""
        return any(error.kind == "timeout" for error in self._errors)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        return functools.partial(self._call, name)

    @contextlib.contextmanager
    def _in_time(self) -> Iterator[None]:
        """Subtract the time that the block takes from the time that is left."""
        self._ends = time.monotonic() + self._time.left
        try:
            yield
        finally:
            self._time.left = self._ends - time.monotonic()

    def _call(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        functions: list[Callable[..., Any]] = []
        tree, buffers = child.encode([args, kwargs], functions)
        with self._in_time():
            self._send({"function": name, "content": tree}, buffers)
            message, buffers = self._receive(name, functions)
            self.changed |= {(name, argument) for argument in _names(message.get("changed"), _ARGUMENT)}
            self.replaced |= _names(message.get("replaced"), _OF_NUMPY) - {""}
            return self._decoded(message, buffers)

    def _decoded(self, message: dict[str, Any], buffers: list[bytes]) -> Any:
        try:
            return child.decode(message["content"], buffers, np, child.plain_named, lambda k: None)
        except Exception:
            raise self._fail("died", _NO_RESULT) from None

    def _send(self, message: dict[str, Any], buffers: list[bytes]) -> None:
        if self._error is not None:
            raise self._error
        assert self._process.stdin is not None
        try:
            _write(self._process.stdin.fileno(), b"".join(child.frame(message, buffers)), self._ends)
        except TimeoutError:
            raise self._fail("timeout", self._too_slow(str(message.get("function", "")))) from None
        except OSError:  # it is gone, which the answer will say
            pass

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
                    raise self._fail("died", f"{name} passes too much to the functions that it calls")
                try:
                    self._send(*_answered(message, self._decoded(message, buffers), functions))
                except StudentError as wrong:
                    raise self._keep(wrong) from None
            elif "missing" in message:
                raise StudentError("missing", f"there is no function {name} in the file")
            elif "unsendable" in message:
                raise unsendable(name, message["unsendable"])
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
        self._wanted.put(True)
        while True:
            ended, answer = self._process.poll() is not None, None
            if time.monotonic() >= self._ends and not ended:
                raise self._fail("timeout", self._too_slow(name))
            with contextlib.suppress(queue.Empty):
                answer = self._answers.get(timeout=max(min(self._ends - time.monotonic(), 0.25), 0.0))
            if os.fstat(self._output.fileno()).st_size > self._limits.printed:
                raise self._fail("printed", f"the code printed more than {self._limits.printed:,} characters")
            if answer is not None:
                return answer
            if ended:
                raise self._keep(self._ended())

    def _too_slow(self, name: str) -> str:
        return f"{name or 'the file'} was stopped after {self._limits.seconds:g} s: is there a loop that never ends?"

    def _fail(self, kind: str, message: str) -> StudentError:
        return self._keep(StudentError(kind, message))

    def _keep(self, error: StudentError) -> StudentError:
        """Nothing more is asked of this process."""
        self._error = self._error or error
        _kill(self._process)
        return self._error

    def _listen(self) -> None:
        """Put each wanted answer into the queue. Runs in a thread, which ends at the first error."""
        assert self._process.stdout is not None
        try:
            while self._wanted.get():
                self._answers.put(_answer(self._process.stdout, self._limits.answer))  # type: ignore[arg-type]
        except ValueError as error:
            self._answers.put(StudentError("unsendable", f"it returned too much: {error}"))
        except Exception:
            self._answers.put(self._ended())

    def _ended(self) -> StudentError:
        if self._error is not None:
            return self._error
        try:
            code = self._process.wait(1.0)
            # bubblewrap says of a signal what a shell does
            return error_of_exit(128 - code if self._sandbox and code > 128 else code)
        except subprocess.TimeoutExpired:
            return StudentError("died", "its process closed its connection to the check")


def _answer(stream: BinaryIO, limit: int) -> tuple[dict[str, Any], list[bytes], int]:
    """A frame, and how much it takes here: the numbers, and objects that are larger than their description."""
    message, buffers = child.read_frame(stream, limit)
    return message, buffers, sum(map(len, buffers)) + 6 * len(json.dumps(message))


def _answered(
    message: dict[str, Any], content: Any, functions: list[Callable[..., Any]]
) -> tuple[dict[str, Any], list[bytes]]:
    """The answer to a call of one of our functions by the student's code, which may have any form."""
    try:
        function, trace = functions[message["call"]], StudentError("", "", message["trace"]).trace
        args, kwargs = content
        kwargs = dict(kwargs)
    except Exception:
        raise StudentError("died", _NO_RESULT) from None
    tree, out = child.encode(handed(function, args, kwargs, trace))
    return {"content": tree}, out


def _names(names: Any, form: str) -> set[str]:
    """Words of a process's answer, "" for one of another form: the student's code may write anything there."""
    found = names[:3] if isinstance(names, list) else []
    return {name if isinstance(name, str) and re.fullmatch(form, name) else "" for name in found}


def _write(file: int, data: bytes, until: float) -> None:
    """Write all of it, however slowly the other side reads, or raise a TimeoutError."""
    if sys.platform == "win32":  # it cannot wait for pipes: the time limit starts with the answer
        os.write(file, data)
        return
    os.set_blocking(file, False)
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(file, left) :]
        except BlockingIOError:
            if not select.select([], [file], [], max(until - time.monotonic(), 0.0))[1]:
                raise TimeoutError from None


def _start(limits: Limits, folder: str, sandbox: Sequence[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start Python on `child`, in `folder` or a sandbox and in its own session; it prints to `output`."""
    numpy_folder = Path(np.__file__).resolve().parents[1]
    seconds = math.ceil(2 * limits.seconds + 10)  # a backstop, should this process not get to stop it
    numbers = [str(n) for n in (limits.megabytes, seconds)]
    interpreter, place = sys.executable, Path(child.__file__).resolve()
    if sandbox:
        interpreter = python()
        numbers += [str(NOBODY)] if os.getuid() == 0 else []
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH") if name in os.environ}
    one = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    with without_keys(sandbox) as (words, files):
        return subprocess.Popen(
            # no site-packages, no environment, nothing written beside the sources
            [*words, interpreter, "-I", "-S", "-B", "-X", "utf8", str(place), str(numpy_folder), *numbers],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            cwd=folder,
            env=kept | one,
            start_new_session=True,
            pass_fds=files,
        )


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the process and everything that it started and that is still in its group."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(OSError):
        process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)

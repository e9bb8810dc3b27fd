"""Processes that judge submissions, each asked for one file at a time, in frames of JSON and never in pickles.

Without a sandbox, a submission could get hold of the line on which its judge answers. What is written there is data
whose form and length are checked, and it counts only with the number drawn for this task.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import queue
import secrets
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from mabn_ref.learn.child import read_frame, write_frame
from mabn_ref.learn.exercise import find
from mabn_ref.learn.judge import check_source
from mabn_ref.learn.report import Part
from mabn_ref.learn.student_error import StudentError

_LONGEST = 1 << 20
"""Bytes of a question or of an answer."""
_WIDEST = 118
"""Characters of a line of a student's file in a report."""
_PATIENCE = 600.0
"""Seconds for one file and the cases of one seed; the file's own limits are far below that."""


class Stop(NamedTuple):
    """Where a student's file raised, hung or crashed."""

    message: str
    place: str = ""  #: the line of the file; "" where none is known
    lines: tuple[str, ...] = ()  #: that line and those around it


class Grade(NamedTuple):
    """The points of one student's file for one exercise, and why."""

    student: str
    exercise: str
    points: int
    of: int
    said: str  #: the first message, on one line; "" if all is right
    parts: tuple[Part, ...] = ()
    sentences: tuple[str, ...] = ()  #: sentences of the recognised mistakes, and what is wrong besides the numbers
    lacks: str = ""  #: what keeps the exercise from passing although it has all its points, if anything
    errors: tuple[Stop, ...] = ()  #: where the file raised, hung or crashed
    #: whether it was killed, or ran out of time on what may be a busy machine: it is run again, alone
    again: bool = False


def grade_one(
    student: str,
    name: str,
    filename: str,
    source: str,
    seeds: tuple[int, ...],
    sandbox: tuple[str, ...] = (),
    timeouts: int = 2,
) -> Grade:
    """Check one file. Runs in a worker process, and the file's code in another one below it."""
    report = check_source(find(name), source, filename, seeds, sandbox=sandbox, timeouts=timeouts)
    sentences = report.sentences if report.lacks else (*report.sentences, *report.notes)
    again = any(error.kind in ("killed", "timeout") for error in report.errors)
    return Grade(
        student,
        name,
        points=report.points,
        of=len(report.parts),
        said=report.summary,
        parts=report.parts,
        sentences=sentences,
        lacks=report.lacks,
        errors=tuple(_stop(error, filename, source) for error in report.errors if error.kind != "todo"),
        again=again,
    )


def _stop(error: StudentError, filename: str, source: str) -> Stop:
    """An error with its line, both cut to the length that a report may show."""
    place = ""
    if error.line is not None:
        in_notebook = f"{filename}, line {error.line} of its code"
        place = in_notebook if filename.endswith(".ipynb") else f"{filename}:{error.line}"
    return Stop(str(error), place, tuple(line.expandtabs(4)[:_WIDEST] for line in error.excerpt(source)))


class Judges(contextlib.AbstractContextManager["Judges"]):
    """`jobs` processes, each with one BLAS thread, and as many `threads` that look after them.

    Leaving the ``with`` block through an exception, KeyboardInterrupt included, kills them. Until then no other
    process of the same user may look into this one or into them, where the system is Linux and the user is not root.
    """

    def __init__(self, jobs: int) -> None:
        self.threads = ThreadPoolExecutor(jobs)
        # what a judge that is killed leaves in there goes with it
        self._folder = tempfile.TemporaryDirectory(prefix="mabn-grading-", ignore_cleanup_errors=True)
        self._idle: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
        self._alive: set[subprocess.Popen[bytes]] = set()
        _shut(True)

    def grade_one(
        self,
        student: str,
        name: str,
        filename: str,
        source: str,
        seeds: tuple[int, ...],
        sandbox: tuple[str, ...] = (),
        timeouts: int = 2,
    ) -> Grade:
        """Have a file checked, as the function `grade_one` does it. Runs in one of the threads.

        Raises
        ------
        RuntimeError
            If the process ended, was stopped, or sent an answer that no judge sends.
        """
        task = secrets.token_hex(16)
        asked: dict[str, Any] = {"task": task, "exercise": name, "filename": filename}
        asked |= {"seeds": seeds, "sandbox": sandbox, "timeouts": timeouts}
        judge = self._take()
        assert judge.stdin is not None
        assert judge.stdout is not None
        stop = threading.Timer(_PATIENCE * len(seeds), judge.kill)
        stop.start()
        try:
            write_frame(judge.stdin, asked, [source.encode()])  # type: ignore[arg-type]
            answer, _ = read_frame(judge.stdout, _LONGEST)  # type: ignore[arg-type]
            given = _grade_in(answer, task, student, name)
        except (EOFError, OSError) as error:
            judge.kill()
            raise RuntimeError(f"the process that judged it ended (exit code {judge.wait()})") from error
        except Exception:
            judge.kill()
            raise
        finally:
            stop.cancel()
        self._idle.put(judge)
        return given

    def _take(self) -> subprocess.Popen[bytes]:
        """An idle process, or a new one: there are as many threads as processes wanted."""
        with contextlib.suppress(queue.Empty):
            return self._idle.get_nowait()
        one = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        program = f"import sys, tempfile; sys.path[:] = {sys.path!r}; tempfile.tempdir = {self._folder.name!r}; "
        program += f"from {__name__} import _serve; _serve()"
        judge = subprocess.Popen(
            [sys.executable, "-P", "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | one,
            start_new_session=True,  # Ctrl-C is for this process alone
        )
        self._alive.add(judge)
        return judge

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        for judge in list(self._alive) if kind is not None else ():
            judge.kill()
        self.threads.shutdown(cancel_futures=kind is not None)
        for judge in self._alive:
            if kind is not None:
                judge.kill()
            with contextlib.suppress(OSError):
                judge.communicate()  # which closes the line on which it is asked, and so ends it
        self._folder.cleanup()
        _shut(False)


def _grade_in(answer: dict[str, Any], task: str, student: str, name: str) -> Grade:
    """The grade that a judge's answer holds, if it is the answer to this task.

    Raises
    ------
    ValueError
        If it is not, or if the judge could not judge.
    """
    if answer.get("task") != task:
        raise ValueError("its judge answered another question")
    if "error" in answer:
        raise ValueError(str(answer["error"])[:1000])
    parts = tuple(
        Part(str(part), ok is True, str(message), waits is True) for part, ok, message, waits in answer["parts"]
    )
    if tuple(part.name for part in parts) != find(name).parts:
        raise ValueError("its judge answered something that is not a grade")
    return Grade(
        student,
        name,
        points=sum(part.ok for part in parts),
        of=len(parts),
        said=str(answer["said"]),
        parts=parts,
        sentences=tuple(map(str, answer["sentences"])),
        lacks=str(answer["lacks"]),
        errors=tuple(
            Stop(str(message), str(place), tuple(map(str, lines))) for message, place, lines in answer["errors"]
        ),
        again=answer["again"] is True,
    )


def _serve() -> None:
    """Judge files until their stream ends. Runs in a process of `Judges`."""
    _shut(True)
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that is printed here is an answer
    with contextlib.suppress(EOFError, OSError):
        while True:
            asked, (source,) = read_frame(questions, _LONGEST)
            how = tuple(asked["seeds"]), tuple(asked["sandbox"]), asked["timeouts"]
            try:
                answer = grade_one("", asked["exercise"], asked["filename"], source.decode(), *how)._asdict()
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            write_frame(answers, {**answer, "task": asked["task"]}, [])


def _shut(shut: bool) -> None:
    """On Linux, close this process's memory and open files to the user's other processes, or open them again."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(4, 0 if shut else 1, 0, 0, 0)  # PR_SET_DUMPABLE

"""An executor of worker processes in which a process that dies loses only its own task.

``concurrent.futures.ProcessPoolExecutor`` gives up every task, running or waiting, when one process dies. A task here
is a training run of minutes, so each thread of a thread pool looks after one process, and replaces it if it dies.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

_ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
_CAN_BLOCK = hasattr(signal, "pthread_sigmask")  # not on Windows


class WorkerDied(RuntimeError):
    """The process that ran a task has died; the message says how."""


class Workers(Executor):
    """An executor of `jobs` processes, each with one BLAS thread.

    Processes are spawned, never forked, so that they read the environment's limit on BLAS threads anew and share no
    GPU context. They ignore Ctrl-C; leaving the ``with`` block by an exception, KeyboardInterrupt included, kills
    them. With `on_report`, every task gets a keyword ``report``, a function. What a task passes to it is passed on to
    `on_report`, after the task's own positional arguments, in a thread of this process.
    """

    def __init__(self, jobs: int, on_report: Callable[..., object] | None = None) -> None:
        if jobs < 1:
            raise ValueError(f"jobs is {jobs}, expected at least 1")
        self._context = multiprocessing.get_context("spawn")
        self._on_report = on_report
        self._alive: dict[Connection, BaseProcess] = {}
        self._idle: queue.SimpleQueue[Connection] = queue.SimpleQueue()
        self._closing = False
        self._environment = {name: os.environ.get(name) for name in _ONE_THREAD}
        os.environ.update(_ONE_THREAD)
        if _CAN_BLOCK:
            resource_tracker.ensure_running()  # here, because starting it unblocks SIGINT in the calling thread
        self._threads = ThreadPoolExecutor(jobs, initializer=_block_interrupts)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run ``fn(*args, **kwargs)`` in a process; the future raises its exception, or `WorkerDied`."""
        return self._threads.submit(self._run, fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes once their tasks are done; without `wait` they end with this process."""
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)
        if not wait:
            return
        self._closing = True
        for pipe in list(self._alive):
            pipe.close()  # tells a waiting worker to end
        for process in list(self._alive.values()):
            process.join()
        self._alive.clear()
        for name, value in self._environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    def kill(self) -> None:
        """End the processes now."""
        self._closing = True
        for process in list(self._alive.values()):
            process.kill()
        self.shutdown(cancel_futures=True)

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self.shutdown()
        else:
            self.kill()

    def _run(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        pipe = self._take()
        try:
            pipe.send((fn, args, kwargs, self._on_report is not None))
            while True:
                kind, value = pipe.recv()
                if kind != "report":
                    break
                assert self._on_report is not None
                self._on_report(*args, value)
        except (EOFError, OSError) as error:
            process = self._alive.pop(pipe)
            pipe.close()
            process.join()
            raise WorkerDied(f"its worker process {_how_it_ended(process.exitcode)}") from error
        self._idle.put(pipe)
        if kind == "error":
            raise value
        return value

    def _take(self) -> Connection:
        """Return the pipe to an idle process, or to a new one; the number of threads limits the processes."""
        with contextlib.suppress(queue.Empty):
            return self._idle.get_nowait()
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        self._alive[ours] = process
        if self._closing:
            process.kill()
        return ours


def _serve(pipe: Connection) -> None:
    """Run tasks until the other end is closed. Runs in the worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(EOFError, OSError):
        while True:
            fn, args, kwargs, reporting = pipe.recv()
            if reporting:
                kwargs["report"] = lambda value: pipe.send(("report", value))
            try:
                answer = ("result", fn(*args, **kwargs))
            except Exception as error:
                answer = ("error", error)
            pipe.send(answer)


def _block_interrupts() -> None:
    """Leave Ctrl-C to the main thread. Processes started here inherit the mask and survive it while they start."""
    if _CAN_BLOCK:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _how_it_ended(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"

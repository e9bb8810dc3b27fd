"""Sums of arrays over ranks: the one call that synchronised normalisation needs, without MPI.

A *rank* is one of the workers that share a training step, numbered from 0. A communicator is any object with a method
``allreduce(value)`` that returns, on every rank, the sum of the values that all ranks passed: ``MPI.COMM_WORLD`` of
mpi4py is one. The communicators here work within one process: `Alone`, and those that `run` hands out.
"""

from __future__ import annotations

import contextvars
import copy
import functools
import operator
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from mabn_ref.arrays import check_at_least

Result = TypeVar("Result")


class Communicator(Protocol):
    """What a communicator has to offer."""

    def allreduce(self, value: Any) -> Any:
        """Return the sum over all ranks of `value`, which is not changed; every rank calls it, in the same order."""
        ...


class RankDied(RuntimeError):
    """A rank of `run` raised an error, which is the cause of this one; the message says which rank and what."""


@dataclass(frozen=True)
class Alone:
    """The communicator of one rank: the sum over all ranks is the value itself."""

    rank: int = 0
    size: int = 1

    def allreduce(self, value: Any) -> Any:
        """Return `value`."""
        return value


class _Ended(BaseException):
    """Ends ranks that would wait for ever for one that died; ``except Exception`` does not catch it."""


class _Meeting:
    """Where each rank of one `run` leaves a value. The last one to arrive adds them up; then all go on."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._changed = threading.Condition()
        self._values: dict[int, Any] = {}
        self._sums: list[Any] | Exception = []
        self._rounds = 0  # completed
        self._returned: set[int] = set()
        self._died = False

    def total(self, rank: int, value: Any) -> Any:
        with self._changed:
            before = self._rounds
            self._values[rank] = value
            if len(self._values) == self.size:
                self._add_up()
                self._changed.notify_all()
            else:
                self._changed.wait_for(lambda: self._rounds > before or self._returned or self._died)
            if self._rounds > before:
                if isinstance(self._sums, Exception):
                    raise self._sums
                return self._sums[rank]
            if self._died:
                raise _Ended(self)
            gone = min(self._returned)
            raise RuntimeError(f"rank {gone} has returned while this one waits for its part of a sum")

    def _add_up(self) -> None:
        """Give each rank a sum of its own, which it may change; if the values cannot be added, all get the error."""
        values = [self._values[rank] for rank in range(self.size)]
        try:
            self._sums = [functools.reduce(operator.add, values[1:], copy.copy(values[0])) for _ in values]
        except Exception as error:
            self._sums = error
        self._values, self._rounds = {}, self._rounds + 1

    def leave(self, rank: int) -> None:
        with self._changed:
            self._returned.add(rank)
            self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self._died = True
            self._changed.notify_all()


@dataclass(frozen=True)
class _Rank:
    """One rank's communicator."""

    rank: int
    size: int
    meeting: _Meeting

    def allreduce(self, value: Any) -> Any:
        """Return the sum over all ranks, added in the order of the ranks."""
        return self.meeting.total(self.rank, value)


def run(size: int, work: Callable[[Any], Result]) -> list[Result]:
    """Call ``work(communicator)`` on `size` ranks, threads of this process, and return their results by rank.

    Rank 0 is the calling thread. The communicator has `allreduce`, `rank` and `size`, as in mpi4py. If a rank raises
    an error, the others, which would wait for it for ever, are ended, and `RankDied` is raised.

    Examples
    --------
    >>> run(3, lambda communicator: communicator.allreduce(10 * communicator.rank))
    [30, 30, 30]
    """
    check_at_least("size", size, 1, whole=True)
    meeting = _Meeting(size)
    results: list[Any] = [None] * size
    died: list[tuple[int, BaseException]] = []

    def one(rank: int) -> None:
        try:
            results[rank] = work(_Rank(rank, size, meeting))
            meeting.leave(rank)
        except BaseException as error:
            if isinstance(error, _Ended) and error.args == (meeting,):
                return
            meeting.end()
            if rank == 0 and not isinstance(error, Exception):
                raise  # an interrupt does not wait for the others
            died.append((rank, error))

    # In the caller's context, in which NumPy keeps its settings for overflow.
    ranks = [(contextvars.copy_context(), rank) for rank in range(1, size)]
    threads = [threading.Thread(target=there.run, args=(one, rank), daemon=True) for there, rank in ranks]
    for thread in threads:
        thread.start()
    one(0)
    for thread in threads:
        thread.join()
    if died:
        rank, error = died[0]
        if isinstance(error, _Ended):
            raise error  # of a run around this one
        raise RankDied(f"rank {rank} of {size} died: {type(error).__name__}: {error}") from error
    return results

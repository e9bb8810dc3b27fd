"""Ranks that add up arrays: the one call that synchronised normalisation needs, without MPI.

A *rank* is one of the workers that share a training step, numbered from 0. A communicator is any object with a method
``allreduce(value)`` that returns, on every rank, the sum of the values that all ranks passed: ``MPI.COMM_WORLD`` of
mpi4py is one. Those here are for one process: `Alone`, and the ones that `run` hands to its threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from mabn_ref.arrays import check_at_least

Result = TypeVar("Result")


class Communicator(Protocol):
    """What is asked of a communicator."""

    def allreduce(self, value: Any) -> Any:
        """Return the sum over all ranks of `value`, which is not changed; every rank calls it, in the same order."""
        ...


class RankDied(RuntimeError):
    """One of the ranks of `run` raised an error; the message says which, and it is the cause of this one."""


@dataclass(frozen=True)
class Alone:
    """The communicator of one rank: the sum over all ranks is the value itself."""

    rank: int = 0
    size: int = 1

    def allreduce(self, value: Any) -> Any:
        """Return `value`."""
        return value


_RETURNED = object()  #: what a rank that is done leaves in its place


class _Rank:
    """One thread's communicator. All share a list with a place for each, and meet before and after it is read."""

    def __init__(self, rank: int, places: list[Any], meeting: threading.Barrier) -> None:
        self.rank, self.size = rank, len(places)
        self._places, self._meeting = places, meeting

    def allreduce(self, value: Any) -> Any:
        """Return the sum over all ranks, added in the order of the ranks on each of them."""
        self._places[self.rank] = value
        self._meeting.wait()
        for rank, place in enumerate(self._places):
            if place is _RETURNED:
                raise RuntimeError(f"rank {rank} has returned while this one waits for its part of a sum")
        total = self._places[0]
        for place in self._places[1:]:
            total = total + place
        self._meeting.wait()
        return total

    def work(self, work: Callable[[Any], Result]) -> Result:
        """Do the work; then wait until all have done theirs, and none still needs this rank."""
        try:
            result = work(self)
            self._places[self.rank] = _RETURNED
            self._meeting.wait()
        except BaseException:
            self._meeting.abort()
            raise
        return result


def run(size: int, work: Callable[[Any], Result]) -> list[Result]:
    """Call ``work(communicator)`` on `size` ranks, each a thread of this process, and return their results by rank.

    The communicator has `allreduce`, and `rank` and `size`, as those of mpi4py have. If a rank raises an error, the
    others, which would wait for it for ever, are ended, and there is a `RankDied`.

    Examples
    --------
    >>> run(3, lambda communicator: communicator.allreduce(10 * communicator.rank))
    [30, 30, 30]
    """
    check_at_least("size", size, 1, whole=True)
    places: list[Any] = [None] * size
    meeting = threading.Barrier(size)
    results: list[Any] = [None] * size
    died: list[tuple[int, BaseException]] = []

    def one(rank: int) -> None:
        try:
            results[rank] = _Rank(rank, places, meeting).work(work)
        except threading.BrokenBarrierError:
            pass  # another rank died while this one waited for it
        except BaseException as error:
            died.append((rank, error))

    threads = [threading.Thread(target=one, args=(rank,), daemon=True) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if died:
        rank, error = died[0]
        raise RankDied(f"rank {rank} of {size} died: {type(error).__name__}: {error}") from error
    return results

"""Ranks that are threads of this process: sums, and what happens when one of them fails."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest

from mabn_ref.norms.communicators import Alone, RankDied, run


def test_sums_on_every_rank_in_every_round() -> None:
    def work(ranks: Any) -> list[float]:
        return [ranks.allreduce(np.array([ranks.rank + 10.0 * k]))[0] for k in range(20)]

    for size in (1, 2, 5):
        expected = [sum(range(size)) + 10.0 * k * size for k in range(20)]
        assert run(size, work) == [expected] * size


def test_values_are_not_changed() -> None:
    def work(ranks: Any) -> bool:
        mine = np.full(3, float(ranks.rank))
        first = ranks.allreduce(mine)
        ranks.allreduce(mine)
        return bool(np.all(mine == ranks.rank) and np.all(first == 3))

    assert run(3, work) == [True] * 3


def test_a_sum_is_rounded_alike_whoever_comes_first() -> None:
    def work(ranks: Any) -> float:
        time.sleep(0.01 * [2, 1, 0][ranks.rank])
        return ranks.allreduce([1e16, -1e16, 1.0][ranks.rank])

    assert run(3, work) == [1.0] * 3  # the other way round, 1 is lost in -1e16


def test_neither_values_nor_sums_are_shared() -> None:
    """A rank may change its own value and its own sum at once, whatever the others are doing."""

    def work(ranks: Any) -> list[float]:
        found = []
        for _ in range(50):
            mine = np.full(3, ranks.rank + 1.0)
            total = ranks.allreduce(mine)
            mine[:] = np.nan
            found.append(float(total[0]))
            total[:] = np.nan
        return found

    for size, total in ((1, 1.0), (3, 6.0)):
        assert run(size, work) == [[total] * 50] * size


def test_the_sum_of_one_rank_is_not_its_value() -> None:
    mine = np.ones(2)
    run(1, lambda ranks: ranks.allreduce(mine).fill(7.0))
    assert mine.tolist() == [1.0, 1.0]


def test_one_rank_alone() -> None:
    assert (Alone().rank, Alone().size) == (0, 1)
    value = np.arange(3.0)
    assert Alone().allreduce(value) is value


def test_a_rank_that_dies_ends_all_and_is_named() -> None:
    def work(ranks: Any) -> float:
        if ranks.rank == 1:
            raise ZeroDivisionError("no more")
        return ranks.allreduce(1.0)

    with pytest.raises(RankDied, match=r"rank 1 of 3 died: ZeroDivisionError: no more") as caught:
        run(3, work)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_rank_that_returns_early_is_no_hang() -> None:
    def work(ranks: Any) -> float:
        return ranks.allreduce(1.0) if ranks.rank else 0.0

    with pytest.raises(
        RankDied, match=r"rank [12] of 3 died: RuntimeError: rank 0 has returned while this one waits"
    ):
        run(3, work)


@pytest.mark.parametrize("dies_first", [False, True])
def test_an_interrupt_is_an_interrupt_and_waits_for_nobody(dies_first: bool) -> None:
    go = threading.Event()

    def work(ranks: Any) -> None:
        if ranks.rank == 0:
            time.sleep(0.05 * dies_first)
            raise KeyboardInterrupt
        if ranks.rank == 1 and dies_first:
            raise ValueError("before that")
        go.wait(20)

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(3, work)
    assert time.monotonic() - begun < 10
    go.set()


@pytest.mark.parametrize("inner_rank", [0, 1])
def test_ranks_within_ranks_end_too(inner_rank: int) -> None:
    """A rank of the inner run waits for one of the outer run, which dies."""

    caught = []

    def work(outer: Any) -> Any:
        if outer.rank == 1:
            time.sleep(0.05)
            raise ValueError("no more")
        try:
            return run(2, lambda inner: (outer if inner.rank == inner_rank else inner).allreduce(1.0))
        except Exception as error:  # a rank that is ended has nothing to mend
            caught.append(error)

    with pytest.raises(RankDied, match=r"rank 1 of 2 died: ValueError: no more"):
        run(2, work)
    assert caught == []


def test_values_that_do_not_add_up_are_an_error_on_every_rank() -> None:
    def work(ranks: Any) -> tuple[str, float]:
        try:
            ranks.allreduce(np.zeros(2 + (ranks.rank == 2)))
        except ValueError as error:
            return str(error), ranks.allreduce(1.0)
        raise AssertionError("a sum of unlike shapes")

    assert [("broadcast" in said, total) for said, total in run(3, work)] == [(True, 3.0)] * 3


def test_ranks_work_in_the_context_of_the_caller() -> None:
    with np.errstate(over="raise"):
        assert run(3, lambda ranks: np.geterr()["over"]) == ["raise"] * 3


def test_sums_of_other_libraries_are_not_shared() -> None:
    xp = pytest.importorskip("array_api_strict", reason="array-api-strict is not installed")

    def work(ranks: Any) -> float:
        total = ranks.allreduce(xp.ones(2))
        total[0] = float(ranks.rank)
        ranks.allreduce(0.0)
        return float(total[0])

    assert run(3, work) == [0.0, 1.0, 2.0]


def test_a_size_that_is_none() -> None:
    with pytest.raises(ValueError, match="size is 0, expected an integer of at least 1"):
        run(0, lambda ranks: None)

"""Timing side by side: rounds in which every contestant runs once, so that a busy moment hits all of them.

The clock is the processor time of this process. On one thread and an idle machine that is the time on the wall; on a
machine with other work it leaves out the moments in which that work ran instead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Timing", "side_by_side", "summary", "table"]


class Timing(NamedTuple):
    """Milliseconds of one contestant: median and quartiles over the rounds."""

    median: float
    low: float
    high: float


def side_by_side(contestants: Mapping[str, Callable[[], Any]], *, rounds: int) -> dict[str, Timing]:
    """Time every contestant once a round, after two rounds to warm up, in an order that changes each time."""
    names = list(contestants)
    samples: dict[str, list[float]] = {name: [] for name in names}
    rng = np.random.default_rng(0)
    # Having freed one large array, as every training run soon has, the C library keeps what is freed next: without
    # this, contestants that make many small arrays pay in some rounds for fetching their memory again.
    np.empty(30 * 2**20, dtype=np.uint8).fill(0)
    for i in range(rounds + 2):
        for name in rng.permutation(names):
            start = time.process_time()
            contestants[name]()
            if i >= 2:
                samples[name].append(1e3 * (time.process_time() - start))
    return {name: summary(samples[name]) for name in names}


def summary(samples: list[float]) -> Timing:
    """Median and quartiles."""
    return Timing(*(float(f"{value:.4g}") for value in np.quantile(samples, (0.5, 0.25, 0.75))))


def table(title: str, timings: Mapping[str, Timing], reference: str, unit: str = "ms") -> str:
    """Medians, quartiles and the ratio of each median to that of `reference`."""
    width = max(map(len, timings))
    lines = [title, f"  {'':{width}}  {'median ' + unit:>9}  {'quartiles ' + unit:>16}  ratio to {reference}"]
    for name, t in timings.items():
        ratio = t.median / timings[reference].median
        lines.append(f"  {name:{width}}  {t.median:9.4g}  {t.low:7.4g} {t.high:8.4g}  {ratio:6.2f}")
    return "\n".join(lines)

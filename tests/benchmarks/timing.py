"""Timing side by side: rounds in which every contestant runs once, so that a busy moment hits all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Timing", "side_by_side", "table"]


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
    for i in range(rounds + 2):
        for name in rng.permutation(names):
            start = time.perf_counter()
            contestants[name]()
            if i >= 2:
                samples[name].append(1e3 * (time.perf_counter() - start))
    return {name: Timing(*np.quantile(samples[name], (0.5, 0.25, 0.75)).tolist()) for name in names}


def table(title: str, timings: Mapping[str, Timing], reference: str) -> str:
    """Medians, quartiles and the ratio of each median to that of `reference`."""
    width = max(map(len, timings))
    lines = [title, f"  {'':{width}}  median ms  quartiles ms      ratio to {reference}"]
    for name, t in timings.items():
        ratio = t.median / timings[reference].median
        lines.append(f"  {name:{width}}  {t.median:9.3f}  {t.low:7.3f} {t.high:7.3f}  {ratio:6.2f}")
    return "\n".join(lines)

"""Cost against one size at a time, the others held: samples, positions, channels, and MABN's window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mabn_ref.norms import batch_norm, mabn
from tests.benchmarks.normalisers import forward_backward
from tests.benchmarks.timing import Timing, side_by_side
from tests.benchmarks.training_step import our_step

__all__ = ["measure"]

SAMPLES = (8, 16, 32, 64, 128)
SIDES = {"normaliser": (4, 8, 16, 24, 32), "step": (16, 24, 32, 48, 64)}
CHANNELS = (8, 16, 32, 64, 128)
WINDOWS = (1, 4, 16, 64, 256)


def _normaliser(samples: int, side: int, channels: int, window: int) -> Callable[[], None]:
    return forward_backward(mabn, mabn.Config(norm_batch=2, window=window), (samples, side, side, channels))


def _batch_norm(samples: int, side: int, channels: int, _: int) -> Callable[[], None]:
    return forward_backward(batch_norm, batch_norm.Config(norm_batch=2), (samples, side, side, channels))


def _step(samples: int, side: int, width: int, window: int) -> Callable[[], None]:
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((samples, side, side, 3), dtype=np.float32), rng.integers(0, 10, samples)
    return our_step(mabn, mabn.Config(norm_batch=2, window=window), x, labels, centralized=True, width=width)


def measure(_: Any | None, *, rounds: int, tiny: bool) -> dict[str, dict[str, Timing]]:
    """Milliseconds by size. The title says what was timed, what varied, and what was held."""
    kinds = {
        "MABN 2, forward + backward": (_normaliser, "normaliser", (32, 16, 32, 16)),
        "BN 2, forward + backward": (_batch_norm, "normaliser", (32, 16, 32, 16)),
        "training step with MABN 2": (_step, "step", (32, 32, 16, 16)),
    }
    found: dict[str, dict[str, Timing]] = {}
    for title, (make, kind, (n, side, c, m)) in kinds.items():
        axes: dict[str, dict[int, tuple[int, int, int, int]]] = {
            "N": {v: (v, side, c, m) for v in SAMPLES},
            "H*W": {v * v: (n, v, c, m) for v in SIDES[kind]},
            "C": {v: (n, side, v, m) for v in CHANNELS[: 4 if kind == "step" else None]},
            "m": {v: (n, side, c, v) for v in WINDOWS},
        }
        if make is _batch_norm:
            del axes["m"]
        for axis, sizes in axes.items():
            kept = list(sizes.items())[: 2 if tiny else None]
            calls = {str(value): make(*((2, 4, 2, 2) if tiny else size)) for value, size in kept}
            found[f"{title}, by {axis}"] = side_by_side(calls, rounds=rounds)
    return found

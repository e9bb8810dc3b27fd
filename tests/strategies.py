"""The random draws that tests share: dimensions by name, arrays with channels of very different scale and offset."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from mabn_ref.norms import batch_norm, batch_renorm, mabn, mabn_variants, modified_batch_norm, sync_batch_norm

NORMS = {
    "batch_norm": batch_norm,
    "batch_renorm": batch_renorm,
    "modified_batch_norm": modified_batch_norm,
    "mabn": mabn,
    "mabn_variants": mabn_variants,
}

ALL = NORMS | {"sync_batch_norm": sync_batch_norm}
"""Those that have files of tests of their own as well."""


def many(few: int, all_of_them: int) -> int:
    """How many random draws a loop makes: `few`, and `all_of_them` under the profile `thorough`."""
    return all_of_them if settings().max_examples >= 1000 else few


seeds = st.integers(0, 2**32 - 1)
eps = st.sampled_from([1e-5, 0.1, 1.0])
decays = st.sampled_from([0.0, 0.5, 0.9, 0.98])


@dataclass(frozen=True)
class Dimensions:
    """Named sizes of one draw: x has shape (groups * norm_batch, *space, channels)."""

    groups: int
    norm_batch: int
    space: tuple[int, ...]
    channels: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.groups * self.norm_batch, *self.space, self.channels)

    @property
    def values(self) -> int:
        """M, the values a channel of one normalisation batch."""
        return self.norm_batch * int(np.prod(self.space))


@st.composite
def dimensions(draw: Any, *, values: int = 3, groups: int = 5, rank: int = 5) -> Dimensions:
    """Dimensions with at least `values` values a channel, up to `groups` normalisation batches, ranks 2 to `rank`."""
    space = tuple(draw(st.lists(st.integers(1, 3), max_size=rank - 2)))
    least = -(-values // int(np.prod(space)))
    norm_batch = draw(st.integers(least, least + 3))
    return Dimensions(draw(st.integers(1, groups)), norm_batch, space, draw(st.integers(1, 4)))


@st.composite
def configs(draw: Any, module: ModuleType, norm_batch: int) -> Any:
    """A configuration of one normaliser, phases of warm-up and ramps included."""
    common = {"eps": draw(eps), "norm_batch": norm_batch, "decay": draw(decays)}
    if module is batch_renorm:
        ramp = batch_renorm.Ramp(start=draw(st.integers(0, 3)), stop=draw(st.integers(3, 9)), first=1.0, last=2.0)
        common |= {
            "r_max": draw(st.sampled_from([1.0, 1.5, 3.0, ramp])),
            "d_max": draw(st.sampled_from([0.0, 0.5, 5.0, ramp])),
            "ema_of": draw(st.sampled_from(["sigma", "var"])),
        }
    if module in (mabn, mabn_variants):
        common |= {
            "window": draw(st.integers(1, 9)),
            "clip": draw(st.sampled_from([1.0, 1.2, 5.0])),
            "warmup": draw(st.integers(0, 8)),
            "renorm_from": draw(st.integers(1, 8)),
        }
    if module is mabn_variants:
        common |= {
            "partial_window": draw(st.sampled_from(["mean", "batch"])),
            "ema_of": draw(st.sampled_from(["batch", "window"])),
            "ema_read": draw(st.sampled_from(["before", "after"])),
            "ema_start": draw(st.sampled_from([1.0, "first"])),
        }
    return module.Config(**common)


def sample(rng: np.random.Generator, shape: tuple[int, ...], *, low: float = -3, high: float = 3) -> np.ndarray:
    """Values whose channels have scales of 10**low to 10**high and offsets of up to 10 scales."""
    scale = 10 ** rng.uniform(low, high, shape[-1])
    return scale * (rng.standard_normal(shape) + rng.uniform(-10, 10, shape[-1]))


def parameters(rng: np.random.Generator, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Random gamma and beta; never ones and zeros, under which a forgotten factor hides."""
    return rng.uniform(0.5, 2, channels) * rng.choice([-1, 1], channels), rng.standard_normal(channels)

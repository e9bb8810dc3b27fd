"""What the plain normalisers of batch statistics have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mabn_ref.arrays import Array

__all__ = ["Normaliser"]


class Normaliser:
    """A call is taken apart into normalisation batches of shape (M, C)."""

    def __init__(self, channels: int, config: Any) -> None:
        self.config = config
        self.batches_seen = 0
        self.saved: list[Any] = []

    def batches(self, x: Array) -> Iterator[Array]:
        """The normalisation batches of a call, in order, as views."""
        each = len(x) if self.config.norm_batch is None else self.config.norm_batch
        for first in range(0, len(x), each):
            yield x[first : first + each].reshape(-1, x.shape[-1])

    def load(self, state: Any, groups: int) -> None:
        """Go on forward from the state of an implementation that is called with `groups` normalisation batches."""
        raise NotImplementedError

    def averaged(self, old: Array, value: Array) -> Array:
        """(12): the weight `decay` is that of the old value."""
        return self.config.decay * old + (1 - self.config.decay) * value

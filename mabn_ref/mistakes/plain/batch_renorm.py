"""Batch Renormalization, the plain way."""

from __future__ import annotations

from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.mistakes.plain.batch_norm import BatchNorm

__all__ = ["BatchRenorm"]


class BatchRenorm(BatchNorm):
    """(14); r and d are numbers in backward."""

    def __init__(self, channels: int, config: Any) -> None:
        super().__init__(channels, config)
        self.sigma = (self.var + config.eps) ** 0.5

    def load(self, state: Any, groups: int) -> None:
        super().load(state, groups)
        self.sigma, self.batches_seen = (state.var + self.config.eps) ** 0.5, state.iteration

    def state(self) -> dict[str, Any]:
        return {"mean": self.mean, "var": self.var, "iteration": self.batches_seen}

    def corrections(self, mu: Array, var: Array) -> tuple[Any, Any]:
        r_max, d_max = self.bound(self.config.r_max), self.bound(self.config.d_max)
        r = (var + self.config.eps) ** 0.5 / self.sigma
        d = (mu - self.mean) / self.sigma
        return np.minimum(np.maximum(r, 1 / r_max), r_max), np.minimum(np.maximum(d, -d_max), d_max)

    def bound(self, bound: Any) -> float:
        """The clip of this normalisation batch."""
        if not hasattr(bound, "start"):
            return float(bound)
        return float(np.interp(self.batches_seen, [bound.start, bound.stop], [bound.first, bound.last]))

    def move(self, mu: Array, var: Array) -> None:
        super().move(mu, var)
        if self.config.ema_of == "sigma":
            self.sigma = self.averaged(self.sigma, (var + self.config.eps) ** 0.5)
            self.var = self.sigma**2 - self.config.eps
        else:
            self.sigma = (self.var + self.config.eps) ** 0.5

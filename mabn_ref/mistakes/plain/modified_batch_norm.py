"""Modified batch normalisation, the plain way."""

from __future__ import annotations

from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.mistakes.plain.batches import Normaliser

__all__ = ["ModifiedBatchNorm"]


class ModifiedBatchNorm(Normaliser):
    """(15) and (16)."""

    def __init__(self, channels: int, config: Any) -> None:
        super().__init__(channels, config)
        self.chi2 = np.ones(channels)

    def load(self, state: Any, groups: int) -> None:
        self.chi2 = state.chi2

    def state(self) -> dict[str, Any]:
        return {"chi2": self.chi2}

    def forward(self, x: Array, gamma: Array, beta: Array) -> Array:
        z = np.empty(x.shape)
        self.saved = []
        for values, out in zip(self.batches(x), self.batches(z), strict=True):
            chi2 = sum(value**2 for value in values) / len(values)
            chi = (chi2 + self.config.eps) ** 0.5
            y = values / chi
            out[:] = gamma * y + beta
            self.saved.append((y, chi, gamma))
            self.chi2 = self.averaged(self.chi2, chi2)
        return z

    def backward(self, dz: Array) -> tuple[Array, Array, Array]:
        dx = np.empty(dz.shape)
        dgamma = dbeta = np.zeros(dz.shape[-1])
        for (y, chi, gamma), upstream, out in zip(self.saved, self.batches(dz), self.batches(dx), strict=True):
            dgamma = dgamma + sum(upstream * y)
            dbeta = dbeta + sum(upstream)
            for c in range(dz.shape[-1]):
                jacobian = np.eye(len(y)) - np.outer(y[:, c], y[:, c]) / len(y)
                out[:, c] = gamma[c] * upstream[:, c] @ jacobian / chi[c]
        return dx, dgamma, dbeta

    def infer(self, x: Array, gamma: Array, beta: Array) -> Array:
        return gamma * x / (self.chi2 + self.config.eps) ** 0.5 + beta

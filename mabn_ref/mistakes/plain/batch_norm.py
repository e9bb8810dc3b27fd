"""Batch normalisation, the plain way."""

from __future__ import annotations

from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.mistakes.plain.batches import Normaliser

__all__ = ["BatchNorm"]


class BatchNorm(Normaliser):
    """(1) to (5)."""

    def __init__(self, channels: int, config: Any) -> None:
        super().__init__(channels, config)
        self.mean, self.var = np.zeros(channels), np.ones(channels)

    def load(self, state: Any, groups: int) -> None:
        self.mean, self.var = state.mean, state.var

    def state(self) -> dict[str, Any]:
        return {"mean": self.mean, "var": self.var}

    def forward(self, x: Array, gamma: Array, beta: Array) -> Array:
        z = np.empty(x.shape)
        self.saved = []
        for values, out in zip(self.batches(x), self.batches(z), strict=True):
            mu = sum(values) / len(values)
            var = sum((value - mu) ** 2 for value in values) / len(values)
            self.batches_seen += 1
            r, d = self.corrections(mu, var)
            sigma = (var + self.config.eps) ** 0.5
            y = (values - mu) / sigma
            out[:] = gamma * (y * r + d) + beta
            self.saved.append((y, sigma, r, d, gamma))
            self.move(mu, var)
        return z

    def corrections(self, mu: Array, var: Array) -> tuple[Any, Any]:
        return 1.0, 0.0

    def move(self, mu: Array, var: Array) -> None:
        self.mean, self.var = self.averaged(self.mean, mu), self.averaged(self.var, var)

    def backward(self, dz: Array) -> tuple[Array, Array, Array]:
        dx = np.empty(dz.shape)
        dgamma = dbeta = np.zeros(dz.shape[-1])
        for (y, sigma, r, d, gamma), upstream, out in zip(
            self.saved, self.batches(dz), self.batches(dx), strict=True
        ):
            dgamma = dgamma + sum(upstream * (r * y + d))
            dbeta = dbeta + sum(upstream)
            dy = gamma * r * upstream
            for c in range(dz.shape[-1]):
                # The matrix of all dy_i/dx_j: an x moves its own y, and every y through mu and sigma.
                jacobian = np.eye(len(y)) - 1 / len(y) - np.outer(y[:, c], y[:, c]) / len(y)
                out[:, c] = dy[:, c] @ jacobian / sigma[c]
        return dx, dgamma, dbeta

    def infer(self, x: Array, gamma: Array, beta: Array) -> Array:
        return gamma * (x - self.mean) / (self.var + self.config.eps) ** 0.5 + beta

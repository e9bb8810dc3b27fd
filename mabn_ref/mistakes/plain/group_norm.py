"""Group normalisation, the plain way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mabn_ref.arrays import Array

__all__ = ["GroupNorm"]


class GroupNorm:
    """Batch normalisation's equations over the values of one sample and one group of channels."""

    def __init__(self, channels: int, config: Any) -> None:
        groups = channels if config.groups is None else config.groups
        self.config, self.each = config, channels // groups
        self.saved: list[Any] = []

    def load(self, state: Any, groups: int) -> None:
        """There is no state."""

    def state(self) -> dict[str, Any]:
        return {}

    def parts(self, x: Array) -> Iterator[tuple[int, slice]]:
        """The samples, and the channels of each group."""
        for n in range(len(x)):
            for first in range(0, x.shape[-1], self.each):
                yield n, slice(first, first + self.each)

    def forward(self, x: Array, gamma: Array, beta: Array) -> Array:
        z = np.empty(x.shape)
        self.saved = []
        for n, channels in self.parts(x):
            values = x[n, ..., channels]
            sigma = (np.mean((values - np.mean(values)) ** 2) + self.config.eps) ** 0.5
            y = (values - np.mean(values)) / sigma
            z[n, ..., channels] = gamma[channels] * y + beta[channels]
            self.saved.append((y, sigma, gamma[channels]))
        return z

    def backward(self, dz: Array) -> tuple[Array, Array, Array]:
        dx = np.empty(dz.shape)
        dgamma, dbeta = np.zeros(dz.shape[-1]), np.zeros(dz.shape[-1])
        for (n, channels), (y, sigma, gamma) in zip(self.parts(dz), self.saved, strict=True):
            upstream = dz[n, ..., channels]
            dgamma[channels] += sum((upstream * y).reshape(-1, self.each))
            dbeta[channels] += sum(upstream.reshape(-1, self.each))
            jacobian = np.eye(y.size) - 1 / y.size - np.outer(y, y) / y.size
            dx[n, ..., channels] = ((upstream * gamma).ravel() @ jacobian / sigma).reshape(y.shape)
        return dx, dgamma, dbeta

    def infer(self, x: Array, gamma: Array, beta: Array) -> Array:
        saved, self.saved = self.saved, []
        z = self.forward(x, gamma, beta)
        self.saved = saved
        return z

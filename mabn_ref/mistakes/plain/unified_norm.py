"""Unified Normalization, the plain way."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.mistakes.plain.mean_squares import ModifiedBatchNorm, pushed


class UnifiedNorm(ModifiedBatchNorm):
    """The authors' code, batch by batch; the places of its ring are a queue here."""

    kept = ("chi2", "iteration", "chi2_window", "psi", "psi_window")
    held = "m = 1"
    derivative_with: ClassVar = {"window": 1}

    def __init__(self, channels: int, config: Any) -> None:
        super().__init__(channels, config)
        self.psi = np.zeros(channels)
        self.chi2_window = self.psi_window = np.zeros((config.window, channels))

    def geometric(self, values: Array) -> Array:
        """The root of the product."""
        return np.prod(values, axis=0) ** (1 / len(values))

    def part_forward(self, values: Array, gamma: Array, beta: Array) -> Array:
        self.iteration += 1
        t, eps = self.iteration, self.config.eps
        chi2 = sum(value**2 for value in values) / len(values)
        roots = np.sqrt(self.chi2_window).ravel()
        recorded = sum((roots - roots.mean()) ** 2) / max(roots.size - 1, 1)
        self.chi2_window = window = pushed(self.chi2_window, chi2)
        alone = self.config.window == 1
        if self.config.outliers and not alone and t >= self.config.warmup:
            apart = sum(window) / len(window) - self.geometric(window)
            if np.any(apart > recorded * len(window)):
                window[-1], alone = self.chi2, True
        own = alone or t <= self.config.window or t < self.config.warmup
        used = chi2 if own else self.geometric(window)
        r = ((used + eps) / (self.chi2 + eps)) ** 0.5
        r = np.minimum(np.maximum(r, 1 / self.config.clip), self.config.clip)
        if alone or t < self.config.renorm_from:
            r = np.ones_like(r)
        chi = (used + eps) ** 0.5
        self.saved.append((values / chi, chi, r, alone, own, gamma))
        self.chi2 = self.averaged(self.chi2, used)
        return gamma * values / chi + beta

    def part_backward(self, upstream: Array, *saved: Any) -> tuple[Array, Array]:
        y, chi, r, alone, own, gamma = saved
        g = gamma * upstream * r
        psi = sum(g * y) / len(y)
        self.psi_window = window = pushed(self.psi_window, self.psi if alone else psi)
        mean = psi if own else sum(window) / len(window)
        self.psi = self.averaged(self.psi, mean)
        scale = np.max(np.abs(g), axis=0) * np.max(np.abs(y), axis=0) + np.max(np.abs(window), axis=0)
        self.sizes = {"psi": scale, "psi_window": scale, "chi2_window": np.max(self.chi2_window, axis=0)}
        return (g - y * (mean if alone else self.psi)) / chi, upstream * r * y

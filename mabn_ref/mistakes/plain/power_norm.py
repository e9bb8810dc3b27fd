"""PowerNorm, the plain way."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.mistakes.plain.mean_squares import ModifiedBatchNorm


class PowerNorm(ModifiedBatchNorm):
    """The recurrence of the authors' code, with its running sum of the gradient along y."""

    kept = ("chi2", "iteration", "v")
    held = "v = 0"
    derivative_with: ClassVar = {"warmup": 0, "backward_by": "moving"}

    def __init__(self, channels: int, config: Any) -> None:
        super().__init__(channels, config)
        self.v = np.zeros(channels)

    def part_forward(self, values: Array, gamma: Array, beta: Array) -> Array:
        self.iteration += 1
        t = self.iteration
        chi2 = sum(value**2 for value in values) / len(values)
        used = chi2 if t <= self.config.warmup else self.chi2
        y = values / (used + self.config.eps) ** 0.5
        back = chi2 if self.config.backward_by == "batch" else used
        self.saved.append((y, (back + self.config.eps) ** 0.5, gamma))
        if t < self.config.warmup:  # a mean of all so far, before it is averaged as ever
            self.chi2 = self.chi2 * (t - 1) / t + chi2 / t
        self.chi2 = self.averaged(self.chi2, chi2)
        return gamma * y + beta

    def part_backward(self, upstream: Array, *saved: Any) -> tuple[Array, Array]:
        y, chi, gamma = saved
        through = gamma * upstream - (1 - self.config.decay_backward) * self.v * y
        size = np.max(np.abs(gamma * upstream), axis=0) + np.abs(self.v) * np.max(np.abs(y), axis=0)
        self.v = self.v + sum(through * y) / len(y)
        self.sizes = {"v": np.abs(self.v) + size * np.max(np.abs(y), axis=0), "dx": size / chi}
        return through / chi, upstream * y

"""EvalNorm, the plain way."""

from __future__ import annotations

from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.mistakes.plain.batch_norm import BatchNorm

__all__ = ["EvalNorm"]


class EvalNorm(BatchNorm):
    """Batch normalisation, and an inference by the mixture of two statistics, sample by sample."""

    def __init__(self, channels: int, config: Any) -> None:
        super().__init__(channels, config)
        self.a, self.b = np.array([1 / config.norm_batch]), np.array([1 / config.norm_batch])
        self.sizes = {"a": 1.0, "b": 1.0}

    def load(self, state: Any, groups: int) -> None:
        super().load(state, groups)
        self.a, self.b = state.a, state.b

    def state(self) -> dict[str, Any]:
        return {"mean": self.mean, "var": self.var, "a": self.a, "b": self.b}

    def mixed(self, sample: Array, a: Array, b: Array) -> Array:
        """A sample normalised as at inference."""
        values = sample.reshape(-1, len(self.mean))
        m = values.mean(axis=0)
        v = ((values - m) ** 2).mean(axis=0)
        mean, var = a * m + (1 - a) * self.mean, b * v + (1 - b) * self.var
        if self.config.merged:
            var = var + a * (1 - a) * (m - self.mean) ** 2
        return (sample - mean) / (var + self.config.eps) ** 0.5

    def forward(self, x: Array, gamma: Array, beta: Array) -> Array:
        z, each = np.empty(x.shape), self.config.norm_batch
        saved = []
        for first in range(0, len(x), each):
            samples = x[first : first + each]
            if self.config.estimated:
                a, b = self.estimate(samples)
            z[first : first + each] = super().forward(samples, gamma, beta)
            saved += self.saved
            if self.config.estimated:
                self.a, self.b = a, b
        self.saved = saved
        return z

    def estimate(self, samples: Array) -> tuple[Array, Array]:
        """A step down the slope of half the mean squared difference of outputs, taken by the complex step."""
        axes = tuple(range(samples.ndim - 1))
        y = (samples - samples.mean(axis=axes)) / (samples.var(axis=axes) + self.config.eps) ** 0.5

        def mismatch(a: Array, b: Array) -> Any:
            return np.mean(
                [np.mean((self.mixed(sample, a, b) - t) ** 2) / 2 for sample, t in zip(samples, y, strict=True)]
            )

        slopes = mismatch(self.a + 1e-30j, self.b).imag / 1e-30, mismatch(self.a, self.b + 1e-30j).imag / 1e-30
        moved = [old - self.config.rate * slope for old, slope in zip((self.a, self.b), slopes, strict=True)]
        return np.minimum(np.maximum(moved[0], 0), 1), np.minimum(np.maximum(moved[1], 0), 1)

    def infer(self, x: Array, gamma: Array, beta: Array) -> Array:
        return np.stack([gamma * self.mixed(sample, self.a, self.b) + beta for sample in x])

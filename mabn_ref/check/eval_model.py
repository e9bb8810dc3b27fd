"""EvalNorm, bendable: it trains as batch norm does, and infers by a mixture of two statistics."""

from __future__ import annotations

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.check.batch_model import Model, root

__all__ = ["EvalModel"]


class EvalModel(Model):
    """EvalNorm: batch normalisation in training, and every convention of its inference by the rule of thumb."""

    def infer(self, x: Array, gamma: Array, beta: Array) -> Array:
        kind = self.c.infer_by
        if kind in ("moving", "batch"):
            return super().infer(x, gamma, beta)
        xs = x.reshape(1 if kind == "mixture of the call" else len(x), -1, x.shape[-1])
        mean, square = np.mean(xs, axis=1, keepdims=True), self.state()["square"]
        var = np.mean((xs - mean) ** 2, axis=1, keepdims=True)
        a = 1 / self.c.norm_batch
        a = 1 - a if kind == "swapped" else a
        b = 0 if kind == "mean alone" else a
        apart = mean - self.mean
        mixed = b * var + (1 - b) * square + (0 if kind == "variances alone" else a * (1 - a) * apart**2)
        if self.c.infer_eps in ("none", "twice"):
            sigma = np.sqrt(mixed + (2 * self.c.eps if self.c.infer_eps == "twice" else 0))
        else:
            sigma = root(mixed, self.c)
        return np.asarray(gamma * (xs - self.mean - a * apart) / sigma + beta).reshape(x.shape)

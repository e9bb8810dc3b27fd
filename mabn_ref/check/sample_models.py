"""All conventions of the normalisers that work per sample: each alone, one after the other (Online Normalization), or
at inference (EvalNorm).

All layers have the functions of `batch_model.Model` and, like it, are written to be bent.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.check.batch_gradients import of_parameters
from mabn_ref.check.batch_model import Batch, Model, root, samples_of
from mabn_ref.check.conventions import Convention


class SampleModel(Model):
    """Group, layer or instance normalisation: a layer without memory, except for moving statistics at inference."""

    @property
    def centred(self) -> bool:
        return self.c.statistic == "variance"

    def _along(self, batch: Batch, a: Array) -> Array:
        return batch.cut(np.broadcast_to(a, batch.shape))

    def _moved(self, batch: Batch, raw: Array, own: Array, *rest: Any) -> Any:
        """Average the samples' own statistics over samples and then over calls; training does not read them."""
        c, n = self.c, batch.x.shape[1]
        if c.infer_by == "moving":  # nothing else reads them
            bessel = 1.0 if c.fed == "biased" else n / max(n - 1, 1)
            fed = (batch.whole(a[:, None]) for a in (batch.mean, raw * bessel))
            mean, second = (np.mean(a, axis=tuple(range(a.ndim - 1))) for a in fed)
            self.mean = c.decay * self.mean + (1 - c.decay) * mean
            self.second = c.decay * self.second + (1 - c.decay) * second
        return dict.fromkeys(("before", "after"), (batch.mean, own))

    def infer(self, x: Array, gamma: Array, beta: Array) -> Array:
        c = self.c
        if c.infer_by == "moving":
            return super().infer(x, gamma, beta)
        alone = replace(c, over="sample", grouping="neighbours")
        # a copy, since backward belongs to the last training pass
        return copy(self).forward(samples_of(x, alone if c.infer_by == "sample" else c), gamma, beta)

    def sizes(self) -> tuple[Array, Array]:
        p, batch = self.last, self.last.batch
        rounded = np.abs(batch.x / p.sigma[:, None]) * 1e-6  # in a group of one value, y is only rounding
        return batch.largest(np.abs(p.y) + rounded), batch.largest(1 / p.sigma[:, None])


class EvalModel(Model):
    """EvalNorm: batch normalisation in training, and all conventions of inference by its rule of thumb."""

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
        times = {"none": 0, "twice": 2}.get(self.c.infer_eps)
        sigma = root(mixed, self.c) if times is None else np.sqrt(mixed + times * self.c.eps)
        return np.asarray(gamma * (xs - self.mean - a * apart) / sigma + beta).reshape(x.shape)


CLAMP = 5.0
"""Where the authors' code of Online Normalization clips the output."""


class _OnlinePass(NamedTuple):
    """What one call leaves for backward: (N, P, C), sigma (N, 1, C), scale (N, 1, 1), gamma (C,)."""

    y: Array
    sigma: Array
    scale: Array
    z: Array
    gamma: Array


def _mean_of_sample(a: Array) -> Array:
    return np.asarray(np.mean(a, axis=(1, 2), keepdims=True))


class OnlineModel:
    """Online Normalization: a layer with a convention, and its memory."""

    def __init__(self, norm: str, convention: Convention, channels: int) -> None:
        self.c = convention
        zero = np.zeros(channels)
        self.mean, self.var, self.u, self.v = zero, zero + 1, zero, zero
        self.last: _OnlinePass

    def forward(self, batch: Batch, gamma: Array, beta: Array, observed: Array | None = None) -> Array:
        means, sigmas = [], []
        for mean, var in zip(batch.mean, batch.var, strict=True):
            before = self.mean, self.var
            self._move(mean, var)
            used = before if self.c.used == "before" else (self.mean, self.var)
            means.append(used[0])
            sigmas.append(root(used[1], self.c))
        sigma = np.stack(sigmas)[:, None]
        y = (batch.x - np.stack(means)[:, None]) / sigma
        z, scale = self._guarded(y, gamma, beta)
        self.last = _OnlinePass(y, sigma, scale, z, gamma)
        return z.reshape(batch.shape)

    def _move(self, mean: Array, var: Array) -> None:
        """Take in a sample of this mean and variance, (C,)."""
        a, old = self.c.decay_forward, self.mean
        self.mean = a * old + (1 - a) * mean
        apart = {"old mean": mean - old, "new mean": mean - self.mean, "none": 0 * mean}[self.c.distance]
        self.var = a * self.var + (1 - a) * var + a * (1 - a) * apart**2

    def _guarded(self, y: Array, gamma: Array, beta: Array) -> tuple[Array, Array]:
        """The output, and what layer scaling divides by."""
        c, scale = self.c, np.ones((len(y), 1, 1))
        if c.guard == "scaling first":
            scale = np.sqrt(_mean_of_sample(y * y) + c.eps)
            return gamma * (y / scale) + beta, scale
        a = gamma * y + beta
        if c.guard == "scaling":
            scale = np.sqrt(_mean_of_sample(a * a) + c.eps)
        clamped = np.minimum(np.maximum(a, -CLAMP), CLAMP) if c.guard == "clamp" else a / scale
        return clamped, scale

    def infer(self, x: Array, gamma: Array, beta: Array) -> Array:
        y = ((x - self.mean) / root(self.var, self.c)).reshape(len(x), -1, x.shape[-1])
        z = gamma * y + beta if self.c.infer_by == "unguarded" else self._guarded(y, gamma, beta)[0]
        return np.asarray(z).reshape(x.shape)

    def state(self) -> dict[str, Array]:
        return {"mean": self.mean, "square": self.var, "root": root(self.var, self.c)}

    def sizes(self) -> tuple[Array, Array]:
        p = self.last
        y = p.y / p.scale if self.c.guard == "scaling first" else p.y
        return np.max(np.abs(y), axis=(0, 1)), np.max(np.abs(1 / p.sigma), axis=(0, 1)) / np.min(p.scale)

    def backward(self, dz: Array) -> tuple[Array, Array, Array]:
        p, shape = self.last, dz.shape
        da, dy, y = self._through_guard(dz.reshape(p.y.shape))
        dx = np.stack([self._step(one, p.y[t], p.sigma[t]) for t, one in enumerate(dy)])
        return dx.reshape(shape), *of_parameters(self.c, da, y, p.gamma, {})

    def _through_guard(self, dz: Array) -> tuple[Array, Array, Array]:
        """The gradients before the guard, of gamma's output and of y, and what gamma multiplied."""
        c, p = self.c, self.last
        if c.guard == "scaling first":
            y = p.y / p.scale
            return dz, self._unscaled(dz * p.gamma, y), y
        if c.guard == "clamp":
            dz = np.where(np.abs(p.z) < CLAMP, dz, 0)
        da = self._unscaled(dz, p.z) if c.guard == "scaling" else dz
        return da, da * p.gamma, p.y

    def _unscaled(self, dz: Array, z: Array) -> Array:
        projected = 0 if self.c.dx == "scale held" else z * _mean_of_sample(dz * z)
        return np.asarray((dz - projected) / self.last.scale)

    def _step(self, dy: Array, y: Array, sigma: Array) -> Array:
        """The dx of one sample, (P, C); updates u and v."""
        kind, held = self.c.dx, 1 - self.c.decay_backward
        if kind == "no control":
            return dy / sigma
        g = dy - held * self.v * y
        v = self.v + np.mean((dy if kind == "v of dy" else g) * y, axis=0)
        if kind == "v after":
            g = dy - held * v * y
        dx = g / sigma - held * self.u
        u = self.u + np.mean(g / sigma if kind == "u before control" else dx, axis=0)
        if kind == "averaged":
            u, v = ((1 - held) * old + held * (new - old) for old, new in ((self.u, u), (self.v, v)))
        self.u, self.v = u, v
        return np.asarray(dx)

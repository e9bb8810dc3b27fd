"""The same for Online Normalization: every convention of it in one layer, sample by sample."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.check.conventions import Convention
from mabn_ref.check.model import Batch, root

__all__ = ["OnlineModel"]

CLAMP = 5.0
"""Where the authors' code clips the output."""


class _Pass(NamedTuple):
    """What one call leaves for backward: (N, P, C), sigma (N, 1, C), scale (N, 1, 1), gamma (C,)."""

    y: Array
    sigma: Array
    scale: Array
    z: Array
    gamma: Array


def _mean_of_sample(a: Array) -> Array:
    return np.asarray(np.mean(a, axis=(1, 2), keepdims=True))


class OnlineModel:
    """A layer with a convention, and its memory.

    Parameters
    ----------
    convention : Convention
    channels : int
    """

    def __init__(self, convention: Convention, channels: int) -> None:
        self.c = convention
        self.iteration = 0
        self.bounds: list[tuple[float, float]] = []
        zero = np.zeros(channels)
        self.mean, self.var, self.u, self.v = zero, zero + 1, zero, zero
        self.last: _Pass

    def forward(self, batch: Batch, gamma: Array, beta: Array, observed: Array | None = None) -> Array:
        """Return z and go on; `observed` is there for the sake of the other models."""
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
        self.last = _Pass(y, sigma, scale, z, gamma)
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
        """Return the output of inference."""
        y = ((x - self.mean) / root(self.var, self.c)).reshape(len(x), -1, x.shape[-1])
        if self.c.infer_by == "unguarded":
            return np.asarray(gamma * y + beta).reshape(x.shape)
        return self._guarded(y, gamma, beta)[0].reshape(x.shape)

    def state(self) -> dict[str, Array]:
        """The moving statistics: mean, square and root."""
        return {"mean": self.mean, "square": self.var, "root": root(self.var, self.c)}

    def sizes(self) -> tuple[Array, Array]:
        """The largest y and the largest slope of every channel, (C,)."""
        p = self.last
        y = p.y / p.scale if self.c.guard == "scaling first" else p.y
        return np.max(np.abs(y), axis=(0, 1)), np.max(np.abs(1 / p.sigma), axis=(0, 1)) / np.min(p.scale)

    def backward(self, dz: Array) -> tuple[Array, Array, Array]:
        """Return dx, dgamma and dbeta by the formulas that the convention names; u and v go on."""
        p, shape = self.last, dz.shape
        da, dy, y = self._through_guard(dz.reshape(p.y.shape))
        dgamma = {
            "right": lambda: np.sum(da * y, axis=(0, 1)),
            "times gamma": lambda: np.sum(da * y * p.gamma, axis=(0, 1)),
            "mean": lambda: np.mean(da * y, axis=(0, 1)),
        }[self.c.dgamma]()
        dbeta = np.mean(da, axis=(0, 1)) if self.c.dbeta == "mean" else np.sum(da, axis=(0, 1))
        dx = np.stack([self._step(one, p.y[t], p.sigma[t]) for t, one in enumerate(dy)])
        return dx.reshape(shape), dgamma, dbeta

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
        """The dx of one sample, (P, C)."""
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

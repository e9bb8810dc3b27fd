"""The same for samples alone: every convention of group, layer and instance normalisation in one layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.check.conventions import Convention
from mabn_ref.check.model import Batch, root

__all__ = ["SampleModel", "samples_of"]


def _together(a: Array, c: Convention) -> Array:
    """The mean of (N, P, C) over the values that share it, put back in the place of each."""
    samples, positions, channels = a.shape
    apart = a.reshape(samples, positions, c.groups, -1) if c.grouping == "neighbours" else None
    if apart is None:
        apart = np.swapaxes(a.reshape(samples, positions, -1, c.groups), 2, 3)
    axis = {"sample": (1, 3), "position": (3,), "batch": (0, 1, 3), "channel": (1,)}[c.over]
    mean = np.mean(apart, axis=axis, keepdims=True) * np.ones(apart.shape, int)
    if c.grouping != "neighbours":
        mean = np.swapaxes(mean, 2, 3)
    return np.asarray(mean.reshape(samples, positions, channels))


def _count(c: Convention, shape: tuple[int, ...]) -> int:
    """How many values share a mean."""
    samples, positions, channels = shape
    each = channels // c.groups
    return {"sample": positions * each, "position": each, "batch": samples * positions * each, "channel": positions}[
        c.over
    ]


def samples_of(x: Array, groups: int) -> Batch:
    """Cut a call into samples, (N, P, C), with the statistics of their groups in every channel, (N, C)."""
    xs = x.reshape(len(x), -1, x.shape[-1])
    c = Convention(groups=groups)
    mean, square = _together(xs, c), _together(xs * xs, c)
    var = _together((xs - mean) ** 2, c)
    return Batch(xs, mean[:, 0], var[:, 0], square[:, 0], 1, 1, x.shape)


class _Pass(NamedTuple):
    """What one call leaves for backward, (N, P, C); gamma is (C,)."""

    x: Array
    y: Array
    sigma: Array
    std: Array
    gamma: Array


class SampleModel:
    """A layer without memory, with a convention.

    Parameters
    ----------
    convention : Convention
        Its `groups`, `over`, `grouping`, `eps`, `eps_at`, `variance` and gradients count.
    """

    def __init__(self, convention: Convention) -> None:
        self.c = convention
        self.iteration = 0
        self.bounds: list[tuple[float, float]] = []
        self.moving: tuple[Any, Any] = 0.0, 1.0
        self.last: _Pass

    def forward(self, batch: Batch, gamma: Array, beta: Array, observed: Array | None = None) -> Array:
        """Return z; `observed` is there for the sake of the other models."""
        c, p = self.c, self._normalised(batch.x, gamma)
        self.last = p
        if c.infer_by == "moving":  # the samples' own, unbiased, averaged over samples and then over calls
            n = _count(c, p.x.shape)
            fed = np.mean(_together(p.x, c), axis=(0, 1)), np.mean(p.std**2, axis=(0, 1)) * (n / max(n - 1, 1))
            self.moving = tuple(
                c.decay * old + (1 - c.decay) * new for old, new in zip(self.moving, fed, strict=True)
            )
        return np.asarray(gamma * self.last.y + beta).reshape(batch.shape)

    def infer(self, x: Array, gamma: Array, beta: Array) -> Array:
        """Return the output of inference, which is that of training unless it is by moving statistics."""
        if self.c.infer_by == "moving":
            return np.asarray(gamma * (x - self.moving[0]) / root(self.moving[1], self.c) + beta)
        c = self.c
        if c.infer_by == "sample":
            c = replace(c, over="sample", grouping="neighbours")
        y = SampleModel(c)._normalised(x.reshape(len(x), -1, x.shape[-1]), gamma).y
        return np.asarray(gamma * y + beta).reshape(x.shape)

    def _normalised(self, x: Array, gamma: Array) -> _Pass:
        c, n = self.c, _count(self.c, x.shape)
        centred = x - _together(x, c)
        var = _together(centred**2, c)
        if c.variance == "unbiased" and n > 1:
            var = var * n / (n - 1)
        sigma = root(var, c)
        return _Pass(x, centred / sigma, sigma, np.sqrt(var), gamma)

    def state(self) -> dict[str, Array]:
        """Nothing moves."""
        return {}

    def sizes(self) -> tuple[Array, Array]:
        """The largest y and the largest slope of every channel, (C,)."""
        p = self.last
        rounded = np.abs(p.x / p.sigma) * 1e-6  # of a group of one value y is but rounding
        return np.max(np.abs(p.y) + rounded, axis=(0, 1)), np.max(np.abs(1 / p.sigma), axis=(0, 1))

    def backward(self, dz: Array) -> tuple[Array, Array, Array]:
        """Return dx, dgamma and dbeta by the formulas that the convention names."""
        c, p = self.c, self.last
        shape, dz = dz.shape, dz.reshape(p.x.shape)
        dgamma = {
            "right": lambda: np.sum(dz * p.y, axis=(0, 1)),
            "times gamma": lambda: np.sum(dz * p.y * p.gamma, axis=(0, 1)),
            "not normalised": lambda: np.sum(dz * p.y * p.sigma, axis=(0, 1)),
            "mean": lambda: np.mean(dz * p.y, axis=(0, 1)),
        }[c.dgamma]()
        dbeta = np.mean(dz, axis=(0, 1)) if c.dbeta == "mean" else np.sum(dz, axis=(0, 1))
        return self._dx(dz).reshape(shape), dgamma, dbeta

    def _dx(self, dz: Array) -> Array:
        c, p, dy = self.c, self.last, dz * self.last.gamma
        n = _count(c, p.x.shape)
        g, psi = _together(dy, c), _together(p.y * dy, c)
        # the derivative of sigma by x, times n: y, but for an odd sigma
        moved = p.y * n / (n - 1) if c.variance == "unbiased" and n > 1 else p.y
        if c.eps_at == "outside":
            moved = moved * p.sigma / p.std
        right = (dy - g - moved * psi) / p.sigma
        late = (dz - _together(dz, c) - moved * _together(p.y * dz, c)) / p.sigma
        formulas: dict[str, Any] = {
            "right": lambda: right,
            "no g": lambda: (dy - moved * psi) / p.sigma,
            "no psi": lambda: (dy - g) / p.sigma,
            "statistics constant": lambda: dy / p.sigma,
            "gamma last": lambda: p.gamma * late,
            "no gamma": lambda: late,
            "sums": lambda: (dy - n * g - moved * n * psi) / p.sigma,
            "over variance": lambda: right / p.sigma,
            "over std": lambda: right * p.sigma / p.std,
        }
        return np.asarray(formulas[c.dx]())

"""Normalisers of single samples, and frozen batch normalisation, the plain way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mabn_ref.arrays import Array


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


class RMSNorm(GroupNorm):
    """Modified batch normalisation's equations over the channels of one position, or the positions of one channel."""

    def __init__(self, channels: int, config: Any) -> None:
        self.config = config
        self.saved: list[Any] = []

    def places(self, x: Array) -> Iterator[Any]:
        """The indices of all values that share a mean square."""
        if self.config.axes == "channels":
            yield from np.ndindex(x.shape[:-1])
        else:
            yield from ((n, ..., c) for n, c in np.ndindex(len(x), x.shape[-1]))

    def forward(self, x: Array, gamma: Array, beta: Array) -> Array:
        y = np.empty(x.shape)
        chi = np.empty(x.shape)
        for place in self.places(x):
            chi[place] = (np.mean(x[place] ** 2) + self.config.eps) ** 0.5
            y[place] = x[place] / chi[place]
        self.saved = [y, chi, gamma]
        return gamma * y + beta

    def backward(self, dz: Array) -> tuple[Array, Array, Array]:
        y, chi, gamma = self.saved
        dx, dy, channels = np.empty(dz.shape), gamma * dz, dz.shape[-1]
        for place in self.places(dz):
            values = y[place].ravel()
            jacobian = np.eye(values.size) - np.outer(values, values) / values.size
            dx[place] = (dy[place].ravel() @ jacobian).reshape(y[place].shape) / chi[place]
        return dx, sum((dz * y).reshape(-1, channels)), sum(dz.reshape(-1, channels))


class OnlineNorm:
    """One sample after the other, forward and backward."""

    def __init__(self, channels: int, config: Any) -> None:
        self.config = config
        self.mean, self.var = np.zeros(channels), np.ones(channels)
        self.u, self.v = np.zeros(channels), np.zeros(channels)
        self.saved: list[Any] = []
        self.samples_seen = 0
        self.sizes: dict[str, Array] = {}  # how large the terms of each quantity are, which may cancel in it

    def load(self, state: Any, groups: int) -> None:
        self.mean, self.var, self.samples_seen = state.mean, state.var, state.iteration

    def state(self) -> dict[str, Any]:
        return {"mean": self.mean, "var": self.var, "u": self.u, "v": self.v, "iteration": self.samples_seen}

    def scaled(self, sample: Array) -> tuple[Array, Any]:
        scale = (np.mean(sample**2) + self.config.eps) ** 0.5 if self.config.layer_scaling else 1.0
        return sample / scale, scale

    def forward(self, x: Array, gamma: Array, beta: Array) -> Array:
        z = np.empty(x.shape)
        self.saved = []
        a = self.config.decay_forward
        for sample, out in zip(x, z, strict=True):
            sigma = (self.var + self.config.eps) ** 0.5
            y = (sample - self.mean) / sigma
            out[:], scale = self.scaled(gamma * y + beta)
            self.saved.append((y, sigma, out, scale, gamma))
            values = sample.reshape(-1, len(gamma))
            mu = sum(values) / len(values)
            var = sum((value - mu) ** 2 for value in values) / len(values)
            self.var = a * self.var + (1 - a) * var + a * (1 - a) * (mu - self.mean) ** 2
            self.mean = a * self.mean + (1 - a) * mu
            self.samples_seen += 1
        self.sizes["z"] = np.max(np.abs(z)) + np.abs(beta)
        return z

    def backward(self, dz: Array) -> tuple[Array, Array, Array]:
        dx = np.empty(dz.shape)
        channels = dz.shape[-1]
        dgamma, dbeta, terms = np.zeros(channels), np.zeros(channels), np.zeros((3, channels))
        held = 1 - self.config.decay_backward
        for upstream, out, (y, sigma, z, scale, gamma) in zip(dz, dx, self.saved, strict=True):
            if self.config.layer_scaling:
                upstream = (upstream - z * np.mean(upstream * z)) / scale
            dgamma += sum((upstream * y).reshape(-1, channels))
            dbeta += sum(upstream.reshape(-1, channels))
            g = gamma * upstream - held * self.v * y
            self.v = self.v + np.mean((g * y).reshape(-1, channels), axis=0)
            g = g / sigma
            out[:] = g - held * self.u
            self.u = self.u + np.mean(out.reshape(-1, channels), axis=0)
            size = [np.max(np.abs(a).reshape(-1, channels), axis=0) for a in (upstream, y, gamma * upstream / sigma)]
            terms += [size[0] * out.size, size[0] * size[1] * out.size, size[2] + np.abs(held * self.u)]
        self.sizes |= {"dbeta": terms[0], "dgamma": terms[1], "dx": terms[2] + np.max(np.abs(dx))}
        self.sizes |= {"v": np.abs(self.v) + terms[1], "u": np.abs(self.u) + terms[2]}
        return dx, dgamma, dbeta

    def infer(self, x: Array, gamma: Array, beta: Array) -> Array:
        y = (x - self.mean) / (self.var + self.config.eps) ** 0.5
        return np.stack([self.scaled(sample)[0] for sample in gamma * y + beta])


class FrozenBatchNorm:
    """One map per channel, of constants."""

    def __init__(self, channels: int, config: Any) -> None:
        self.config = config
        self.mean, self.var = np.zeros(channels), np.ones(channels)

    def load(self, state: Any, groups: int) -> None:
        self.mean, self.var = state.mean, state.var

    def state(self) -> dict[str, Any]:
        return {"mean": self.mean, "var": self.var}

    def forward(self, x: Array, gamma: Array, beta: Array) -> Array:
        self.x, self.gamma = x, gamma
        return self.infer(x, gamma, beta)

    def backward(self, dz: Array) -> tuple[Array, Array, Array]:
        dx, dgamma, dbeta = np.empty(dz.shape), np.zeros(dz.shape[-1]), np.zeros(dz.shape[-1])
        for c in range(dz.shape[-1]):
            slope = 1 / (self.var[c] + self.config.eps) ** 0.5
            dx[..., c] = self.gamma[c] * slope * dz[..., c]
            dgamma[c] = np.sum(dz[..., c] * slope * (self.x[..., c] - self.mean[c]))
            dbeta[c] = np.sum(dz[..., c])
        return dx, dgamma, dbeta

    def infer(self, x: Array, gamma: Array, beta: Array) -> Array:
        return gamma * (x - self.mean) / (self.var + self.config.eps) ** 0.5 + beta

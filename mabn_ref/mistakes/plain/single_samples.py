"""Normalisers of single samples, and frozen batch normalisation, the plain way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.mistakes.plain.batch_statistics import BatchNorm, Normaliser


class GroupNorm(Normaliser):
    """Batch normalisation's equations over the values of one sample and one group of channels."""

    centring = 1  #: 0 where no mean is subtracted

    def parts(self, x: Array) -> Iterator[tuple[Array, slice]]:
        """The groups of every sample."""
        each = 1 if self.config.groups is None else x.shape[-1] // self.config.groups
        for sample in x:
            for first in range(0, x.shape[-1], each):
                channels = slice(first, first + each)
                yield sample[..., channels], channels

    def part_forward(self, values: Array, gamma: Array, beta: Array) -> Array:
        centred = values - self.centring * np.mean(values)
        sigma = (np.mean(centred**2) + self.config.eps) ** 0.5
        y = centred / sigma
        self.saved.append((y, sigma, gamma))
        return gamma * y + beta

    def part_backward(self, upstream: Array, *saved: Any) -> tuple[Array, Array]:
        y, sigma, gamma = saved
        jacobian = np.eye(y.size) - self.centring / y.size - np.outer(y, y) / y.size
        return ((upstream * gamma).ravel() @ jacobian / sigma).reshape(y.shape), upstream * y

    def infer(self, x: Array, gamma: Array, beta: Array) -> Array:
        return self.forward(x, gamma, beta)


class RMSNorm(GroupNorm):
    """Modified batch normalisation's equations over the channels of one position, or the positions of one channel."""

    centring = 0

    def parts(self, x: Array) -> Iterator[tuple[Array, slice]]:
        """All values that share a mean square."""
        if self.config.axes == "channels":
            yield from ((row, slice(None)) for row in x.reshape(-1, x.shape[-1]))
        else:
            yield from ((x[n, ..., c : c + 1], slice(c, c + 1)) for n, c in np.ndindex(len(x), x.shape[-1]))


class OnlineNorm(Normaliser):
    """One sample after the other, forward and backward."""

    kept = ("mean", "var", "u", "v", "iteration")
    held = "first sample"

    def __init__(self, channels: int, config: Any) -> None:
        super().__init__(channels, config)
        self.mean, self.var = np.zeros(channels), np.ones(channels)
        self.u, self.v = np.zeros(channels), np.zeros(channels)

    def scaled(self, sample: Array) -> tuple[Array, Any]:
        scale = (np.mean(sample**2) + self.config.eps) ** 0.5 if self.config.layer_scaling else 1.0
        return sample / scale, scale

    def forward(self, x: Array, gamma: Array, beta: Array) -> Array:
        z = np.empty(x.shape, np.result_type(float, x, gamma, beta))
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
            self.iteration += 1
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


class FrozenBatchNorm(BatchNorm):
    """One map per channel, of constants."""

    kept = ("mean", "var")

    def part_forward(self, values: Array, gamma: Array, beta: Array) -> Array:
        self.saved.append((values, gamma))
        return self.infer(values, gamma, beta)

    def part_backward(self, upstream: Array, *saved: Any) -> tuple[Array, Array]:
        values, gamma = saved
        slope = 1 / (self.var + self.config.eps) ** 0.5
        return gamma * slope * upstream, upstream * slope * (values - self.mean)

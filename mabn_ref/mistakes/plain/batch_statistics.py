"""Batch normalisation, Batch Renormalization and EvalNorm, the plain way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from mabn_ref.arrays import Array


class Normaliser:
    """A call is taken apart into what is normalised together: here normalisation batches of shape (M, C)."""

    kept: tuple[str, ...] = ()  #: the attributes that are fields of the state
    held = ""  #: of what its backward pass is the derivative, where that is not all of forward, in a word or two
    derivative_with: ClassVar[dict[str, Any]] = {}  #: fields of the Config with which it is, if it is with some alone

    def __init__(self, channels: int, config: Any) -> None:
        self.config = config
        self.iteration = 0
        self.saved: list[Any] = []  # what backward needs of each part
        self.sizes: dict[str, Array] = {}  # how large the terms of a quantity are, where they may cancel in it

    def load(self, state: Any, groups: int) -> None:
        """Go on forward from the state of an implementation that is called with `groups` normalisation batches."""
        for name in self.kept:
            setattr(self, name, getattr(state, name))

    def state(self) -> dict[str, Any]:
        return {name: np.array(getattr(self, name)) for name in self.kept}

    def parts(self, x: Array) -> Iterator[tuple[Array, slice]]:
        """The parts of a call in order, as views, each with its channels."""
        each = getattr(self.config, "norm_batch", None) or len(x)
        for first in range(0, len(x), each):
            yield x[first : first + each].reshape(-1, x.shape[-1]), slice(None)

    def averaged(self, old: Array, value: Array) -> Array:
        """(12): the weight `decay` is that of the old value."""
        return self.config.decay * old + (1 - self.config.decay) * value

    def forward(self, x: Array, gamma: Array, beta: Array) -> Array:
        z = np.empty(x.shape, np.result_type(float, x, gamma, beta))
        self.saved = []
        for (values, channels), (out, _) in zip(self.parts(x), self.parts(z), strict=True):
            out[:] = self.part_forward(values, gamma[channels], beta[channels])
        return z

    def part_forward(self, values: Array, gamma: Array, beta: Array) -> Array:
        """The output of one part."""
        raise NotImplementedError

    def backward(self, dz: Array) -> tuple[Array, Array, Array]:
        dx, dgamma, dbeta = np.empty(dz.shape), np.zeros(dz.shape[-1]), np.zeros(dz.shape[-1])
        for saved, (upstream, channels), (out, _) in zip(self.saved, self.parts(dz), self.parts(dx), strict=True):
            out[:], of_gamma = self.part_backward(upstream, *saved)
            width = len(dgamma[channels])
            dgamma[channels] += sum(of_gamma.reshape(-1, width))
            dbeta[channels] += sum(upstream.reshape(-1, width))
        return dx, dgamma, dbeta

    def part_backward(self, upstream: Array, *saved: Any) -> tuple[Array, Array]:
        """The dx of one part, and each value's share of dgamma."""
        raise NotImplementedError


class BatchNorm(Normaliser):
    """(1) to (5)."""

    kept: tuple[str, ...] = ("mean", "var", "iteration")

    def __init__(self, channels: int, config: Any) -> None:
        super().__init__(channels, config)
        self.mean, self.var = np.zeros(channels), np.ones(channels)

    def part_forward(self, values: Array, gamma: Array, beta: Array) -> Array:
        mu = sum(values) / len(values)
        var = sum((value - mu) ** 2 for value in values) / len(values)
        self.iteration += 1
        r, d = self.corrections(mu, var)
        sigma = (var + self.config.eps) ** 0.5
        y = (values - mu) / sigma
        self.saved.append((y, sigma, r, d, gamma))
        self.move(mu, var)
        return gamma * (y * r + d) + beta

    def corrections(self, mu: Array, var: Array) -> tuple[Any, Any]:
        return 1.0, 0.0

    def move(self, mu: Array, var: Array) -> None:
        self.mean, self.var = self.averaged(self.mean, mu), self.averaged(self.var, var)

    def part_backward(self, upstream: Array, *saved: Any) -> tuple[Array, Array]:
        y, sigma, r, d, gamma = saved
        dx, dy = np.empty(y.shape), gamma * r * upstream
        for c in range(y.shape[1]):
            # The matrix of all dy_i/dx_j: an x moves its own y, and every y through mu and sigma.
            jacobian = np.eye(len(y)) - 1 / len(y) - np.outer(y[:, c], y[:, c]) / len(y)
            dx[:, c] = dy[:, c] @ jacobian / sigma[c]
        return dx, upstream * (r * y + d)

    def infer(self, x: Array, gamma: Array, beta: Array) -> Array:
        return gamma * (x - self.mean) / (self.var + self.config.eps) ** 0.5 + beta


class SyncBatchNorm(BatchNorm):
    """Synchronised ranks share one batch, their union."""

    held = "over ranks"


class BatchRenorm(BatchNorm):
    """(14); r and d are numbers in backward."""

    held = "r and d held"

    def __init__(self, channels: int, config: Any) -> None:
        super().__init__(channels, config)
        self.sigma = (self.var + config.eps) ** 0.5

    def load(self, state: Any, groups: int) -> None:
        super().load(state, groups)
        self.sigma = (state.var + self.config.eps) ** 0.5

    def corrections(self, mu: Array, var: Array) -> tuple[Any, Any]:
        r_max, d_max = self.bound(self.config.r_max), self.bound(self.config.d_max)
        r = (var + self.config.eps) ** 0.5 / self.sigma
        d = (mu - self.mean) / self.sigma
        return np.minimum(np.maximum(r, 1 / r_max), r_max), np.minimum(np.maximum(d, -d_max), d_max)

    def bound(self, bound: Any) -> float:
        """The clip of this normalisation batch."""
        if not hasattr(bound, "start"):
            return float(bound)
        return float(np.interp(self.iteration, [bound.start, bound.stop], [bound.first, bound.last]))

    def move(self, mu: Array, var: Array) -> None:
        super().move(mu, var)
        if self.config.ema_of == "sigma":
            self.sigma = self.averaged(self.sigma, (var + self.config.eps) ** 0.5)
            self.var = self.sigma**2 - self.config.eps
        else:
            self.sigma = (self.var + self.config.eps) ** 0.5


class EvalNorm(BatchNorm):
    """Batch normalisation, and an inference by the mixture of two statistics, sample by sample."""

    kept = ("mean", "var", "iteration", "a", "b")
    held = "in training"

    def __init__(self, channels: int, config: Any) -> None:
        super().__init__(channels, config)
        self.a, self.b = np.array([1 / config.norm_batch]), np.array([1 / config.norm_batch])
        self.sizes = {"a": np.ones(1), "b": np.ones(1)}

    def mixed(self, sample: Array, a: Array, b: Array) -> Array:
        """A sample normalised as at inference."""
        values = sample.reshape(-1, len(self.mean))
        m = values.mean(axis=0)
        v = ((values - m) ** 2).mean(axis=0)
        mean, var = a * m + (1 - a) * self.mean, b * v + (1 - b) * self.var
        if self.config.merged:
            var = var + a * (1 - a) * (m - self.mean) ** 2
        return (sample - mean) / (var + self.config.eps) ** 0.5

    def part_forward(self, values: Array, gamma: Array, beta: Array) -> Array:
        samples = values.reshape(self.config.norm_batch, -1, len(gamma))
        a, b = self.estimate(samples) if self.config.estimated else (self.a, self.b)
        z = super().part_forward(values, gamma, beta)
        self.a, self.b = a, b
        return z

    def estimate(self, samples: Array) -> tuple[Array, Array]:
        """A step down the slope of half the mean squared difference of outputs, taken by the complex step."""
        y = (samples - samples.mean(axis=(0, 1))) / (samples.var(axis=(0, 1)) + self.config.eps) ** 0.5

        def mismatch(a: Array, b: Array) -> Any:
            return np.mean(
                [np.mean((self.mixed(sample, a, b) - t) ** 2) / 2 for sample, t in zip(samples, y, strict=True)]
            )

        slopes = mismatch(self.a + 1e-30j, self.b).imag / 1e-30, mismatch(self.a, self.b + 1e-30j).imag / 1e-30
        moved = [old - self.config.rate * slope for old, slope in zip((self.a, self.b), slopes, strict=True)]
        return np.minimum(np.maximum(moved[0], 0), 1), np.minimum(np.maximum(moved[1], 0), 1)

    def infer(self, x: Array, gamma: Array, beta: Array) -> Array:
        return np.stack([gamma * self.mixed(sample, self.a, self.b) + beta for sample in x])

"""Modified batch normalisation, MABN, PowerNorm and Unified Normalization, the plain way."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.mistakes.plain.batch_statistics import Normaliser


def pushed(window: Array, value: Array) -> Array:
    """The window with one more value at its end, and without the oldest."""
    return np.array([*window[1:], value])


class ModifiedBatchNorm(Normaliser):
    """(15) and (16)."""

    kept: tuple[str, ...] = ("chi2", "iteration")

    def __init__(self, channels: int, config: Any) -> None:
        super().__init__(channels, config)
        self.chi2 = np.ones(channels)

    def part_forward(self, values: Array, gamma: Array, beta: Array) -> Array:
        chi2 = sum(value**2 for value in values) / len(values)
        chi = (chi2 + self.config.eps) ** 0.5
        self.saved.append((values / chi, chi, gamma))
        self.iteration += 1
        self.chi2 = self.averaged(self.chi2, chi2)
        return gamma * values / chi + beta

    def part_backward(self, upstream: Array, *saved: Any) -> tuple[Array, Array]:
        y, chi, gamma = saved
        dx = np.empty(y.shape)
        for c in range(y.shape[1]):
            jacobian = np.eye(len(y)) - np.outer(y[:, c], y[:, c]) / len(y)
            dx[:, c] = gamma[c] * upstream[:, c] @ jacobian / chi[c]
        return dx, upstream * y

    def infer(self, x: Array, gamma: Array, beta: Array) -> Array:
        return gamma * x / (self.chi2 + self.config.eps) ** 0.5 + beta


class MABN(ModifiedBatchNorm):
    """(19) and (20), and the choices of its Config; a window is zero where there has been no batch yet."""

    kept = ("chi2", "chi2_window", "psi_window", "iteration")
    held = "one call"

    def __init__(self, channels: int, config: Any) -> None:
        # the paper's choices, where the Config has no others
        choices = {"partial_window": "mean", "ema_of": "batch", "ema_per": "micro_batch", "ema_read": "before"}
        config = SimpleNamespace(**{**choices, "ema_start": 1.0, **vars(config)})
        super().__init__(channels, config)
        self.started = config.ema_start != "first"
        self.chi2 = np.full(channels, float(config.ema_start) if self.started else 1.0)
        self.chi2_window = self.psi_window = np.zeros((config.window, channels))
        self.seen = self.came_back = 0  # how many batches forward and backward have had

    def load(self, state: Any, groups: int) -> None:
        super().load(state, groups)
        self.seen = state.iteration * (groups if self.config.ema_per == "call" else 1)
        self.started = self.started or self.seen > 0

    def forward(self, x: Array, gamma: Array, beta: Array) -> Array:
        z = np.empty(x.shape, np.result_type(float, x, gamma, beta))
        self.saved = []
        per_call = self.config.ema_per == "call"
        if per_call:
            self.iteration += 1
        used: list[Array] = []
        fed: list[Array] = []
        for values, _ in self.parts(x):
            iteration = self.iteration if per_call else self.iteration + len(used) + 1
            chi2_batch = sum(value**2 for value in values) / len(values)
            self.chi2_window = pushed(self.chi2_window, chi2_batch)
            self.seen += 1
            chi2 = chi2_batch if self.own(iteration) else sum(self.chi2_window) / min(self.seen, self.config.window)
            used.append(chi2)
            fed.append(chi2 if self.config.ema_of == "window" else chi2_batch)
        for k, ((values, _), (out, _), chi2) in enumerate(zip(self.parts(x), self.parts(z), used, strict=True)):
            if not per_call:
                self.iteration += 1
                before, after = self.feed(fed[k])
            elif k == 0:
                before, after = self.feed(sum(fed) / len(fed))
            chi = (chi2 + self.config.eps) ** 0.5
            chi_hat = ((before if self.config.ema_read == "before" else after) + self.config.eps) ** 0.5
            r = np.minimum(np.maximum(chi / chi_hat, 1 / self.config.clip), self.config.clip)
            if self.iteration < self.config.renorm_from:
                r = np.ones_like(r)
            y = values / chi
            out[:] = gamma * (r * y) + beta
            self.saved.append((y, chi, r, gamma, self.own(self.iteration)))
        return z

    def own(self, iteration: int) -> bool:
        """Whether this iteration uses the batch's own statistics."""
        early = self.config.partial_window == "batch" and iteration <= self.config.window
        return bool(early or iteration < self.config.warmup)

    def feed(self, value: Array) -> tuple[Array, Array]:
        """Update the exponential average; return it before and after."""
        before = self.chi2 if self.started else value
        self.chi2, self.started = self.averaged(before, value), True
        return before, self.chi2

    def part_backward(self, upstream: Array, *saved: Any) -> tuple[Array, Array]:
        y, chi, r, gamma, own = saved
        dy = r * (gamma * upstream)
        psi = sum(y * dy) / len(y)
        self.psi_window = pushed(self.psi_window, psi)
        self.came_back += 1
        if not own:
            psi = sum(self.psi_window) / min(self.came_back, self.config.window)
        return (dy - y * psi) / chi, upstream * (r * y)


class MABNVariants(MABN):
    """The same, with a Config that has the choices."""


class PowerNorm(ModifiedBatchNorm):
    """The recurrence of the authors' code, with its running sum of the gradient along y."""

    kept = ("chi2", "iteration", "v")
    held = "v = 0"

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


class UnifiedNorm(ModifiedBatchNorm):
    """The authors' code, batch by batch; the places of its ring are a queue here."""

    kept = ("chi2", "iteration", "chi2_window", "psi", "psi_window")
    held = "m = 1"

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

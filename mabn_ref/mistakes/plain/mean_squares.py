"""Modified batch normalisation and MABN, the plain way."""

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

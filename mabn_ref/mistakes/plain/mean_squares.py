"""Modified batch normalisation and MABN, the plain way."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.mistakes.plain.batch_statistics import Normaliser


class ModifiedBatchNorm(Normaliser):
    """(15) and (16)."""

    def __init__(self, channels: int, config: Any) -> None:
        super().__init__(channels, config)
        self.chi2 = np.ones(channels)

    def load(self, state: Any, groups: int) -> None:
        self.chi2, self.batches_seen = state.chi2, state.iteration

    def state(self) -> dict[str, Any]:
        return {"chi2": self.chi2, "iteration": self.batches_seen}

    def batch_forward(self, values: Array, gamma: Array, beta: Array) -> Array:
        chi2 = sum(value**2 for value in values) / len(values)
        chi = (chi2 + self.config.eps) ** 0.5
        self.saved.append((values / chi, chi, gamma))
        self.batches_seen += 1
        self.chi2 = self.averaged(self.chi2, chi2)
        return gamma * values / chi + beta

    def batch_backward(self, upstream: Array, *saved: Any) -> tuple[Array, Array]:
        y, chi, gamma = saved
        dx = np.empty(y.shape)
        for c in range(y.shape[1]):
            jacobian = np.eye(len(y)) - np.outer(y[:, c], y[:, c]) / len(y)
            dx[:, c] = gamma[c] * upstream[:, c] @ jacobian / chi[c]
        return dx, sum(upstream * y)

    def infer(self, x: Array, gamma: Array, beta: Array) -> Array:
        return gamma * x / (self.chi2 + self.config.eps) ** 0.5 + beta


class MABN(Normaliser):
    """(19) and (20), and the choices of its Config."""

    def __init__(self, channels: int, config: Any) -> None:
        # the paper's choices, where the Config has no others
        choices = {"partial_window": "mean", "ema_of": "batch", "ema_per": "micro_batch", "ema_read": "before"}
        config = SimpleNamespace(**{**choices, "ema_start": 1.0, **vars(config)})
        super().__init__(channels, config)
        self.chi2: Array = None if config.ema_start == "first" else np.full(channels, float(config.ema_start))
        self.unset = np.ones(channels)  # what a state says of an average that has not started
        self.chi2_window: deque[Array] = deque(maxlen=config.window)
        self.psi_window: deque[Array] = deque(maxlen=config.window)
        self.iterations = 0

    def load(self, state: Any, groups: int) -> None:
        seen = state.iteration * (groups if self.config.ema_per == "call" else 1)
        held = min(seen, self.config.window)
        self.chi2_window.extend(state.chi2_window[self.config.window - held :])
        self.iterations = state.iteration
        if self.config.ema_start != "first" or seen:
            self.chi2 = state.chi2

    def state(self) -> dict[str, Any]:
        return {
            "chi2": self.unset if self.chi2 is None else self.chi2,
            "chi2_window": self.padded(self.chi2_window),
            "psi_window": self.padded(self.psi_window),
            "iteration": self.iterations,
        }

    def padded(self, window: deque[Array]) -> Array:
        """Zeros where there has been no batch yet."""
        missing = self.config.window - len(window)
        return np.array([0 * self.unset] * missing + list(window))

    def forward(self, x: Array, gamma: Array, beta: Array) -> Array:
        z = np.empty(x.shape)
        self.saved = []
        pairs = list(zip(self.batches(x), self.batches(z), strict=True))
        per_call = self.config.ema_per == "call"
        if per_call:
            self.iterations += 1
        used: list[Array] = []
        fed: list[Array] = []
        for values, _ in pairs:
            iteration = self.iterations if per_call else self.iterations + len(used) + 1
            chi2_batch = sum(value**2 for value in values) / len(values)
            self.chi2_window.append(chi2_batch)
            chi2 = chi2_batch if self.own(iteration) else sum(self.chi2_window) / len(self.chi2_window)
            used.append(chi2)
            fed.append(chi2 if self.config.ema_of == "window" else chi2_batch)
        for k, ((values, out), chi2) in enumerate(zip(pairs, used, strict=True)):
            if not per_call:
                self.iterations += 1
                before, after = self.feed(fed[k])
            elif k == 0:
                before, after = self.feed(sum(fed) / len(fed))
            chi = (chi2 + self.config.eps) ** 0.5
            chi_hat = ((before if self.config.ema_read == "before" else after) + self.config.eps) ** 0.5
            r = np.minimum(np.maximum(chi / chi_hat, 1 / self.config.clip), self.config.clip)
            if self.iterations < self.config.renorm_from:
                r = np.ones_like(r)
            y = values / chi
            out[:] = gamma * (r * y) + beta
            self.saved.append((y, chi, r, gamma, self.own(self.iterations)))
        return z

    def own(self, iteration: int) -> bool:
        """Whether this iteration uses the batch's own statistics."""
        early = self.config.partial_window == "batch" and iteration <= self.config.window
        return bool(early or iteration < self.config.warmup)

    def feed(self, value: Array) -> tuple[Array, Array]:
        """Update the exponential average; return it before and after."""
        before = value if self.chi2 is None else self.chi2
        self.chi2 = self.averaged(before, value)
        return before, self.chi2

    def batch_backward(self, upstream: Array, *saved: Any) -> tuple[Array, Array]:
        y, chi, r, gamma, own = saved
        dy = r * (gamma * upstream)
        psi = sum(y * dy) / len(y)
        self.psi_window.append(psi)
        if not own:
            psi = sum(self.psi_window) / len(self.psi_window)
        return (dy - y * psi) / chi, sum(upstream * (r * y))

    def infer(self, x: Array, gamma: Array, beta: Array) -> Array:
        return gamma * x / (self.state()["chi2"] + self.config.eps) ** 0.5 + beta

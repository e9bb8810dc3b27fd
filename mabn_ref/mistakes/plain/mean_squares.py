"""Modified batch normalisation, MABN, PowerNorm and Unified Normalization, the plain way."""

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


class PowerNorm(ModifiedBatchNorm):
    """The recurrence of the authors' code, with its running sum of the gradient along y."""

    def __init__(self, channels: int, config: Any) -> None:
        super().__init__(channels, config)
        self.v = np.zeros(channels)
        self.sizes: dict[str, Array] = {}

    def state(self) -> dict[str, Any]:
        return super().state() | {"v": self.v}

    def batch_forward(self, values: Array, gamma: Array, beta: Array) -> Array:
        self.batches_seen += 1
        t = self.batches_seen
        chi2 = sum(value**2 for value in values) / len(values)
        used = chi2 if t <= self.config.warmup else self.chi2
        y = values / (used + self.config.eps) ** 0.5
        back = chi2 if self.config.backward_by == "batch" else used
        self.saved.append((y, (back + self.config.eps) ** 0.5, gamma))
        if t < self.config.warmup:  # a mean of all so far, before it is averaged as ever
            self.chi2 = self.chi2 * (t - 1) / t + chi2 / t
        self.chi2 = self.averaged(self.chi2, chi2)
        return gamma * y + beta

    def batch_backward(self, upstream: Array, *saved: Any) -> tuple[Array, Array]:
        y, chi, gamma = saved
        through = gamma * upstream - (1 - self.config.decay_backward) * self.v * y
        size = np.max(np.abs(gamma * upstream), axis=0) + np.abs(self.v) * np.max(np.abs(y), axis=0)
        self.v = self.v + sum(through * y) / len(y)
        self.sizes = {"v": np.abs(self.v) + size * np.max(np.abs(y), axis=0), "dx": size / chi}
        return through / chi, sum(upstream * y)


class UnifiedNorm(ModifiedBatchNorm):
    """The authors' code, batch by batch; the places of its ring are a queue here."""

    def __init__(self, channels: int, config: Any) -> None:
        super().__init__(channels, config)
        self.psi = np.zeros(channels)
        self.windows = [deque([np.zeros(channels)] * config.window, config.window) for _ in range(2)]
        self.came_back = 0
        self.sizes: dict[str, Array] = {}

    def load(self, state: Any, groups: int) -> None:
        super().load(state, groups)
        self.windows = [deque(w, self.config.window) for w in (state.chi2_window, state.psi_window)]

    def state(self) -> dict[str, Any]:
        chi2, psi = (np.array(window) for window in self.windows)
        return super().state() | {"chi2_window": chi2, "psi": self.psi, "psi_window": psi}

    def geometric(self, window: deque[Array]) -> Array:
        """By logarithms, of which that of zero is none."""
        values = np.array(window)
        logs = np.log(np.where(values > 0, values, 1.0))
        return np.where(np.all(values > 0, axis=0), np.exp(sum(logs) / len(logs)), 0.0)

    def of_batch(self, t: int) -> bool:
        return bool(t <= self.config.window or t < self.config.warmup)

    def batch_forward(self, values: Array, gamma: Array, beta: Array) -> Array:
        self.batches_seen += 1
        t, eps, window = self.batches_seen, self.config.eps, self.windows[0]
        chi2 = sum(value**2 for value in values) / len(values)
        roots = np.sqrt(np.array(window)).ravel()
        recorded = sum((roots - roots.mean()) ** 2) / max(roots.size - 1, 1)
        window.append(chi2)
        alone = self.config.window == 1
        if self.config.outliers and not alone and t >= self.config.warmup:
            apart = sum(window) / len(window) - self.geometric(window)
            if np.any(apart > recorded * len(window)):
                window[-1], alone = self.chi2, True
        own = alone or self.of_batch(t)
        used = chi2 if own else self.geometric(window)
        r = ((used + eps) / (self.chi2 + eps)) ** 0.5
        r = np.minimum(np.maximum(r, 1 / self.config.clip), self.config.clip)
        if alone or t < self.config.renorm_from:
            r = np.ones_like(r)
        chi = (used + eps) ** 0.5
        self.saved.append((values / chi, chi, r, alone, gamma))
        self.chi2 = self.averaged(self.chi2, used)
        return gamma * values / chi + beta

    def batch_backward(self, upstream: Array, *saved: Any) -> tuple[Array, Array]:
        y, chi, r, alone, gamma = saved
        self.came_back += 1
        g, window = gamma * upstream * r, self.windows[1]
        psi = sum(g * y) / len(y)
        window.append(self.psi if alone else psi)
        mean = psi if alone or self.of_batch(self.came_back) else sum(window) / len(window)
        self.psi = self.averaged(self.psi, mean)
        size = np.max(np.abs(g), axis=0) * np.max(np.abs(y), axis=0)
        scale = size + np.max(np.abs(np.array(window)), axis=0)
        self.sizes = {"psi": scale, "psi_window": scale, "chi2_window": np.max(np.array(self.windows[0]), axis=0)}
        return (g - y * (mean if alone else self.psi)) / chi, sum(upstream * r * y)

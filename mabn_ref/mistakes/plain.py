"""The definitions once more, written to be obvious: one normalisation batch at a time, lists and loops, no algebra.

An independent transcription of the equations, float64 alone, against which implementations are judged; it shares no
line with `mabn_ref.norms` and `mabn_ref.nn`, and is itself checked against the recorded runs of the authors' code.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np

from mabn_ref.arrays import Array

__all__ = ["LAYERS", "MABN", "NORMS", "BatchNorm", "BatchRenorm", "GroupNorm", "ModifiedBatchNorm", "sgd"]


class _Normaliser:
    """What the four have in common: a call is taken apart into normalisation batches of shape (M, C)."""

    def __init__(self, channels: int, config: Any) -> None:
        self.config = config
        self.batches_seen = 0
        self.saved: list[Any] = []

    def batches(self, x: Array) -> Iterator[Array]:
        """The normalisation batches of a call, in order, as views."""
        each = len(x) if self.config.norm_batch is None else self.config.norm_batch
        for first in range(0, len(x), each):
            yield x[first : first + each].reshape(-1, x.shape[-1])

    def load(self, state: Any, groups: int) -> None:
        """Go on forward from the state of an implementation that is called with `groups` normalisation batches."""
        raise NotImplementedError

    def averaged(self, old: Array, value: Array) -> Array:
        """(12): the weight `decay` is that of the old value."""
        return self.config.decay * old + (1 - self.config.decay) * value


class BatchNorm(_Normaliser):
    """(1) to (5)."""

    def __init__(self, channels: int, config: Any) -> None:
        super().__init__(channels, config)
        self.mean, self.var = np.zeros(channels), np.ones(channels)

    def load(self, state: Any, groups: int) -> None:
        self.mean, self.var = state.mean, state.var

    def state(self) -> dict[str, Any]:
        return {"mean": self.mean, "var": self.var}

    def forward(self, x: Array, gamma: Array, beta: Array) -> Array:
        z = np.empty(x.shape)
        self.saved = []
        for values, out in zip(self.batches(x), self.batches(z), strict=True):
            mu = sum(values) / len(values)
            var = sum((value - mu) ** 2 for value in values) / len(values)
            self.batches_seen += 1
            r, d = self.corrections(mu, var)
            sigma = (var + self.config.eps) ** 0.5
            y = (values - mu) / sigma
            out[:] = gamma * (y * r + d) + beta
            self.saved.append((y, sigma, r, d, gamma))
            self.move(mu, var)
        return z

    def corrections(self, mu: Array, var: Array) -> tuple[Any, Any]:
        return 1.0, 0.0

    def move(self, mu: Array, var: Array) -> None:
        self.mean, self.var = self.averaged(self.mean, mu), self.averaged(self.var, var)

    def backward(self, dz: Array) -> tuple[Array, Array, Array]:
        dx = np.empty(dz.shape)
        dgamma = dbeta = np.zeros(dz.shape[-1])
        for (y, sigma, r, d, gamma), upstream, out in zip(
            self.saved, self.batches(dz), self.batches(dx), strict=True
        ):
            dgamma = dgamma + sum(upstream * (r * y + d))
            dbeta = dbeta + sum(upstream)
            dy = gamma * r * upstream
            for c in range(dz.shape[-1]):
                # The matrix of all dy_i/dx_j: an x moves its own y, and every y through mu and sigma.
                jacobian = np.eye(len(y)) - 1 / len(y) - np.outer(y[:, c], y[:, c]) / len(y)
                out[:, c] = dy[:, c] @ jacobian / sigma[c]
        return dx, dgamma, dbeta

    def infer(self, x: Array, gamma: Array, beta: Array) -> Array:
        return gamma * (x - self.mean) / (self.var + self.config.eps) ** 0.5 + beta


class BatchRenorm(BatchNorm):
    """(14); r and d are numbers in backward."""

    def __init__(self, channels: int, config: Any) -> None:
        super().__init__(channels, config)
        self.sigma = (self.var + config.eps) ** 0.5

    def load(self, state: Any, groups: int) -> None:
        super().load(state, groups)
        self.sigma, self.batches_seen = (state.var + self.config.eps) ** 0.5, state.iteration

    def state(self) -> dict[str, Any]:
        return {"mean": self.mean, "var": self.var, "iteration": self.batches_seen}

    def corrections(self, mu: Array, var: Array) -> tuple[Any, Any]:
        r_max, d_max = self.bound(self.config.r_max), self.bound(self.config.d_max)
        r = (var + self.config.eps) ** 0.5 / self.sigma
        d = (mu - self.mean) / self.sigma
        return np.minimum(np.maximum(r, 1 / r_max), r_max), np.minimum(np.maximum(d, -d_max), d_max)

    def bound(self, bound: Any) -> float:
        """The clip of this normalisation batch."""
        if not hasattr(bound, "start"):
            return float(bound)
        return float(np.interp(self.batches_seen, [bound.start, bound.stop], [bound.first, bound.last]))

    def move(self, mu: Array, var: Array) -> None:
        super().move(mu, var)
        if self.config.ema_of == "sigma":
            self.sigma = self.averaged(self.sigma, (var + self.config.eps) ** 0.5)
            self.var = self.sigma**2 - self.config.eps
        else:
            self.sigma = (self.var + self.config.eps) ** 0.5


class ModifiedBatchNorm(_Normaliser):
    """(15) and (16)."""

    def __init__(self, channels: int, config: Any) -> None:
        super().__init__(channels, config)
        self.chi2 = np.ones(channels)

    def load(self, state: Any, groups: int) -> None:
        self.chi2 = state.chi2

    def state(self) -> dict[str, Any]:
        return {"chi2": self.chi2}

    def forward(self, x: Array, gamma: Array, beta: Array) -> Array:
        z = np.empty(x.shape)
        self.saved = []
        for values, out in zip(self.batches(x), self.batches(z), strict=True):
            chi2 = sum(value**2 for value in values) / len(values)
            chi = (chi2 + self.config.eps) ** 0.5
            y = values / chi
            out[:] = gamma * y + beta
            self.saved.append((y, chi, gamma))
            self.chi2 = self.averaged(self.chi2, chi2)
        return z

    def backward(self, dz: Array) -> tuple[Array, Array, Array]:
        dx = np.empty(dz.shape)
        dgamma = dbeta = np.zeros(dz.shape[-1])
        for (y, chi, gamma), upstream, out in zip(self.saved, self.batches(dz), self.batches(dx), strict=True):
            dgamma = dgamma + sum(upstream * y)
            dbeta = dbeta + sum(upstream)
            for c in range(dz.shape[-1]):
                jacobian = np.eye(len(y)) - np.outer(y[:, c], y[:, c]) / len(y)
                out[:, c] = gamma[c] * upstream[:, c] @ jacobian / chi[c]
        return dx, dgamma, dbeta

    def infer(self, x: Array, gamma: Array, beta: Array) -> Array:
        return gamma * x / (self.chi2 + self.config.eps) ** 0.5 + beta


class MABN(_Normaliser):
    """(19) and (20), and the choices of its Config."""

    def __init__(self, channels: int, config: Any) -> None:
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

    def backward(self, dz: Array) -> tuple[Array, Array, Array]:
        dx = np.empty(dz.shape)
        dgamma = dbeta = np.zeros(dz.shape[-1])
        for (y, chi, r, gamma, own), upstream, out in zip(
            self.saved, self.batches(dz), self.batches(dx), strict=True
        ):
            dgamma = dgamma + sum(upstream * (r * y))
            dbeta = dbeta + sum(upstream)
            dy = r * (gamma * upstream)
            psi = sum(y * dy) / len(y)
            self.psi_window.append(psi)
            if not own:
                psi = sum(self.psi_window) / len(self.psi_window)
            out[:] = (dy - y * psi) / chi
        return dx, dgamma, dbeta

    def infer(self, x: Array, gamma: Array, beta: Array) -> Array:
        return gamma * x / (self.state()["chi2"] + self.config.eps) ** 0.5 + beta


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


class EvalNorm(BatchNorm):
    """Batch normalisation, and an inference by the mixture of two statistics, sample by sample."""

    def __init__(self, channels: int, config: Any) -> None:
        super().__init__(channels, config)
        self.a, self.b = np.array([1 / config.norm_batch]), np.array([1 / config.norm_batch])
        self.sizes = {"a": 1.0, "b": 1.0}

    def load(self, state: Any, groups: int) -> None:
        super().load(state, groups)
        self.a, self.b = state.a, state.b

    def state(self) -> dict[str, Any]:
        return {"mean": self.mean, "var": self.var, "a": self.a, "b": self.b}

    def mixed(self, sample: Array, a: Array, b: Array) -> Array:
        """A sample normalised as at inference."""
        values = sample.reshape(-1, len(self.mean))
        m = values.mean(axis=0)
        v = ((values - m) ** 2).mean(axis=0)
        mean, var = a * m + (1 - a) * self.mean, b * v + (1 - b) * self.var
        if self.config.merged:
            var = var + a * (1 - a) * (m - self.mean) ** 2
        return (sample - mean) / (var + self.config.eps) ** 0.5

    def forward(self, x: Array, gamma: Array, beta: Array) -> Array:
        z, each = np.empty(x.shape), self.config.norm_batch
        saved = []
        for first in range(0, len(x), each):
            samples = x[first : first + each]
            if self.config.estimated:
                a, b = self.estimate(samples)
            z[first : first + each] = super().forward(samples, gamma, beta)
            saved += self.saved
            if self.config.estimated:
                self.a, self.b = a, b
        self.saved = saved
        return z

    def estimate(self, samples: Array) -> tuple[Array, Array]:
        """A step down the slope of half the mean squared difference of outputs, taken by the complex step."""
        axes = tuple(range(samples.ndim - 1))
        y = (samples - samples.mean(axis=axes)) / (samples.var(axis=axes) + self.config.eps) ** 0.5

        def mismatch(a: Array, b: Array) -> Any:
            return np.mean(
                [np.mean((self.mixed(sample, a, b) - t) ** 2) / 2 for sample, t in zip(samples, y, strict=True)]
            )

        slopes = mismatch(self.a + 1e-30j, self.b).imag / 1e-30, mismatch(self.a, self.b + 1e-30j).imag / 1e-30
        moved = [old - self.config.rate * slope for old, slope in zip((self.a, self.b), slopes, strict=True)]
        return np.minimum(np.maximum(moved[0], 0), 1), np.minimum(np.maximum(moved[1], 0), 1)

    def infer(self, x: Array, gamma: Array, beta: Array) -> Array:
        return np.stack([gamma * self.mixed(sample, self.a, self.b) + beta for sample in x])


class OnlineNorm:
    """One sample after the other, forward and backward."""

    def __init__(self, channels: int, config: Any) -> None:
        self.config = config
        self.mean, self.var = np.zeros(channels), np.ones(channels)
        self.u, self.v = np.zeros(channels), np.zeros(channels)
        self.saved: list[Any] = []
        self.sizes: dict[str, Array] = {}  # how large the terms of each quantity are, which may cancel in it

    def load(self, state: Any, groups: int) -> None:
        self.mean, self.var = state.mean, state.var

    def state(self) -> dict[str, Any]:
        return {"mean": self.mean, "var": self.var, "u": self.u, "v": self.v}

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


NORMS: dict[str, Any] = {
    "batch_norm": BatchNorm,
    "batch_renorm": BatchRenorm,
    "modified_batch_norm": ModifiedBatchNorm,
    "mabn": MABN,
    "group_norm": GroupNorm,
    "eval_norm": EvalNorm,
    "online_norm": OnlineNorm,
    "sync_batch_norm": BatchNorm,
}
"""By the name of the module in `mabn_ref.norms`. Synchronised ranks share one batch, their union."""


def conv2d(x: Array, w: Array, *, stride: int, padding: int) -> Array:
    """Every output position looks at its own piece of the padded image."""
    kh, kw = w.shape[:2]
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    rows, columns = (x.shape[1] - kh) // stride + 1, (x.shape[2] - kw) // stride + 1
    out = np.empty((len(x), rows, columns, w.shape[3]))
    for i in range(rows):
        for j in range(columns):
            piece = x[:, i * stride : i * stride + kh, j * stride : j * stride + kw, :]
            out[:, i, j, :] = np.tensordot(piece, w, 3)
    return out


def centralize(w: Array) -> Array:
    """(18): one output filter at a time."""
    return np.stack([w[..., o] - w[..., o].mean() for o in range(w.shape[3])], axis=3)


def standardize(w: Array, *, eps: float = 1e-5) -> Array:
    """One output filter at a time."""
    filters = [w[..., o] for o in range(w.shape[3])]
    return np.stack([(f - f.mean()) / (((f - f.mean()) ** 2).mean() + eps) ** 0.5 for f in filters], axis=3)


def linear(x: Array, w: Array, b: Array) -> Array:
    """One sample at a time."""
    return np.stack([sum(x[n, i] * w[i] for i in range(len(w))) + b for n in range(len(x))])


def relu(x: Array) -> Array:
    """The positive part."""
    return np.where(x > 0, x, 0)


def global_average_pool(x: Array) -> Array:
    """One image at a time."""
    return np.stack([image.reshape(-1, x.shape[3]).mean(axis=0) for image in x])


def upsample(x: Array) -> Array:
    """Pixel by pixel: an output looks up where it lies, halved."""
    n, h, w, c = x.shape
    out = np.empty((n, 2 * h, 2 * w, c))
    for i, j in np.ndindex(2 * h, 2 * w):
        out[:, i, j] = x[:, i // 2, j // 2]
    return out


def softmax_cross_entropy(logits: Array, *, labels: Array) -> Array:
    """Minus the logarithm of each right class's probability, averaged."""
    odds = [np.exp(row) / np.exp(row[label]) for row, label in zip(logits, labels, strict=True)]
    return np.mean([np.log(sum(row)) for row in odds])


LAYERS: dict[str, Any] = {
    "conv2d": conv2d,
    "centralize": centralize,
    "standardize": standardize,
    "linear": linear,
    "relu": relu,
    "global_average_pool": global_average_pool,
    "upsample": upsample,
    "softmax_cross_entropy": softmax_cross_entropy,
}
"""By the name of the module in `mabn_ref.nn`."""


def sgd(
    params: list[dict[str, Array]], grads: Any, *, lr: float, momentum: float, weight_decay: float
) -> Iterator[tuple[list[dict[str, Array]], list[dict[str, Array]]]]:
    """Yield the parameters and velocity after each step."""
    params = [dict(layer) for layer in params]
    velocity = [{name: np.zeros(p.shape) for name, p in layer.items()} for layer in params]
    for grad in grads:
        for layer, g, v in zip(params, grad, velocity, strict=True):
            for name in layer:
                v[name] = momentum * v[name] + g[name] + weight_decay * layer[name]
                layer[name] = layer[name] - lr * v[name]
        yield [dict(layer) for layer in params], [dict(v) for v in velocity]

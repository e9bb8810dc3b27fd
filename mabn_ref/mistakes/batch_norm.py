"""Wrong passes of batch normalisation. The right line for dx is ``(dy - g - y * psi) / sigma``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.mistakes.draws import calls
from mabn_ref.mistakes.mistake import Mistake
from mabn_ref.norms import batch_norm
from mabn_ref.norms.batch_norm import Cache, Config, State, moments
from mabn_ref.norms.micro_batches import merge, split
from mabn_ref.norms.moving import ema

__all__ = ["MISTAKES"]


class _Terms(NamedTuple):
    """The letters of (4), all to be multiplied with (G, M, C)."""

    dz: Array
    dy: Array
    y: Array
    g: Array
    psi: Array
    sigma: Array
    values: int

    @property
    def std(self) -> Array:
        """sqrt(var), without eps."""
        return np.sqrt(_mean((self.y * self.sigma) ** 2))


def _mean(a: Array) -> Array:
    return np.mean(a, axis=1, keepdims=True)


def _terms(dz: Array, cache: Cache) -> _Terms:
    dz = split(dz, cache.config.norm_batch)
    dy = dz * cache.gamma
    return _Terms(dz, dy, cache.y, _mean(dy), _mean(cache.y * dy), cache.sigma[:, None, :], dz.shape[1])


def _dx(formula: Callable[[_Terms], Array]) -> Callable[..., Any]:
    """Backward with another formula for dx."""

    def backward(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
        _, dgamma, dbeta, state = batch_norm.backward(dz, cache, state)
        return merge(formula(_terms(dz, cache)), cache.shape), dgamma, dbeta, state

    return backward


def _dgamma_dbeta(formula: Callable[[_Terms], tuple[Array, Array]]) -> Callable[..., Any]:
    """Backward with other formulas for dgamma and dbeta."""

    def backward(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
        dx, _, _, state = batch_norm.backward(dz, cache, state)
        return dx, *formula(_terms(dz, cache)), state

    return backward


def _over_std(t: _Terms) -> Array:
    y = t.y * t.sigma / t.std
    return (t.dy - t.g - y * _mean(y * t.dy)) / t.std


def _forward(
    variance: Callable[[Array, int], Array] = lambda var, values: var,
    sigma: Callable[[Array, float], Array] = lambda var, eps: np.sqrt(var + eps),
) -> Callable[..., Any]:
    """Forward with another batch variance, or another sigma from it."""

    def forward(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
        xs = split(x, config.norm_batch)
        mu, var, centred = moments(xs)
        var = variance(var, xs.shape[1])
        divisor = sigma(var, config.eps)
        y = centred / divisor[:, None, :]
        cache = Cache(y, divisor, gamma, tuple(x.shape), config)
        return merge(gamma * y + beta, x.shape), cache, _moved(state, mu, var, config.decay)

    return forward


def _moved(state: State, mu: Array, var: Array, decay: float) -> State:
    return State(ema(state.mean, mu, decay)[1][-1], ema(state.var, var, decay)[1][-1])


def _state(formula: Callable[[State, Array, Array, int, Config], State]) -> Callable[..., Any]:
    """Forward with other moving statistics, from the old ones, mu, var, |B| and the configuration."""

    def forward(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
        z, cache, _ = batch_norm.forward(x, gamma, beta, state, config)
        mu, var = batch_norm.statistics(x, config)
        return z, cache, formula(state, mu, var, config.norm_batch or len(x), config)

    return forward


def _bessel(samples: int) -> float:
    return samples / (samples - 1) if samples > 1 else float("nan")


def _channels_together(
    x: Array, gamma: Array, beta: Array, state: State, config: Config
) -> tuple[Array, Cache, State]:
    xs = split(x, config.norm_batch)
    alike = np.ones((1, x.shape[-1]), dtype=x.dtype)
    mu = np.mean(xs, axis=(1, 2))[:, None] * alike
    var = np.mean((xs - mu[:, None, :]) ** 2, axis=(1, 2))[:, None] * alike
    sigma = np.sqrt(var + config.eps)
    y = (xs - mu[:, None, :]) / sigma[:, None, :]
    cache = Cache(y, sigma, gamma, tuple(x.shape), config)
    return merge(gamma * y + beta, x.shape), cache, _moved(state, mu, var, config.decay)


def _channels_together_dx(t: _Terms) -> Array:
    g, psi = (np.mean(a, axis=(1, 2), keepdims=True) for a in (t.dy, t.y * t.dy))
    return (t.dy - g - t.y * psi) / t.sigma


def _positions_apart(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
    positions = int(np.prod(x.shape[1:-1]))
    each = State(np.tile(state.mean, positions), np.tile(state.var, positions))
    flat = x.reshape(len(x), -1)
    z, cache, each = _forward()(flat, np.tile(gamma, positions), np.tile(beta, positions), each, config)
    mean, var = (np.mean(a.reshape(positions, -1), axis=0) for a in each)
    return z.reshape(x.shape), cache, State(mean, var)


def _positions_apart_backward(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    dx, dgamma, dbeta, state = batch_norm.backward(dz.reshape(len(dz), -1), cache, state)
    dgamma, dbeta = (np.sum(a.reshape(-1, dz.shape[-1]), axis=0) for a in (dgamma, dbeta))
    return dx.reshape(dz.shape), dgamma, dbeta, state


def _whole_call(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
    return batch_norm.forward(x, gamma, beta, state, replace(config, norm_batch=None))


def _variance_zero(channels: int, config: Config, *, dtype: Any, xp: Any = np) -> State:
    return batch_norm.init(channels, config, dtype=dtype, xp=xp)._replace(var=xp.zeros((channels,), dtype=dtype))


def _infer_batch(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> Array:
    axes = tuple(range(x.ndim - 1))
    mu = np.mean(x, axis=axes)
    return gamma * (x - mu) / np.sqrt(np.mean((x - mu) ** 2, axis=axes) + config.eps) + beta


def _infer_no_eps(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> Array:
    return gamma * (x - state.mean) / np.sqrt(state.var) + beta


_mistake = partial(Mistake, subject=batch_norm)
_any = calls(batch_norm)
_large_eps = calls(batch_norm, eps=0.3)
_slow = calls(batch_norm, decay=0.9)

MISTAKES = (
    _mistake(
        name="bn-no-g",
        code={"backward": _dx(lambda t: (t.dy - t.y * t.psi) / t.sigma)},
        sentence="Your dx is what you get without the g_B term of equation (4): every x also moves the mean.",
        equation="bn-backward (4)",
        oracle="gradient",
        draw=_any,
    ),
    _mistake(
        name="bn-no-psi",
        code={"backward": _dx(lambda t: (t.dy - t.g) / t.sigma)},
        sentence="Your dx is what you get without the Psi_B term of equation (4): every x also moves the variance.",
        equation="bn-backward (4)",
        oracle="gradient",
        draw=_any,
    ),
    _mistake(
        name="bn-statistics-constant",
        code={"backward": _dx(lambda t: t.dy / t.sigma)},
        sentence="Your dx is dy / sigma_B, as if mean and variance were constants: equation (4) has two more terms.",
        equation="bn-backward (4)",
        oracle="gradient",
        draw=_any,
    ),
    _mistake(
        name="bn-sums-for-means",
        code={"backward": _dx(lambda t: (t.dy - t.values * t.g - t.y * t.values * t.psi) / t.sigma)},
        sentence="Your g_B and Psi_B are sums over the batch where equation (5) has means.",
        equation="bn-gradient-statistics (5)",
        oracle="gradient",
        draw=_any,
    ),
    _mistake(
        name="bn-whole-call-backward",
        code={
            "backward": _dx(
                lambda t: (
                    (t.dy - np.mean(t.g, axis=0, keepdims=True) - t.y * np.mean(t.psi, axis=0, keepdims=True))
                    / t.sigma
                )
            )
        },
        sentence="Your g_B and Psi_B are means over the whole call; each normalisation batch has its own.",
        equation="bn-gradient-statistics (5)",
        oracle="gradient",
        draw=calls(batch_norm, groups=2),
    ),
    _mistake(
        name="bn-gamma-forgotten",
        code={"backward": _dx(lambda t: (t.dz - _mean(t.dz) - t.y * _mean(t.y * t.dz)) / t.sigma)},
        sentence="Your dx lacks gamma: equation (4) starts from dy = gamma * dz, not from dz.",
        equation="bn-backward (4)",
        oracle="gradient",
        draw=_any,
    ),
    _mistake(
        name="bn-variance-for-sigma",
        code={"backward": _dx(lambda t: (t.dy - t.g - t.y * t.psi) / t.sigma**2)},
        sentence="Your dx is divided by the variance where equation (4) divides by its root, sigma_B.",
        equation="bn-backward (4)",
        oracle="gradient",
        draw=_any,
    ),
    _mistake(
        name="bn-backward-no-eps",
        code={"backward": _dx(lambda t: (t.dy - t.g - t.y * t.psi) / t.std)},
        sentence="Your dx is divided by sqrt(var) where forward divided by sqrt(var + eps).",
        equation="bn-backward (4)",
        oracle="gradient",
        draw=_large_eps,
    ),
    _mistake(
        name="bn-backward-recomputed-without-eps",
        code={"backward": _dx(_over_std)},
        sentence="Your backward computes y and sigma_B once more and forgets the eps that forward had in them.",
        equation="bn-backward (4)",
        oracle="gradient",
        draw=_large_eps,
    ),
    _mistake(
        name="bn-dgamma-not-normalised",
        code={
            "backward": _dgamma_dbeta(
                lambda t: (np.sum(t.dz * t.y * t.sigma, axis=(0, 1)), np.sum(t.dz, axis=(0, 1))),
            )
        },
        sentence="Your dgamma sums dz * (x - mu_B): gamma multiplies y, so y it must be, already divided by sigma_B.",
        equation="affine-backward",
        oracle="gradient",
        draw=_any,
    ),
    _mistake(
        name="bn-parameter-means",
        code={"backward": _dgamma_dbeta(lambda t: (np.mean(t.dz * t.y, axis=(0, 1)), np.mean(t.dz, axis=(0, 1))))},
        sentence="Your dgamma and dbeta are means over the samples, but gamma and beta act on all of them: sum.",
        equation="affine-backward",
        oracle="gradient",
        draw=_any,
    ),
    _mistake(
        name="bn-unbiased-variance",
        code={
            "forward": _forward(variance=lambda var, values: var * values / (values - 1)),
            "backward": _dx(lambda t: (t.dy - t.g - t.y * t.psi * t.values / (t.values - 1)) / t.sigma),
        },
        sentence="Your variance divides by the number of values less one; equation (2) divides by their number.",
        equation="bn-statistics (2)",
        oracle="forward",
        draw=_any,
    ),
    _mistake(
        name="bn-no-eps",
        code={"forward": _forward(sigma=lambda var, eps: np.sqrt(var))},
        sentence="Your forward divides by sqrt(var) and leaves out eps.",
        equation="bn-normalise (1)",
        oracle="forward",
        draw=_large_eps,
    ),
    _mistake(
        name="bn-eps-outside",
        code={
            "forward": _forward(sigma=lambda var, eps: np.sqrt(var) + eps),
            "backward": _dx(lambda t: (t.dy - t.g - t.y * t.psi * t.sigma / t.std) / t.sigma),
        },
        sentence="Your forward divides by sqrt(var) + eps; eps belongs inside the root.",
        equation="bn-normalise (1)",
        oracle="forward",
        draw=_large_eps,
    ),
    _mistake(
        name="bn-eps-twice",
        code={"forward": _forward(sigma=lambda var, eps: np.sqrt(var + 2 * eps))},
        sentence="Your forward has eps in the root twice.",
        equation="bn-normalise (1)",
        oracle="forward",
        draw=_large_eps,
    ),
    _mistake(
        name="bn-channels-together",
        code={"forward": _channels_together, "backward": _dx(_channels_together_dx)},
        sentence="Your mean and variance are taken over the channels too: every channel has its own.",
        equation="bn-statistics (2)",
        oracle="forward",
        draw=calls(batch_norm, channels=3),
    ),
    _mistake(
        name="bn-positions-apart",
        code={"forward": _positions_apart, "backward": _positions_apart_backward},
        sentence="Your mean and variance are taken over samples alone: all positions of an image count as values.",
        equation="bn-statistics (2)",
        oracle="forward",
        draw=calls(batch_norm, norm_batch=3, space=(2, 2)),
    ),
    _mistake(
        name="bn-whole-call",
        code={"forward": _whole_call},
        sentence="Your mean and variance are taken over the whole call: norm_batch samples at a time share them.",
        equation="bn-statistics (2)",
        oracle="forward",
        draw=calls(batch_norm, groups=2),
    ),
    _mistake(
        name="bn-weights-swapped",
        code={"forward": _state(lambda old, mu, var, samples, config: _moved(old, mu, var, 1 - config.decay))},
        sentence="Your moving statistics give the weight decay to the new value; it is the weight of the old one.",
        equation="ema-forward (12)",
        oracle="recurrence",
        draw=_slow,
    ),
    _mistake(
        name="bn-running-var-over-samples",
        code={
            "forward": _state(
                lambda old, mu, var, samples, config: _moved(old, mu, var * _bessel(samples), config.decay)
            )
        },
        sentence="Your moving variance is scaled by N / (N - 1) with N the samples, though each has many positions.",
        equation="ema-forward (12)",
        oracle="recurrence",
        draw=calls(batch_norm, norm_batch=3, space=(2, 2)),
    ),
    _mistake(
        name="bn-running-var-holds-eps",
        code={
            "forward": _state(lambda old, mu, var, samples, config: _moved(old, mu, var + config.eps, config.decay))
        },
        sentence="Your moving variance has eps in it already, so inference counts eps twice.",
        equation="ema-forward (12)",
        oracle="recurrence",
        draw=_large_eps,
    ),
    _mistake(
        name="bn-variance-starts-at-zero",
        code={"init": _variance_zero},
        sentence="Your moving variance starts at 0, so early inference divides by next to nothing; it starts at 1.",
        equation="ema-forward (12)",
        oracle="recurrence",
        draw=_slow,
    ),
    _mistake(
        name="bn-infer-batch-statistics",
        code={"infer": _infer_batch},
        sentence="Your inference normalises by the batch at hand; it is to use the moving statistics.",
        equation="bn-infer",
        oracle="forward",
        draw=_slow,
    ),
    _mistake(
        name="bn-infer-no-eps",
        code={"infer": _infer_no_eps},
        sentence="Your inference divides by sqrt(var) and leaves out the eps that training had.",
        equation="bn-infer",
        oracle="forward",
        draw=_large_eps,
    ),
)

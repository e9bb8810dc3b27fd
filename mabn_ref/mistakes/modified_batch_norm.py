"""Wrong passes of modified batch normalisation. The right line for dx is ``(dy - y * psi) / chi``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.mistakes.draws import calls
from mabn_ref.mistakes.mistake import Mistake
from mabn_ref.norms import modified_batch_norm
from mabn_ref.norms.batch_norm import moments
from mabn_ref.norms.micro_batches import merge, split
from mabn_ref.norms.modified_batch_norm import Cache, Config, State
from mabn_ref.norms.moving import ema

__all__ = ["MISTAKES"]


class _Terms(NamedTuple):
    """The letters of (16), all to be multiplied with (G, M, C)."""

    dz: Array
    dy: Array
    y: Array
    psi: Array
    chi: Array


def _mean(a: Array) -> Array:
    return np.mean(a, axis=1, keepdims=True)


def _dx(formula: Callable[[_Terms], Array]) -> Callable[..., Any]:
    """Backward with another formula for dx."""

    def backward(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
        _, dgamma, dbeta, state = modified_batch_norm.backward(dz, cache, state)
        dz = split(dz, cache.config.norm_batch)
        dy = dz * cache.gamma
        terms = _Terms(dz, dy, cache.y, _mean(cache.y * dy), cache.chi[:, None, :])
        return merge(formula(terms), cache.shape), dgamma, dbeta, state

    return backward


def _forward(statistic: Callable[[Array], Array], root: Callable[[Array], Array]) -> Callable[..., Any]:
    """Forward with another statistic of (G, M, C), or something else than its root as divisor."""

    def forward(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
        xs = split(x, config.norm_batch)
        chi2 = statistic(xs)
        chi = root(chi2 + config.eps)
        y = xs / chi[:, None, :]
        cache = Cache(y, chi, gamma, tuple(x.shape), config)
        return merge(gamma * y + beta, x.shape), cache, State(ema(state.chi2, chi2, config.decay)[1][-1])

    return forward


def _weights_swapped(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
    z, cache, _ = modified_batch_norm.forward(x, gamma, beta, state, config)
    return z, cache, State(ema(state.chi2, modified_batch_norm.statistics(x, config), 1 - config.decay)[1][-1])


_mistake = partial(Mistake, subject=modified_batch_norm)
_any = calls(modified_batch_norm)

MISTAKES = (
    _mistake(
        name="modified-no-psi",
        code={"backward": _dx(lambda t: t.dy / t.chi)},
        sentence="Your dx is what you get without the Psi_B term of equation (16): every x also moves chi_B.",
        equation="modified-backward (16)",
        oracle="gradient",
        draw=_any,
    ),
    _mistake(
        name="modified-keeps-g",
        code={"backward": _dx(lambda t: (t.dy - _mean(t.dy) - t.y * t.psi) / t.chi)},
        sentence="Your dx still has the g_B term of equation (4); no mean is subtracted here, so none comes back.",
        equation="modified-backward (16)",
        oracle="gradient",
        draw=_any,
    ),
    _mistake(
        name="modified-variance",
        code={
            "forward": _forward(lambda xs: moments(xs)[1], np.sqrt),
            "backward": _dx(lambda t: (t.dy - (t.y - _mean(t.y)) * t.psi) / t.chi),
        },
        sentence="Your chi_B^2 is the variance; equation (15) has the mean square, no mean subtracted.",
        equation="modified-statistics (15)",
        oracle="forward",
        draw=_any,
    ),
    _mistake(
        name="modified-no-root",
        code={
            "forward": _forward(lambda xs: _mean(xs**2)[:, 0, :], lambda chi2: chi2),
            "backward": _dx(lambda t: (t.dy - 2 * t.chi * t.y * t.psi) / t.chi),
        },
        sentence="Your y is x over the mean square; equation (15) divides by its root, chi_B.",
        equation="modified-normalise (15)",
        oracle="forward",
        draw=_any,
    ),
    _mistake(
        name="modified-weights-swapped",
        code={"forward": _weights_swapped},
        sentence="Your moving mean square gives the weight decay to the new value; it is the weight of the old one.",
        equation="ema-forward (12)",
        oracle="recurrence",
        draw=calls(modified_batch_norm, decay=0.9),
    ),
)

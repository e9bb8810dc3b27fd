"""Wrong passes of MABN. The right line for dx is ``(dy - y * psi) / chi``, psi and chi^2 averaged over the window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.mistakes.draws import calls
from mabn_ref.mistakes.mistake import Mistake
from mabn_ref.norms import mabn
from mabn_ref.norms.mabn import Cache, Config, State
from mabn_ref.norms.micro_batches import merge, split
from mabn_ref.norms.moving import ema, sma

__all__ = ["MISTAKES"]


class _Phase(NamedTuple):
    """Where a call stands."""

    seen: int
    """Normalisation batches before it."""
    own: Array
    """(G, 1): which use their own statistics."""
    renormalised: Array
    """(G, 1): which have an r."""


def _phase(iteration: int, groups: int, config: Config) -> _Phase:
    per_call = config.ema_per == "call"
    steps: Array = np.zeros(groups) if per_call else np.arange(groups)
    iterations = iteration + 1 + steps[:, None]
    early = (config.partial_window == "batch") & (iterations <= config.window)
    own = early | (iterations < config.warmup)
    return _Phase(iteration * (groups if per_call else 1), own, iterations >= config.renorm_from)


def _forward(
    average: Callable[[Array, Array, int], tuple[Array, Array]] = lambda held, batch, seen: sma(
        held, batch, seen=seen
    ),
    correction: Callable[[Array], Array] = lambda ratio: ratio,
) -> Callable[..., Any]:
    """Forward with another average of chi^2 over the window, or another r before it is clipped."""

    def forward(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
        xs = split(x, config.norm_batch)
        batch = np.mean(xs**2, axis=1)
        phase = _phase(state.iteration, len(xs), config)
        averaged, window = average(state.chi2_window, batch, phase.seen)
        chi2: Array = np.where(phase.own, batch, averaged)
        fed = chi2 if config.ema_of == "window" else batch
        if config.ema_per == "call":
            fed = np.mean(fed, axis=0, keepdims=True)
        first = state.iteration == 0 and config.ema_start == "first"
        before, after = ema(fed[0] if first else state.chi2, fed, config.decay)
        chi = np.sqrt(chi2 + config.eps)
        chi_hat = np.sqrt((before if config.ema_read == "before" else after) + config.eps)
        r = np.clip(correction(chi / chi_hat), 1 / config.clip, config.clip)
        r = np.where(phase.renormalised, r, np.ones_like(r))
        y = xs / chi[:, None, :]
        cache = Cache(y, chi, r, gamma, state.iteration, tuple(x.shape), config)
        new = State(after[-1], window, state.psi_window, state.iteration + len(fed))
        return merge(gamma * (r[:, None, :] * y) + beta, x.shape), cache, new

    return forward


def _one_short(held: Array, batch: Array, seen: int) -> tuple[Array, Array]:
    window = np.concatenate([held, batch])[-len(held) :]
    return (sma(held[1:], batch, seen=seen)[0] if len(held) > 1 else batch), window


def _zeros_counted(held: Array, batch: Array, seen: int) -> tuple[Array, Array]:
    return sma(held, batch)


def _roots_averaged(held: Array, batch: Array, seen: int) -> tuple[Array, Array]:
    chi, _ = sma(np.sqrt(held), np.sqrt(batch), seen=seen)
    return chi**2, np.concatenate([held, batch])[-len(held) :]


def _configured(**changes: Any) -> Callable[..., Any]:
    """Forward under another configuration; backward goes on under the one given."""

    def forward(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
        z, cache, state = mabn.forward(x, gamma, beta, state, replace(config, **changes))
        return z, cache._replace(config=config), state

    return forward


def _weights_swapped(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
    swapped = min(1 - config.decay, 1 - 2**-53)  # a Config takes no decay of 1
    z, cache, state = mabn.forward(x, gamma, beta, state, replace(config, decay=swapped))
    return z, cache._replace(config=config), state


class _Terms(NamedTuple):
    """The letters of (20), all to be multiplied with (G, M, C)."""

    dz: Array
    dy: Array
    y: Array
    r: Array
    chi: Array


def _terms(dz: Array, cache: Cache) -> _Terms:
    dz, r = split(dz, cache.config.norm_batch), cache.r[:, None, :]
    return _Terms(dz, dz * cache.gamma * r, cache.y, r, cache.chi[:, None, :])


def _psi(t: _Terms) -> Array:
    return np.mean(t.y * t.dy, axis=1)


def _averaged(batch: Array, held: Array, cache: Cache) -> tuple[Array, Array]:
    """The average of the window or, in the phases that say so, the batch's own; and the new window."""
    phase = _phase(cache.iteration, len(batch), cache.config)
    average, window = sma(held, batch, seen=phase.seen)
    return np.where(phase.own, batch, average), window


def _backward(
    psi: Callable[[_Terms], Array] = _psi,
    average: Callable[[Array, Array, Cache], tuple[Array, Array]] = _averaged,
) -> Callable[..., Any]:
    """Backward with another batch statistic, or another average of it."""

    def backward(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
        _, dgamma, dbeta, _ = mabn.backward(dz, cache, state)
        t = _terms(dz, cache)
        averaged, window = average(psi(t), state.psi_window, cache)
        dx = (t.dy - t.y * averaged[:, None, :]) / t.chi
        return merge(dx, cache.shape), dgamma, dbeta, state._replace(psi_window=window)

    return backward


def _not_averaged(batch: Array, held: Array, cache: Cache) -> tuple[Array, Array]:
    return batch, sma(held, batch)[1]


def _one_late(batch: Array, held: Array, cache: Cache) -> tuple[Array, Array]:
    phase = _phase(cache.iteration, len(batch), cache.config)
    rows = np.concatenate([held, batch])
    earlier = [
        np.sum(rows[g : g + len(held)], axis=0) / max(min(phase.seen + g, len(held)), 1) for g in range(len(batch))
    ]
    return np.where(phase.own, batch, np.stack(earlier)), rows[-len(held) :]


def _exponential(batch: Array, held: Array, cache: Cache) -> tuple[Array, Array]:
    phase = _phase(cache.iteration, len(batch), cache.config)
    _, after = ema(held[-1], batch, cache.config.decay)
    return np.where(phase.own, batch, after), np.concatenate([held, after])[-len(held) :]


def _no_warm_up(batch: Array, held: Array, cache: Cache) -> tuple[Array, Array]:
    return sma(held, batch, seen=_phase(cache.iteration, len(batch), cache.config).seen)


def _r_forgotten(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    _, dgamma, dbeta, _ = mabn.backward(dz, cache, state)
    dx, _, _, state = mabn.backward(dz, cache._replace(r=np.ones_like(cache.r)), state)
    return dx, dgamma, dbeta, state


def _dgamma_of_y(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    dx, _, dbeta, state = mabn.backward(dz, cache, state)
    return dx, np.sum(split(dz, cache.config.norm_batch) * cache.y, axis=(0, 1)), dbeta, state


def _dx_averaged(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    _, dgamma, dbeta, _ = mabn.backward(dz, cache, state._replace(psi_window=np.zeros_like(state.chi2_window)))
    t = _terms(dz, cache)
    own = (t.dy - t.y * _psi(t)[:, None, :]) / t.chi
    flat = own.reshape(len(own), -1)
    held = state.psi_window
    if held.shape[1:] != flat.shape[1:]:  # at the start, and when batches change their size
        held = np.zeros((len(held), flat.shape[1]), dtype=dz.dtype)
    averaged, window = _averaged(flat, held, cache)
    return averaged.reshape(cache.shape), dgamma, dbeta, state._replace(psi_window=window)


def _one_call(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    _, dgamma, dbeta, _ = mabn.backward(dz, cache, state)
    t = _terms(dz, cache)
    groups = len(t.y)
    # Row s: how much of each batch of this call is in the statistic that batch s uses.
    share, _ = _averaged(
        np.eye(groups, dtype=dz.dtype), np.zeros((cache.config.window, groups), dtype=dz.dtype), cache
    )
    dx = t.dy / t.chi - t.y * t.chi * (share.T @ (_psi(t) / cache.chi**2))[:, None, :]
    return merge(dx, cache.shape), dgamma, dbeta, state


def _infer_window(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> Array:
    held = max(int(np.count_nonzero(np.any(state.chi2_window != 0, axis=1))), 1)
    return gamma * x / np.sqrt(np.sum(state.chi2_window, axis=0) / held + config.eps) + beta


_mistake = partial(Mistake, subject=mabn)
_settings: dict[str, Any] = {
    "window": 3,
    "decay": 0.9,
    "clip": 5.0,
    "warmup": 0,
    "partial_window": "mean",
    "renorm_from": 1,
    "ema_of": "batch",
    "ema_per": "micro_batch",
    "ema_read": "before",
    "ema_start": 1.0,
}
_any = calls(mabn, **_settings, count=6)
# Where r is not clipped, z is gamma * x / chi_hat, whatever the window holds.
_no_r = calls(mabn, **_settings | {"clip": 1.0}, count=6)

MISTAKES = (
    _mistake(
        name="mabn-psi-of-this-batch",
        code={"backward": _backward(average=_not_averaged)},
        sentence="Your backward uses Psi_B of this batch; equation (20) has its average over the window.",
        equation="mabn-backward (20)",
        oracle="one-call derivative",
        draw=_any,
    ),
    _mistake(
        name="mabn-psi-window-one-late",
        code={"backward": _backward(average=_one_late)},
        sentence="Your average of Psi is that of the batches before this one; this one belongs to the window.",
        equation="sma-backward (13)",
        oracle="one-call derivative",
        draw=_any,
    ),
    _mistake(
        name="mabn-psi-exponential",
        code={"backward": _backward(average=_exponential)},
        sentence="Your average of Psi is exponential; backward has the simple one, over the last m batches.",
        equation="sma-backward (13)",
        oracle="one-call derivative",
        draw=_any,
    ),
    _mistake(
        name="mabn-psi-without-gamma",
        code={"backward": _backward(psi=lambda t: np.mean(t.y * t.r * t.dz, axis=1))},
        sentence="Your Psi_B is the mean of y * r * dz; the gradient that reaches y has gamma in it too.",
        equation="bn-gradient-statistics (5)",
        oracle="one-call derivative",
        draw=_any,
    ),
    _mistake(
        name="mabn-r-forgotten-in-backward",
        code={"backward": _r_forgotten},
        sentence="Your dx lacks r: equation (20) starts from dL/dy = r * dL/dz.",
        equation="mabn-backward (20)",
        oracle="one-call derivative",
        draw=_any,
    ),
    _mistake(
        name="mabn-dx-averaged",
        code={"backward": _dx_averaged},
        sentence="Your backward averages dx over the window, though other samples' dx mean nothing here.",
        equation="mabn-backward (20)",
        oracle="one-call derivative",
        draw=_any,
    ),
    _mistake(
        name="mabn-dgamma-before-r",
        code={"backward": _dgamma_of_y},
        sentence="Your dgamma sums dz * y with the y from before r; gamma multiplies r * y.",
        equation="mabn-affine-backward",
        oracle="one-call derivative",
        draw=_any,
    ),
    _mistake(
        name="mabn-derivative-of-one-call",
        code={"backward": _one_call},
        sentence="Your dx is the derivative of this call alone; equation (20) has the Psi of earlier batches in it.",
        equation="mabn-backward (20)",
        oracle="recurrence",
        draw=_any,
    ),
    _mistake(
        name="mabn-warm-up-forward-only",
        code={"backward": _backward(average=_no_warm_up)},
        sentence="Your backward averages Psi during warm-up, while your forward uses each batch's own chi^2.",
        equation="sma-backward (13)",
        oracle="recurrence",
        draw=calls(mabn, **_settings | {"warmup": 6}, count=5),
    ),
    _mistake(
        name="mabn-window-one-short",
        code={"forward": _forward(average=_one_short)},
        sentence="Your chi^2 is averaged over m - 1 batches, not m.",
        equation="sma-backward (13)",
        oracle="forward",
        draw=_no_r,
    ),
    _mistake(
        name="mabn-zeros-counted",
        code={"forward": _forward(average=_zeros_counted)},
        sentence="Your average of chi^2 divides by m before m batches have been seen; divide by the number held.",
        equation="sma-backward (13)",
        oracle="forward",
        draw=_no_r,
    ),
    _mistake(
        name="mabn-chi-averaged",
        code={"forward": _forward(average=_roots_averaged)},
        sentence="Your forward averages chi_B over the window; average chi_B^2, then take the root.",
        equation="mabn-forward (19)",
        oracle="forward",
        draw=_no_r,
    ),
    _mistake(
        name="mabn-r-of-squares",
        code={"forward": _forward(correction=lambda ratio: ratio**2)},
        sentence="Your r is a ratio of mean squares; it is that of their roots, chi over its exponential average.",
        equation="mabn-renormalise (19)",
        oracle="forward",
        draw=_any,
    ),
    _mistake(
        name="mabn-no-renormalisation",
        code={"forward": _configured(clip=1.0)},
        sentence="Your output lacks r: equation (19) has Z = r * Y.",
        equation="mabn-forward (19)",
        oracle="forward",
        draw=_any,
    ),
    _mistake(
        name="mabn-read-after-update",
        code={"forward": _configured(ema_read="after")},
        sentence="Your r reads the exponential average after this batch has gone into it; read, then update.",
        equation="mabn-renormalise (19)",
        oracle="forward",
        draw=_any,
    ),
    _mistake(
        name="mabn-ema-of-window",
        code={"forward": _configured(ema_of="window")},
        sentence="Your exponential average is fed the window's mean, as by the authors' code; feed it chi_B^2.",
        equation="ema-forward (12)",
        oracle="recurrence",
        draw=_any,
    ),
    _mistake(
        name="mabn-weights-swapped",
        code={"forward": _weights_swapped},
        sentence="Your exponential average gives the weight decay to the new value; it is the weight of the old one.",
        equation="ema-forward (12)",
        oracle="recurrence",
        draw=_any,
    ),
    _mistake(
        name="mabn-infer-window",
        code={"infer": _infer_window},
        sentence="Your inference divides by the simple average of the last batches; use the exponential one.",
        equation="modified-infer",
        oracle="forward",
        draw=_any,
    ),
)

"""Wrong passes of Batch Renormalization. The right corrections are ``r = clip(sigma / sigma_hat)``, ``d = clip((mu -
mu_hat) / sigma_hat)``, the hats being moving statistics from before the batch, and both are constants in backward.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.mistakes.draws import calls
from mabn_ref.mistakes.mistake import Mistake
from mabn_ref.norms import batch_renorm
from mabn_ref.norms.batch_renorm import Cache, Config, Ramp, State
from mabn_ref.norms.micro_batches import merge, split
from mabn_ref.norms.moving import ema

__all__ = ["MISTAKES"]


class _Terms(NamedTuple):
    """The letters of (14), each (G, C); the bounds are numbers or (G, 1)."""

    mu: Array
    var: Array
    sigma: Array
    mu_hat: Array
    sigma_hat: Array
    mu_hat_after: Array
    sigma_hat_after: Array
    r_max: Any
    d_max: Any
    eps: float

    def clipped(self, r: Array, d: Array) -> tuple[Array, Array]:
        return np.clip(r, 1 / self.r_max, self.r_max), np.clip(d, -self.d_max, self.d_max)


def _terms(x: Array, state: State, config: Config) -> _Terms:
    mu, var = batch_renorm.statistics(x, config)
    sigma = np.sqrt(var + config.eps)
    mu_hat, mu_hat_after = ema(state.mean, mu, config.decay)
    if config.ema_of == "sigma":
        sigma_hat, sigma_hat_after = ema(np.sqrt(state.var + config.eps), sigma, config.decay)
    else:
        sigma_hat, sigma_hat_after = (np.sqrt(v + config.eps) for v in ema(state.var, var, config.decay))
    r_max, d_max = (_bound(b, state.iteration, mu) for b in (config.r_max, config.d_max))
    return _Terms(mu, var, sigma, mu_hat, sigma_hat, mu_hat_after, sigma_hat_after, r_max, d_max, config.eps)


def _bound(bound: float | Ramp, iteration: int, mu: Array) -> Array:
    each = [bound.at(iteration + 1 + g) if isinstance(bound, Ramp) else bound for g in range(len(mu))]
    return np.array(each, dtype=mu.dtype)[:, None]


def _corrections(formula: Callable[[_Terms], tuple[Array, Array]]) -> Callable[..., Any]:
    """Forward with other r and d."""

    def forward(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
        _, cache, after = batch_renorm.forward(x, gamma, beta, state, config)
        r, d = formula(_terms(x, state, config))
        z = gamma * (r[:, None, :] * cache.y + d[:, None, :]) + beta
        return merge(z, x.shape), cache._replace(r=r, d=d), after

    return forward


def _eps_twice(t: _Terms) -> tuple[Array, Array]:
    sigma_hat = np.sqrt(t.sigma_hat**2 + t.eps)
    return t.clipped(t.sigma / sigma_hat, (t.mu - t.mu_hat) / sigma_hat)


def _flipped(bound: float | Ramp) -> float | Ramp:
    return replace(bound, first=bound.last, last=bound.first) if isinstance(bound, Ramp) else bound


def _ramps_flipped(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
    flipped = replace(config, r_max=_flipped(config.r_max), d_max=_flipped(config.d_max))
    z, cache, state = batch_renorm.forward(x, gamma, beta, state, flipped)
    return z, cache._replace(config=config), state


class _Tracked(Cache):
    """A cache that remembers how r and d depend on x."""

    sigma_hat: Array
    r_free: Array
    d_free: Array


def _tracked(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
    z, cache, after = batch_renorm.forward(x, gamma, beta, state, config)
    t = _terms(x, state, config)
    tracked = _Tracked(*cache)
    tracked.sigma_hat = t.sigma_hat
    tracked.r_free = np.abs(np.log(t.sigma / t.sigma_hat)) < np.log(t.r_max)
    tracked.d_free = np.abs(t.mu - t.mu_hat) / t.sigma_hat < t.d_max
    return z, tracked, after


def _differentiated(*, r: bool, d: bool) -> dict[str, Callable[..., Any]]:
    """Backward through r, through d or through both, where their clips let x through."""

    def backward(dz: Array, cache: _Tracked, state: State) -> tuple[Array, Array, Array, State]:
        dx, dgamma, dbeta, state = batch_renorm.backward(dz, Cache(*cache), state)
        dn = split(dz, cache.config.norm_batch) * cache.gamma  # gradient of r * y + d
        dr, dd = np.mean(dn * cache.y, axis=1), np.mean(dn, axis=1)
        extra = np.zeros_like(dn)
        if r:
            extra += (np.where(cache.r_free, dr, 0) / cache.sigma_hat)[:, None, :] * cache.y
        if d:
            extra += (np.where(cache.d_free, dd, 0) / cache.sigma_hat)[:, None, :]
        return dx + merge(extra, cache.shape), dgamma, dbeta, state

    return {"forward": _tracked, "backward": backward}


def _r_forgotten(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    _, dgamma, dbeta, _ = batch_renorm.backward(dz, cache, state)
    dx, _, _, state = batch_renorm.backward(dz, cache._replace(r=np.ones_like(cache.r)), state)
    return dx, dgamma, dbeta, state


def _dgamma_of_y(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    dx, _, dbeta, state = batch_renorm.backward(dz, cache, state)
    return dx, np.sum(split(dz, cache.config.norm_batch) * cache.y, axis=(0, 1)), dbeta, state


_mistake = partial(Mistake, subject=batch_renorm)
_free: dict[str, Any] = {"r_max": 50.0, "d_max": 50.0, "decay": 0.9}
_any = calls(batch_renorm, **_free)
_large_eps = calls(batch_renorm, **_free, eps=0.3, ema_of="sigma")
_ramp: dict[str, Any] = {
    "r_max": Ramp(start=2, stop=6, first=1.0, last=3.0),
    "d_max": Ramp(start=2, stop=6, first=0.0, last=5.0),
    "decay": 0.9,
}

MISTAKES = (
    _mistake(
        name="brn-r-differentiated",
        code=_differentiated(r=True, d=False),
        sentence="Your dx goes back through r, a constant in backward; unless it is clipped, the Psi_B term goes.",
        equation="brn-backward",
        oracle="gradient",
        draw=_any,
    ),
    _mistake(
        name="brn-d-differentiated",
        code=_differentiated(r=False, d=True),
        sentence="Your dx goes back through d, a constant in backward; unless it is clipped, the g_B term goes.",
        equation="brn-backward",
        oracle="gradient",
        draw=_any,
    ),
    _mistake(
        name="brn-r-and-d-differentiated",
        code=_differentiated(r=True, d=True),
        sentence="Your dx is the derivative of forward, through r and d too, which are constants in backward.",
        equation="brn-backward",
        oracle="gradient",
        draw=_any,
    ),
    _mistake(
        name="brn-r-forgotten-in-backward",
        code={"backward": _r_forgotten},
        sentence="Your dx lacks r: in backward dy = gamma * r * dz.",
        equation="brn-backward",
        oracle="gradient",
        draw=_any,
    ),
    _mistake(
        name="brn-dgamma-before-corrections",
        code={"backward": _dgamma_of_y},
        sentence="Your dgamma sums dz * y with the y from before r and d; gamma multiplies r * y + d.",
        equation="brn-backward",
        oracle="gradient",
        draw=_any,
    ),
    _mistake(
        name="brn-r-of-variance",
        code={"forward": _corrections(lambda t: t.clipped(t.var / t.sigma_hat, (t.mu - t.mu_hat) / t.sigma_hat))},
        sentence="Your r is the batch variance over the moving sigma; equation (14) divides sigma by sigma.",
        equation="brn-corrections (14)",
        oracle="forward",
        draw=_any,
    ),
    _mistake(
        name="brn-read-after-update",
        code={
            "forward": _corrections(
                lambda t: t.clipped(t.sigma / t.sigma_hat_after, (t.mu - t.mu_hat_after) / t.sigma_hat_after)
            )
        },
        sentence="Your r and d read the moving statistics after this batch has gone into them; read, then update.",
        equation="brn-corrections (14)",
        oracle="forward",
        draw=_any,
    ),
    _mistake(
        name="brn-d-over-batch-sigma",
        code={"forward": _corrections(lambda t: t.clipped(t.sigma / t.sigma_hat, (t.mu - t.mu_hat) / t.sigma))},
        sentence="Your d is divided by the batch's sigma; equation (14) divides it by the moving one.",
        equation="brn-corrections (14)",
        oracle="forward",
        draw=_any,
    ),
    _mistake(
        name="brn-clip-from-above-only",
        code={
            "forward": _corrections(
                lambda t: (
                    np.minimum(t.sigma / t.sigma_hat, t.r_max),
                    np.minimum((t.mu - t.mu_hat) / t.sigma_hat, t.d_max),
                )
            )
        },
        sentence="Your r and d are bounded from above alone; r is to stay above 1/r_max and d above -d_max.",
        equation="brn-corrections (14)",
        oracle="forward",
        draw=calls(batch_renorm, r_max=1.1, d_max=0.1, decay=0.9, eps=1e-5, scale=(0.1, 0.3)),
    ),
    _mistake(
        name="brn-eps-twice",
        code={"forward": _corrections(_eps_twice)},
        sentence="Your moving sigma has eps in it twice: what is averaged is sqrt(var + eps) already.",
        equation="brn-corrections (14)",
        oracle="forward",
        draw=_large_eps,
    ),
    _mistake(
        name="brn-warm-up-inverted",
        code={"forward": _ramps_flipped},
        sentence="Your bounds are wide first, then narrow; early moving statistics are poor, so start narrow.",
        equation="brn-corrections (14)",
        oracle="forward",
        draw=calls(batch_renorm, **_ramp),
    ),
)

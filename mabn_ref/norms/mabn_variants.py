r"""What the paper on MABN leaves open, and what its authors' three files do, as settings.

With the defaults this is `mabn_ref.norms.mabn`, number for number. The settings change when averages replace batch
statistics, and what r is computed from. Backward is that of `mabn`, called with an adjusted count of iterations.
Iterations are normalisation batches counted from 1, or calls if ``ema_per="call"``; the docs give the reason for
every setting.

The example imitates the authors' `MABN.py`. It starts with batch statistics, so the first two values are divided by
the root mean square of their own batch, sqrt((1 + 49) / 2) = 5. There is no correction (r = 1) in the first 1,000
iterations, so `renorm_from` is 1001. The exponential average starts at 1 and takes in 2 % of each mean square, 25 and
then 73: 0.98 (0.98 + 0.02 * 25) + 0.02 * 73 = 2.9104.

Examples
--------
>>> config = Config.megvii(eps=0.0, norm_batch=2, warmup=2)
>>> x, one, zero = np.array([[1.0], [7.0], [5.0], [11.0]]), np.ones(1), np.zeros(1)
>>> z, cache, state = forward(x, one, zero, init(1, config, dtype=x.dtype), config)
>>> config.renorm_from, z.ravel()[:2], state.chi2
(1001, array([0.2, 1.4]), array([2.9104]))
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mabn_ref.arrays import Array, check_at_least, copied, namespace
from mabn_ref.norms import checks, mabn
from mabn_ref.norms.checks import setting
from mabn_ref.norms.common import clip, ema, mean_square, merge, root, sma, split, switched
from mabn_ref.norms.mabn import statistics as statistics

_PARTIAL = "before m statistics are held: the mean of those held, or batch statistics while iteration <= window"
_FED = "what the exponential average is fed: the batch's chi^2, or the value that forward divides by"
_OFTEN = "the exponential average is updated at every normalisation batch, or once per call with their mean"


@dataclass(frozen=True, kw_only=True)
class Config(mabn.Config):
    """Hyper-parameters: those of `mabn_ref.norms.mabn.Config`, and what the paper leaves open."""

    partial_window: str = setting("mean", imitation=True, choices=("mean", "batch"), note=_PARTIAL)
    ema_of: str = setting("batch", imitation=True, choices=("batch", "window"), note=_FED)
    ema_per: str = setting("micro_batch", imitation=True, choices=("micro_batch", "call"), note=_OFTEN)
    ema_read: str = setting(
        "before", imitation=True, choices=("before", "after"), note="r reads that average before or after its update"
    )
    ema_start: float | str = setting(
        1.0, imitation=True, at_least=0, choices=("first",), note='its start; "first": the first value fed'
    )

    @classmethod
    def paper(cls, **keywords: Any) -> Config:
        """The paper's own behaviour, the default; `keywords` are those of `Config`."""
        return cls(**keywords)

    @classmethod
    def megvii(cls, **keywords: Any) -> Config:
        """The behaviour of the authors' `MABN.py`; `keywords` are those of `Config`."""
        warmup = keywords.get("warmup", 100)
        check_at_least("warmup", warmup, 0, whole=True)
        renorm_from = max(1000, warmup) + 1
        theirs: dict[str, Any] = {
            "warmup": warmup,
            "renorm_from": renorm_from,
            "partial_window": "batch",
            "ema_of": "window",
        }
        return cls(**theirs | keywords)

    @classmethod
    def megvii_grouped(cls, **keywords: Any) -> Config:
        """The behaviour of the authors' `cls/networks/MABN.py`, with many normalisation batches in a call.

        Their code needs exactly as many in a call as the window is long. Here any number will do, but it must be the
        same in every call until the window is full, since calls are counted, not normalisation batches. `keywords`
        are those of `Config`.
        """
        theirs: dict[str, Any] = {"warmup": 2, "renorm_from": 100, "ema_of": "window"}
        return cls(**theirs | {"ema_per": "call", "ema_start": "first"} | keywords)


class State(mabn.State):
    """Moving statistics: the fields of `mabn_ref.norms.mabn.State`, counting the iterations of this module."""

    __slots__ = ()


class Cache(mabn.Cache):
    """What backward needs: the fields of `mabn_ref.norms.mabn.Cache`."""

    __slots__ = ()


def init(channels: int, config: Config, *, dtype: Any, xp: Any = np) -> State:
    """The state before the first batch."""
    checks.init(channels, (config, Config), dtype, xp)
    state = mabn.init(channels, mabn.Config(window=config.window), dtype=dtype, xp=xp)
    start = 1.0 if config.ema_start == "first" else float(config.ema_start)
    return State(*state._replace(chi2=start * state.chi2))


def forward(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
    """Divide by the averaged root mean square, then renormalise: :eq:`mabn-forward`, :eq:`mabn-renormalise` (19)."""
    checks.forward(x, gamma, beta, (state, State), (config, Config), init)
    shape, x = tuple(x.shape), split(x, config.norm_batch)
    plain, t = _as_mabn(config, state.iteration, x.shape[0])
    chi2_batch = mean_square(x)  # eq: modified-statistics (15)
    average, chi2_window = sma(state.chi2_window, chi2_batch, seen=t)  # eq: sma-backward (13)
    chi2 = switched(chi2_batch, average, plain.warmup, t)
    fed = chi2 if config.ema_of == "window" else chi2_batch
    if config.ema_per == "call":
        fed = namespace(x).mean(fed, axis=0, keepdims=True)
    first = state.iteration == 0 and config.ema_start == "first"
    before, after = ema(fed[0, 0, :] if first else state.chi2, fed, config.decay)  # eq: ema-forward (12)
    chi = root(chi2 + config.eps)
    chi_hat = root((before if config.ema_read == "before" else after) + config.eps)
    r = clip(chi / chi_hat, 1 / config.clip, config.clip)  # eq: mabn-renormalise (19)
    r = switched(1, r, plain.renorm_from, t)
    y = x / chi  # eq: mabn-forward (19)
    z = gamma * r * y + beta  # eq: mabn-forward (19)
    cache = Cache(y, chi, r, copied(gamma), state.iteration, shape, config)
    moved = {"chi2": after[-1, 0, :], "chi2_window": chi2_window, "psi_window": copied(state.psi_window)}
    return merge(z, shape), cache, state._replace(**moved, iteration=state.iteration + _iterations(cache))


def _iterations(cache: Any) -> int:
    """The number of iterations in a call."""
    return 1 if cache.config.ema_per == "call" else int(cache.y.shape[0])


def _as_mabn(config: Any, iteration: int, groups: int) -> tuple[mabn.Config, int]:
    """The settings and iteration with which `mabn` switches from batch statistics to averages when this does."""
    plain = {field.name: getattr(config, field.name) for field in dataclasses.fields(mabn.Config)}
    if config.partial_window == "batch":
        plain["warmup"] = max(config.warmup, config.window + 1)
    if config.ema_per == "call":  # one call is `groups` iterations of `mabn`
        iteration = iteration * groups
        plain |= {name: max((plain[name] - 1) * groups + 1, 0) for name in ("warmup", "renorm_from")}
    return mabn.Config(**plain), iteration


def gradient_statistics(dz: Array, cache: Cache) -> tuple[Array, Array]:
    """The batch means g and Psi of dy and y * dy: :eq:`bn-gradient-statistics` (5)."""
    checks.gradient_statistics(dz, (cache, Cache))
    return mabn.gradient_statistics(dz, mabn.Cache(*cache))


def backward(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """Gradients with the averaged Psi: :eq:`mabn-backward` (20), :eq:`mabn-affine-backward`."""
    return _passed_back(mabn.backward, dz, cache, state)


def backward_graph(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """The same, step by step back through the graph, with Psi averaged where chi^2 was: :eq:`mabn-graph`."""
    return _passed_back(mabn.backward_graph, dz, cache, state)


def _passed_back(
    back: Callable[..., Any], dz: Array, cache: Cache, state: State
) -> tuple[Array, Array, Array, State]:
    checks.backward(dz, (cache, Cache), (state, State), init, iterations=_iterations)
    groups = cache.y.shape[0]
    plain, t = _as_mabn(cache.config, cache.iteration, groups)
    theirs = mabn.Cache(*cache)._replace(config=plain, iteration=t)
    before = mabn.State(*state)._replace(iteration=t + groups, backward_iteration=t)
    dx, dgamma, dbeta, after = back(dz, theirs, before)
    state = state._replace(psi_window=after.psi_window, backward_iteration=cache.iteration + _iterations(cache))
    return dx, dgamma, dbeta, state


def affine(gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Array]:
    """Inference as one map per channel, ``z = scale * x + shift``, which a convolution can absorb: :eq:`fold`."""
    checks.affine(gamma, beta, (state, State), (config, Config), init)
    return mabn.affine(gamma, beta, mabn.State(*state), _as_mabn(config, 0, 1)[0])


def infer(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> Array:
    """Divide by the moving root mean square: :eq:`modified-infer`."""
    checks.infer(x, gamma, beta, (state, State), (config, Config), init)
    return mabn.infer(x, gamma, beta, mabn.State(*state), _as_mabn(config, 0, 1)[0])

r"""Moving statistics: batch, simple or exponential averages in either direction, in vanilla or modified form.

The settings allow one thing to be varied at a time, as in Table 4 of Yan et al., ICLR 2020. The modified form is
written as the vanilla one with the mean held at 0 in forward and g held at 0 in backward. With r and d held,
**backward is the derivative of forward only where backward uses batch statistics and forward is not "sma"** (or the
window is one batch long): in the other 7 of the 9 combinations backward is a definition of its own. The other
normalisers as settings:

============================  ========  ==========  ==========  =====================================
normaliser                    form      forward     backward    further
============================  ========  ==========  ==========  =====================================
batch norm                    vanilla   "batch"     "batch"
Batch Renormalization         vanilla   "ema"       "batch"     with its ``ema_of="var"``, no ramps
batch norm                    vanilla   "ema"       "batch"     in the limit r_max = 1, d_max = 0
modified batch norm           modified  "batch"     "batch"
MABN                          modified  "sma"       "sma"       r_max is its clip
modified batch norm           modified  "sma"       "sma"       in the limit window = 1, r_max = 1
============================  ========  ==========  ==========  =====================================

Examples
--------
The second batch has mean 12; the window of two holds 3 and 12, and their mean is 7.5:

>>> one, zero, config = np.ones(1), np.zeros(1), Config(eps=0.0, forward="sma", window=2, r_max=1.0, d_max=0.0)
>>> _, _, state = forward(np.array([[2.0], [4.0]]), one, zero, init(1, config, dtype=np.float64), config)
>>> forward(np.array([[11.0], [13.0]]), one, zero, state, config)[0].ravel()
array([3.5, 5.5])
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array, check_own, copied, namespace, total
from mabn_ref.norms import batch_norm, checks, common
from mabn_ref.norms.checks import Settings, setting
from mabn_ref.norms.common import centre, clip, ema, mean, mean_square, merge, root, sma, split, sums, switched

_AVERAGES = ("batch", "sma", "ema")


@dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """Which statistics each direction uses, and how they are averaged.

    With "batch", forward normalises by the batch; with "sma", by the average over the window, and with "ema", by the
    batch. The last two then correct by r and d to the exponential average, as MABN and Batch Renormalization do:
    where nothing is clipped, the result is normalised by the exponential average itself.
    """

    form: str = setting(
        "vanilla", choices=("vanilla", "modified"), note="divide by sigma, as in (1), or by chi, as in (15)"
    )
    forward: str = setting("batch", choices=_AVERAGES, note="what forward normalises by, see above")
    backward: str = setting(
        "batch", choices=_AVERAGES, note="which g and Psi are subtracted: the batch's or an average"
    )
    window: int = setting(16, at_least=1, whole=True, note="m, the number of batches in a simple moving average")
    decay: float = setting(
        0.98, at_least=0, below=1, note="alpha, weight of the old value in all exponential averages"
    )
    r_max: float = setting(5.0, at_least=1, note="r is clipped to [1 / r_max, r_max]; 1 is no correction")
    d_max: float = setting(5.0, at_least=0, note="d is clipped to [-d_max, d_max]; 0 is no correction")
    renorm_from: int = setting(
        1, at_least=1, whole=True, note="the first iteration with a correction, counted from 1"
    )


class State(NamedTuple):
    """Averages of the four batch statistics; `forward` changes the first four and `iteration`, `backward` the rest.

    In the modified form `mean` and g stay 0, and `var` is the mean square.
    """

    mean: Array  #: (C,): the exponential average of the batch mean, initially 0
    var: Array  #: (C,): the same for the batch variance, initially 1
    mean_window: Array  #: (m, C): the last m batch means, oldest first, zero where there is none yet
    var_window: Array  #: (m, C)
    g: Array  #: (C,): the exponential average of g, which starts from the first batch's g
    psi: Array  #: (C,): the same for Psi
    g_window: Array  #: (m, C)
    psi_window: Array  #: (m, C)
    iteration: int  #: normalisation batches so far
    backward_iteration: int = 0  #: iteration of the last batch that went through backward


class Cache(NamedTuple):
    """What backward needs, in the canonical form (G, M, C)."""

    y: Array  #: (G, M, C): the normalised values, before r and d
    sigma: Array  #: (G, 1, C): sqrt(var + eps), of the statistic that forward divided by
    r: Array  #: (G, 1, C)
    d: Array  #: (G, 1, C)
    gamma: Array  #: (C,)
    iteration: int  #: iterations before this call
    shape: tuple[int, ...]  #: the shape of x
    config: Config


def init(channels: int, config: Config, *, dtype: Any, xp: Any = np) -> State:
    """The state before the first batch."""
    checks.init(channels, (config, Config), dtype, xp)
    mean, g, psi = (xp.zeros((channels,), dtype=dtype) for _ in range(3))
    first, second, third, fourth = (xp.zeros((config.window, channels), dtype=dtype) for _ in range(4))
    return State(mean, xp.ones((channels,), dtype=dtype), first, second, g, psi, third, fourth, 0)


def statistics(x: Array, config: Config) -> tuple[Array, Array]:
    """Batch mean and variance, or 0 and the mean square: :eq:`bn-statistics` (2), :eq:`modified-statistics` (15)."""
    check_own((config, Config))
    mu, var, _ = _statistics(split(x, config.norm_batch), config)
    return mu[:, 0, :], var[:, 0, :]


def _statistics(x: Array, config: Config) -> tuple[Array, Array, Array]:
    """The same statistics, (G, 1, C), and the centred values."""
    if config.form == "modified":
        chi2 = mean_square(x)
        return 0 * chi2, chi2, x
    mu, centred = centre(x)
    return mu, mean_square(centred, x), centred


def _over_window(held: Array, mu: Array, seen: int) -> tuple[Array, Array, Array]:
    """Means over the window, how far each batch's own mean is from them, and the new window.

    What is averaged are distances from one value: of those between the smallest and the largest mean, the one nearest
    to 0. Means that are all equal then average to exactly that, and no distance is rounded more than the mean itself.
    """
    xp, empty, rows = namespace(mu), max(held.shape[0] - seen, 0), mu[:, 0, :]
    found = xp.concat([held[empty:, :], rows])
    zero = xp.zeros_like(found[0, :])
    near = xp.maximum(xp.min(found, axis=0), zero) + xp.minimum(xp.max(found, axis=0), zero)
    distances = xp.concat([held[:empty, :], held[empty:, :] - near])
    average, _ = sma(distances, mu - near, seen=seen)  # eq: sma-backward (13)
    return near + average, (mu - near) - average, xp.concat([held, rows])[rows.shape[0] :, :]


def forward(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
    """Normalise by the statistics that `config` names, then renormalise: :eq:`moving-forward`, :eq:`affine` (3)."""
    checks.forward(
        x, gamma, beta, (state, State), (config, Config), init, centred=getattr(config, "form", "") == "vanilla"
    )
    shape, x, t = tuple(x.shape), split(x, config.norm_batch), state.iteration
    mu, var, centred = _statistics(x, config)
    moving_mu, new_mu = ema(state.mean, mu, config.decay)  # eq: ema-forward (12)
    moving_var, new_var = ema(state.var, var, config.decay)  # eq: ema-forward (12)
    mu_window, off, mean_window = _over_window(state.mean_window, mu, t)
    average, var_window = sma(state.var_window, var, seen=t)  # eq: sma-backward (13)
    if config.forward == "sma":
        mu, var, centred = mu_window, average, centred + off  # x - mu, without the rounding of mu
    sigma, moving_sigma = root(var + config.eps), root(moving_var + config.eps)
    y = centred / sigma  # eq: moving-forward
    r = clip(sigma / moving_sigma, 1 / config.r_max, config.r_max)  # eq: moving-forward
    d = clip((mu - moving_mu) / moving_sigma, -config.d_max, config.d_max)  # eq: moving-forward
    until = t + x.shape[0] + 1 if config.forward == "batch" else config.renorm_from
    r, d = switched(1, r, until, t), switched(0, d, until, t)
    z = gamma * (r * y + d) + beta  # eq: moving-forward
    cache = Cache(y, sigma, r, d, copied(gamma), t, shape, config)
    kept = {name: copied(getattr(state, name)) for name in ("g", "psi", "g_window", "psi_window")}
    kept |= {"mean": new_mu[-1, 0, :], "var": new_var[-1, 0, :], "mean_window": mean_window, "var_window": var_window}
    return merge(z, shape), cache, state._replace(**kept, iteration=t + x.shape[0])


def gradient_statistics(dz: Array, cache: Cache) -> tuple[Array, Array]:
    """The batch means g and Psi of dy and y * dy, which backward may average: :eq:`bn-gradient-statistics` (5)."""
    checks.gradient_statistics(dz, (cache, Cache))
    return common.gradient_means(split(dz, cache.config.norm_batch), cache.y, cache.gamma * cache.r)


def backward(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """Gradients with the g and Psi that `config` names: :eq:`moving-backward`."""
    checks.backward(dz, (cache, Cache), (state, State), init)
    dz, values = split(dz, cache.config.norm_batch), cache.y.shape[1]
    y, sigma, r, d, gamma, _, shape, _ = cache
    dz_sum, dzy_sum = sums(dz), sums(dz * y)
    dbeta = total(dz_sum)  # eq: affine-backward
    dgamma = total(r * dzy_sum + d * dz_sum)  # eq: brn-backward
    dy = dz * (gamma * r)  # eq: moving-backward
    g = gamma * r * dz_sum / values  # eq: bn-gradient-statistics (5)
    psi = gamma * r * dzy_sum / values  # eq: bn-gradient-statistics (5)
    g, psi, state = _averages(g, psi, cache, state)
    dx = (dy - g - y * psi) / sigma  # eq: moving-backward
    return merge(dx, shape), dgamma, dbeta, state


def _averages(g: Array, psi: Array, cache: Cache, state: State) -> tuple[Array, Array, State]:
    """The g and Psi that each normalisation batch uses, and the state updated with the batches' own."""
    config, t = cache.config, cache.iteration
    if config.form == "modified":
        g = 0 * g  # eq: moving-backward
    found, new = [], {}
    for name, batch in (("g", g), ("psi", psi)):
        window, old = getattr(state, f"{name}_window"), getattr(state, name) if t else batch[0, 0, :]
        over_window, new[f"{name}_window"] = sma(window, batch, seen=t)  # eq: sma-backward (13)
        _, fading = ema(old, batch, config.decay)  # eq: moving-gradient-average
        found.append({"batch": batch, "sma": over_window, "ema": fading}[config.backward])
        new[name] = fading[-1, 0, :]
    return *found, state._replace(**new, backward_iteration=t + psi.shape[0])


def backward_graph(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """The same, back through the graph, with averages where g and Psi appear in it: :eq:`moving-graph`."""
    checks.backward(dz, (cache, Cache), (state, State), init)
    dz, values = split(dz, cache.config.norm_batch), cache.y.shape[1]
    y, sigma, r, d, gamma, _, shape, _ = cache
    centred = y * sigma
    # z = gamma * (r * y + d) + beta
    dbeta = total(dz)  # eq: affine-backward
    dgamma = total(dz * (r * y + d))  # eq: brn-backward
    dy = dz * gamma * r  # eq: moving-graph
    # y = centred / sigma
    dcentred = dy / sigma  # eq: moving-graph
    # the batch's own shares of the gradients of mu / sigma and log sigma are replaced by averages
    dshift, dlog_sigma = -mean(dy), -mean(dy * y)  # eq: moving-graph
    g, psi, state = _averages(-dshift, -dlog_sigma, cache, state)
    # sigma = sqrt(var + eps), and var = mean of centred^2
    dvar = -values * psi / (2 * sigma**2)  # eq: moving-graph
    dcentred = dcentred + 2 * centred * dvar / values  # eq: moving-graph
    # centred = x - mu, and mu = mean of x
    dmu = -values * g / sigma  # eq: moving-graph
    dx = dcentred + dmu / values  # eq: moving-graph
    return merge(dx, shape), dgamma, dbeta, state


def affine(gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Array]:
    """Inference as one map per channel, as in batch norm: in the modified form the moving mean is 0."""
    checks.affine(gamma, beta, (state, State), (config, Config), init)
    return batch_norm.affine(gamma, beta, *_moving(state, config))


def infer(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> Array:
    """Normalise by the moving statistics, as batch norm does: :eq:`bn-infer`."""
    checks.infer(x, gamma, beta, (state, State), (config, Config), init)
    return batch_norm.infer(x, gamma, beta, *_moving(state, config))


def _moving(state: State, config: Config) -> tuple[batch_norm.State, batch_norm.Config]:
    """The state and configuration with which batch normalisation's inference is called."""
    return batch_norm.State(state.mean, state.var), batch_norm.Config(eps=config.eps)

r"""Batch, simple or exponential averages in either direction, in vanilla or modified form: one general normaliser.

It is there to vary one thing at a time, as Table 4 of Yan et al., ICLR 2020, does. Batch norm, Batch Renormalization,
modified batch norm and MABN are settings of it; `Config` lists them. The modified form is the vanilla one with the
mean held at 0 in forward and g held at 0 in backward, and that is how it is written. **backward is the derivative of
forward**, r and d held, **only where backward uses batch statistics and forward is not "sma"** (or a window is one
batch long): in the other 7 of the 9 combinations it is a definition.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array, check_float_array, check_own, copied, namespace, sums, total
from mabn_ref.norms import batch_norm
from mabn_ref.norms.batch_norm import gradient_means, moments
from mabn_ref.norms.checks import (
    check_at_least,
    check_choice,
    check_decay,
    check_dz,
    check_inputs,
    check_order,
    check_state,
    unwrap_numbers,
)
from mabn_ref.norms.micro_batches import merge, split
from mabn_ref.norms.modified_batch_norm import mean_square
from mabn_ref.norms.moving import ema, sma

_AVERAGES = ("batch", "sma", "ema")


@dataclass(frozen=True, kw_only=True)
class Config:
    r"""Which statistics each direction uses, and how they are averaged.

    Parameters
    ----------
    eps : float
        Added to the variance, or mean square, inside the square root, once.
    norm_batch : int or None
        \|B\|, the number of samples that share statistics; None: all of a call.
    form : "vanilla" or "modified"
        Centre and divide by the standard deviation, (1), or divide by the root mean square alone, (15).
    forward : "batch", "sma" or "ema"
        "batch": normalise by the batch. "sma": by the average over the window, then correct to the exponential
        average by r and d, as MABN does. "ema": by the batch, then correct to the exponential average by r and d, as
        Batch Renormalization does; what is not clipped is normalised by the exponential average itself.
    backward : "batch", "sma" or "ema"
        The g and Psi that are subtracted: the batch's or their averages.
    window : int
        m, the number of batch values in a simple moving average.
    decay : float in [0, 1)
        alpha, the weight of the old value in the exponential averages of both directions.
    r_max, d_max : float
        Bounds: r in [1 / r_max, r_max], d in [-d_max, d_max]. 1 and 0 are no correction.
    renorm_from : int
        The first iteration with a correction; iterations are normalisation batches counted from 1.

    Raises
    ------
    TypeError, ValueError
        If a value is not of the kind or in the range above.

    Notes
    -----
    ============================  ========  ==========  ==========  =====================================
    normaliser                    form      forward     backward    further
    ============================  ========  ==========  ==========  =====================================
    batch norm                    vanilla   "batch"     "batch"
    Batch Renormalization         vanilla   "ema"       "batch"     its ``ema_of="var"``, no ramps
    batch norm                    vanilla   "ema"       "batch"     in the limit r_max = 1, d_max = 0
    modified batch norm           modified  "batch"     "batch"
    MABN, ``Config.paper()``      modified  "sma"       "sma"       r_max its clip
    modified batch norm           modified  "sma"       "sma"       in the limit window = 1, r_max = 1
    ============================  ========  ==========  ==========  =====================================

    Examples
    --------
    >>> Config(form="modified", forward="sma", backward="sma").window
    16
    """

    eps: float = 1e-5
    norm_batch: int | None = None
    form: str = "vanilla"
    forward: str = "batch"
    backward: str = "batch"
    window: int = 16
    decay: float = 0.98
    r_max: float = 5.0
    d_max: float = 5.0
    renorm_from: int = 1

    def __post_init__(self) -> None:
        check_at_least("eps", self.eps, 0)
        if self.norm_batch is not None:
            check_at_least("norm_batch", self.norm_batch, 1, whole=True)
        check_choice("form", self.form, ("vanilla", "modified"))
        check_choice("forward", self.forward, _AVERAGES)
        check_choice("backward", self.backward, _AVERAGES)
        check_at_least("window", self.window, 1, whole=True)
        check_decay("decay", self.decay)
        check_at_least("r_max", self.r_max, 1)
        check_at_least("d_max", self.d_max, 0)
        check_at_least("renorm_from", self.renorm_from, 1, whole=True)
        unwrap_numbers(self)


class State(NamedTuple):
    """Averages of the four batch statistics; `forward` changes the first four and the count, `backward` the rest.

    In the modified form `mean` and g stay 0, and `var` is the mean square.
    """

    mean: Array
    """(C,): the exponential average of the batch mean."""
    var: Array
    """(C,): that of the batch variance."""
    mean_window: Array
    """(m, C): the last m batch means, oldest first, zero where there is none yet."""
    var_window: Array
    """(m, C)."""
    g: Array
    """(C,): the exponential average of g, whose start is the first batch's."""
    psi: Array
    """(C,): that of Psi."""
    g_window: Array
    """(m, C)."""
    psi_window: Array
    """(m, C)."""
    iteration: int
    """Normalisation batches so far."""
    backward_iteration: int = 0
    """The same, of those that came back."""


class Cache(NamedTuple):
    """What backward needs, in the canonical form (G, M, C) of `split`."""

    y: Array
    """(G, M, C): the normalised values before r and d."""
    sigma: Array
    """(G, C): sqrt(var + eps), of the statistic that forward divided by."""
    r: Array
    """(G, C)."""
    d: Array
    """(G, C)."""
    gamma: Array
    """(C,)."""
    iteration: int
    """Iterations before this call."""
    shape: tuple[int, ...]
    """The shape of x."""
    config: Config


def init(channels: int, config: Config, *, dtype: Any, xp: Any = np) -> State:
    """Return the state before the first batch: mean 0, variance or mean square 1, empty windows.

    Parameters
    ----------
    channels, config
        C, and the hyper-parameters.
    dtype, xp
        float32 or float64, and the array library that makes the arrays.

    Examples
    --------
    >>> state = init(3, Config(window=4), dtype=np.float64)
    >>> state.var, state.psi_window.shape, state.iteration
    (array([1., 1., 1.]), (4, 3), 0)
    """
    check_own((config, Config))
    check_at_least("channels", channels, 1, whole=True)
    zero, empty = xp.zeros((channels,), dtype=dtype), xp.zeros((config.window, channels), dtype=dtype)
    check_float_array("the state", zero, real=True)
    return State(zero, zero + 1, empty, 0 * empty, 0 * zero, 0 * zero, 0 * empty, 0 * empty, 0)


def statistics(x: Array, config: Config) -> tuple[Array, Array]:
    """Batch mean and variance, or 0 and the mean square: :eq:`bn-statistics` (2), :eq:`modified-statistics` (15).

    Parameters
    ----------
    x : array, shape (N, ..., C), float32 or float64

    Returns
    -------
    mu, var : array, shape (G, C)

    Examples
    --------
    >>> x = np.array([[1.0], [7.0]])
    >>> statistics(x, Config()), statistics(x, Config(form="modified"))
    ((array([[4.]]), array([[9.]])), (array([[0.]]), array([[25.]])))
    """
    check_own((config, Config))
    return _statistics(split(x, config.norm_batch), config)[:2]


def _statistics(xs: Array, config: Config) -> tuple[Array, Array, Array]:
    if config.form == "vanilla":
        return moments(xs)
    chi2 = mean_square(xs)
    return 0 * chi2, chi2, xs


def _over_window(held: Array, mu: Array, seen: int) -> tuple[Array, Array, Array]:
    """Means over the window, how far each batch's own is from them, and the new window.

    Averaged are the distances from a value between the smallest and the largest of the means, the one nearest to 0:
    means that are all alike have exactly that average, and no distance is rounded more than the mean itself is.
    """
    xp, empty = namespace(mu), max(held.shape[0] - seen, 0)
    rows = xp.concat([held[empty:, :], mu])
    zero = xp.zeros_like(rows[0, :])
    near = xp.maximum(xp.min(rows, axis=0), zero) + xp.minimum(xp.max(rows, axis=0), zero)
    distances = xp.concat([held[:empty, :], held[empty:, :] - near])
    mean, _ = sma(distances, mu - near, seen=seen)  # eq: sma-backward (13)
    return near + mean, (mu - near) - mean, xp.concat([held, mu])[mu.shape[0] :, :]


def forward(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
    """Normalise by the statistics that `config` names, then renormalise: :eq:`moving-forward`, :eq:`affine` (3).

    Parameters
    ----------
    x : array, shape (N, ..., C), float32 or float64, channels last
    gamma, beta : array, shape (C,), of the dtype of `x`
    state : State
        The averages.
    config : Config

    Returns
    -------
    z : array, shape (N, ..., C), of the dtype of `x`
    cache : Cache
    state : State
        The new averages; those of g and Psi are as they were.

    Raises
    ------
    TypeError, ValueError
        If `state` or `config` is that of another normaliser. If an array is not plain, or not float32 or float64,
        dtypes differ, shapes do not fit, `norm_batch` does not divide N, or
        there is one value a channel in the vanilla form.
    OverflowError
        If the squares of finite values of `x` sum up to more than its dtype holds.

    Examples
    --------
    The second batch has mean 12; with a window of two, 3 + 12 makes 7.5:

    >>> one, zero, config = np.ones(1), np.zeros(1), Config(eps=0.0, forward="sma", window=2, r_max=1.0, d_max=0.0)
    >>> _, _, state = forward(np.array([[2.0], [4.0]]), one, zero, init(1, config, dtype=np.float64), config)
    >>> z, _, state = forward(np.array([[11.0], [13.0]]), one, zero, state, config)
    >>> z.ravel()
    array([3.5, 5.5])
    """
    check_own((state, State), (config, Config))
    check_inputs(x, gamma, beta, config.norm_batch, centred=config.form == "vanilla")
    for name in ("mean", "var", "g", "psi"):
        check_state(state, name, (x.shape[-1],), x)
        check_state(state, f"{name}_window", (config.window, x.shape[-1]), x)
    xp = namespace(x)
    xs = split(x, config.norm_batch)
    mu_batch, var_batch, centred = _statistics(xs, config)
    mu_window, off, mean_window = _over_window(state.mean_window, mu_batch, state.iteration)
    var_window, held = sma(state.var_window, var_batch, seen=state.iteration)  # eq: sma-backward (13)
    mu, var = (mu_window, var_window) if config.forward == "sma" else (mu_batch, var_batch)
    mean_before, mean_after = ema(state.mean, mu_batch, config.decay)  # eq: ema-forward (12)
    var_before, var_after = ema(state.var, var_batch, config.decay)  # eq: ema-forward (12)
    sigma, sigma_hat = xp.sqrt(var + config.eps), xp.sqrt(var_before + config.eps)
    if config.forward == "sma":
        centred = centred + off[:, None, :]  # x - mu, without the rounding of mu
    y = centred / sigma[:, None, :]  # eq: moving-forward
    r = xp.clip(sigma / sigma_hat, 1 / config.r_max, config.r_max)  # eq: moving-forward
    d = xp.clip((mu - mean_before) / sigma_hat, -config.d_max, config.d_max)  # eq: moving-forward
    off = r.shape[0] if config.forward == "batch" else max(config.renorm_from - 1 - state.iteration, 0)
    r = xp.concat([xp.ones_like(r[:off, :]), r[off:, :]])
    d = xp.concat([xp.zeros_like(d[:off, :]), d[off:, :]])
    z = gamma * (r[:, None, :] * y + d[:, None, :]) + beta  # eq: moving-forward
    cache = Cache(y, sigma, r, d, copied(gamma), state.iteration, tuple(x.shape), config)
    averages = {"mean": mean_after[-1, :], "var": var_after[-1, :], "mean_window": mean_window, "var_window": held}
    averages |= {name: copied(getattr(state, name)) for name in ("g", "psi", "g_window", "psi_window")}
    return merge(z, x.shape), cache, state._replace(**averages, iteration=state.iteration + r.shape[0])


def gradient_statistics(dz: Array, cache: Cache) -> tuple[Array, Array]:
    """The batch statistics g and Psi, the values that are averaged: :eq:`bn-gradient-statistics` (5).

    Parameters
    ----------
    dz : array, shape (N, ..., C)
        Gradient of the loss with respect to z.
    cache : Cache

    Returns
    -------
    g, psi : array, shape (G, C)
        Means over the normalisation batch of dy and of y * dy, with dy = gamma * r * dz.

    Examples
    --------
    >>> x, one, zero, config = np.array([[1.0], [7.0]]), np.ones(1), np.zeros(1), Config(eps=0.0, form="modified")
    >>> _, cache, _ = forward(x, one, zero, init(1, config, dtype=x.dtype), config)
    >>> gradient_statistics(np.array([[5.0], [15.0]]), cache)
    (array([[10.]]), array([[11.]]))
    """
    check_own((cache, Cache))
    check_dz(dz, cache.y, cache.shape)
    return gradient_means(split(dz, cache.config.norm_batch), cache.y, cache.gamma * cache.r)[:2]


def backward(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """Gradients with the g and Psi that the configuration names: :eq:`moving-backward`.

    Parameters
    ----------
    dz : array, shape (N, ..., C)
        Gradient of the loss with respect to z, of the dtype of the forward pass.
    cache : Cache
    state : State
        Of its arrays the averages of g and Psi alone are read; the iteration comes from the cache, so that several
        forward passes may precede their backward passes, taken in the same order.

    Returns
    -------
    dx : array, shape (N, ..., C)
        What goes back to x; the derivative of `forward` only in the cases that the module's docstring names.
    dgamma, dbeta : array, shape (C,)
        Summed over all samples; derivatives in every case.
    state : State
        `state` with its new averages of g and Psi.

    Raises
    ------
    TypeError, ValueError
        If `dz` is not of the shape and dtype of the forward pass, `cache` or `state` is that of another normaliser,
        or `state` is from before the forward pass or has been given this cache, or a later one, already.

    Examples
    --------
    >>> one, zero, config = np.ones(1), np.zeros(1), Config(eps=0.0, form="modified", backward="sma", window=2)
    >>> _, cache, state = forward(np.array([[1.0], [7.0]]), one, zero, init(1, config, dtype=np.float64), config)
    >>> dx, dgamma, dbeta, state = backward(np.array([[5.0], [15.0]]), cache, state)
    >>> dx.ravel(), state.psi_window.ravel()
    (array([ 0.56, -0.08]), array([ 0., 11.]))
    """
    _check_backward(dz, cache, state)
    y, sigma, r, d, gamma, iteration, shape, config = cache
    dz = split(dz, config.norm_batch)
    g_batch, psi_batch, dz_sum, dzy_sum = gradient_means(dz, y, gamma * r)
    dbeta = total(dz_sum)  # eq: affine-backward
    dgamma = total(r * dzy_sum + d * dz_sum)  # eq: brn-backward
    g, psi, state = _gradient_averages(g_batch, psi_batch, iteration, config, state)
    dy = dz * (gamma * r)[:, None, :]  # eq: moving-backward
    dx = (dy - g[:, None, :] - y * psi[:, None, :]) / sigma[:, None, :]  # eq: moving-backward
    return merge(dx, shape), dgamma, dbeta, state


def _check_backward(dz: Array, cache: Cache, state: State) -> None:
    check_own((cache, Cache), (state, State))
    check_dz(dz, cache.y, cache.shape)
    for name in ("g", "psi"):
        check_state(state, name, cache.shape[-1:], dz)
        check_state(state, f"{name}_window", (cache.config.window, cache.shape[-1]), dz)
    check_order(state, cache.iteration, cache.r.shape[0])


def _gradient_averages(
    g: Array, psi: Array, iteration: int, config: Config, state: State
) -> tuple[Array, Array, State]:
    """The g and Psi that each normalisation batch uses, and the state with the batch's taken in."""
    if config.form == "modified":
        g = 0 * g  # eq: moving-backward
    found: dict[str, Array] = {}
    averages: dict[str, Array] = {}
    for name, values in (("g", g), ("psi", psi)):
        over_window, window = sma(getattr(state, f"{name}_window"), values, seen=iteration)  # eq: sma-backward (13)
        start = getattr(state, name) if iteration else values[0, :]
        _, fading = ema(start, values, config.decay)  # eq: moving-gradient-average
        found[name] = {"batch": values, "sma": over_window, "ema": fading}[config.backward]
        averages |= {name: fading[-1, :], f"{name}_window": window}
    state = state._replace(**averages, backward_iteration=iteration + psi.shape[0])
    return found["g"], found["psi"], state


def backward_graph(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """The same, back through the graph, with averages where g and Psi appear in it: :eq:`moving-graph`.

    Takes and returns what `backward` does, equal to rounding.

    Examples
    --------
    >>> one, zero, config = np.ones(1), np.zeros(1), Config(eps=0.0, form="modified", backward="sma", window=2)
    >>> _, cache, state = forward(np.array([[1.0], [7.0]]), one, zero, init(1, config, dtype=np.float64), config)
    >>> backward_graph(np.array([[5.0], [15.0]]), cache, state)[0].ravel()
    array([ 0.56, -0.08])
    """
    _check_backward(dz, cache, state)
    y, sigma, r, d, gamma, iteration, shape, config = cache
    dz = split(dz, config.norm_batch)
    values, sigma, r, d = dz.shape[1], sigma[:, None, :], r[:, None, :], d[:, None, :]
    centred = y * sigma
    # z = gamma * (r * y + d) + beta
    dbeta = total(dz)  # eq: affine-backward
    dgamma = total(dz * (r * y + d))  # eq: brn-backward
    dy = dz * gamma * r  # eq: moving-graph
    # y = centred / sigma
    dcentred = dy / sigma  # eq: moving-graph
    # the batch's own shares of the gradients of mu / sigma and log sigma give way to averages
    dshift, dlog_sigma = -sums(dy) / values, -sums(dy * y) / values  # eq: moving-graph
    g, psi, state = _gradient_averages(-dshift, -dlog_sigma, iteration, config, state)
    # sigma = sqrt(var + eps), and var = mean of centred^2
    dvar = -values * psi[:, None, :] / (2 * sigma**2)  # eq: moving-graph
    dcentred = dcentred + 2 * centred * dvar / values  # eq: moving-graph
    # centred = x - mu, and mu = mean of x
    dmu = -values * g[:, None, :] / sigma  # eq: moving-graph
    dx = dcentred + dmu / values  # eq: moving-graph
    return merge(dx, shape), dgamma, dbeta, state


def affine(gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Array]:
    """Inference as one map a channel: takes and returns what `mabn_ref.norms.batch_norm.affine` does.

    Examples
    --------
    >>> config = Config(eps=0.0)
    >>> state = init(1, config, dtype=np.float64)._replace(mean=np.array([2.0]), var=np.array([4.0]))
    >>> affine(np.array([3.0]), np.array([1.0]), state, config)
    (array([1.5]), array([-2.]))
    """
    check_own((state, State), (config, Config))
    return batch_norm.affine(gamma, beta, *_moving(state, config))


def infer(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> Array:
    """Normalise by the moving statistics: takes and returns what `mabn_ref.norms.batch_norm.infer` does.

    Examples
    --------
    >>> config = Config(eps=0.0)
    >>> state = init(1, config, dtype=np.float64)._replace(mean=np.array([2.0]), var=np.array([4.0]))
    >>> infer(np.array([[4.0]]), np.ones(1), np.zeros(1), state, config)
    array([[1.]])
    """
    check_own((state, State), (config, Config))
    return batch_norm.infer(x, gamma, beta, *_moving(state, config))


def _moving(state: State, config: Config) -> tuple[batch_norm.State, batch_norm.Config]:
    """What inference reads, as batch normalisation has it."""
    return batch_norm.State(state.mean, state.var), batch_norm.Config(eps=config.eps)

r"""Moving Average Batch Normalization: equations (19) and (20).

Yan et al., "Towards Stabilizing Batch Statistics in Backward Propagation of Batch Normalization", ICLR 2020. Forward
divides by a simple moving average of chi^2, backward subtracts a simple moving average of Psi. **backward is not the
derivative of forward** unless the window is one batch long; the docs say what it approximates. The batch statistic,
and inference by its exponential average, are those of modified batch norm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array, check_float_array, check_own, copied, namespace, sums, total
from mabn_ref.norms import modified_batch_norm
from mabn_ref.norms.batch_norm import gradient_means
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
from mabn_ref.norms.modified_batch_norm import statistics as statistics
from mabn_ref.norms.moving import ema, sma


@dataclass(frozen=True, kw_only=True)
class Config:
    r"""Hyper-parameters of MABN; the defaults are the paper's, and our choices where it is silent.

    Iterations are normalisation batches counted from 1, or calls if ``ema_per="call"``.

    Parameters
    ----------
    eps : float
        Added to the mean square inside the square root, once.
    norm_batch : int or None
        \|B\|, the number of samples that share statistics; None: all of a call.
    window : int
        m, the number of batch statistics in a simple moving average.
    decay : float in [0, 1)
        alpha, the weight of the old value in the exponential moving average.
    clip : float
        lambda; r is clipped to [1 / lambda, lambda]. 1 means no renormalisation.
    warmup : int
        Batch statistics in both passes while iteration < warmup.
    partial_window : "mean" or "batch"
        Before m statistics are held: the mean of those held, or batch statistics while iteration <= window.
    renorm_from : int
        The first iteration with r other than 1.
    ema_of : "batch" or "window"
        What the exponential average is fed: the batch's chi^2, or the value that forward divides by.
    ema_per : "micro_batch" or "call"
        It is updated at every normalisation batch, or once a call with their mean.
    ema_read : "before" or "after"
        r reads it before or after this batch's update.
    ema_start : float or "first"
        Its start; "first" is the first value fed.

    Raises
    ------
    TypeError, ValueError
        If a value is not of the kind or in the range above.

    Examples
    --------
    >>> Config.megvii(norm_batch=2).renorm_from
    1001
    """

    eps: float = 1e-5
    norm_batch: int | None = None
    window: int = 16
    decay: float = 0.98
    clip: float = 5.0
    warmup: int = 0
    partial_window: str = "mean"
    renorm_from: int = 1
    ema_of: str = "batch"
    ema_per: str = "micro_batch"
    ema_read: str = "before"
    ema_start: float | str = 1.0

    def __post_init__(self) -> None:
        check_at_least("eps", self.eps, 0)
        if self.norm_batch is not None:
            check_at_least("norm_batch", self.norm_batch, 1, whole=True)
        check_at_least("window", self.window, 1, whole=True)
        check_decay("decay", self.decay)
        check_at_least("clip", self.clip, 1)
        check_at_least("warmup", self.warmup, 0, whole=True)
        check_choice("partial_window", self.partial_window, ("mean", "batch"))
        check_at_least("renorm_from", self.renorm_from, 1, whole=True)
        check_choice("ema_of", self.ema_of, ("batch", "window"))
        check_choice("ema_per", self.ema_per, ("micro_batch", "call"))
        check_choice("ema_read", self.ema_read, ("before", "after"))
        if isinstance(self.ema_start, str):
            check_choice("ema_start", self.ema_start, ("first",))
        else:
            check_at_least("ema_start", self.ema_start, 0)
        unwrap_numbers(self)

    @classmethod
    def paper(cls, **keywords: Any) -> Config:
        """Return the paper's own behaviour, which is the default; `keywords` are those of `Config`."""
        return cls(**keywords)

    @classmethod
    def megvii(cls, **keywords: Any) -> Config:
        """Return the behaviour of the authors' `MABN.py`; `keywords` are those of `Config`."""
        warmup = keywords.get("warmup", 100)
        check_at_least("warmup", warmup, 0, whole=True)
        theirs: dict[str, Any] = {
            "warmup": warmup,
            "renorm_from": max(1000, warmup) + 1,
            "partial_window": "batch",
            "ema_of": "window",
        }
        return cls(**theirs | keywords)

    @classmethod
    def megvii_grouped(cls, **keywords: Any) -> Config:
        """Return the behaviour of the authors' `cls/networks/MABN.py`, many normalisation batches in a call.

        Theirs needs as many of them in a call as the window is long; here any number goes, as long as it is the same
        in every call until the window is full: calls are counted, not normalisation batches. `keywords` are those of
        `Config`.
        """
        theirs: dict[str, Any] = {
            "warmup": 2,
            "renorm_from": 100,
            "ema_of": "window",
            "ema_per": "call",
            "ema_start": "first",
        }
        return cls(**theirs | keywords)


class State(NamedTuple):
    """Moving statistics and counts; `backward` changes `psi_window` and its own count, `forward` all else."""

    chi2: Array
    """(C,): the exponential moving average of chi^2."""
    chi2_window: Array
    """(m, C): the last m batch values of chi^2, oldest first, zero where there is none yet."""
    psi_window: Array
    """(m, C): the same of Psi."""
    iteration: int
    """Iterations so far."""
    backward_iteration: int = 0
    """The same, of those that came back."""


class Cache(NamedTuple):
    """What backward needs, in the canonical form (G, M, C) of `split`."""

    y: Array
    """(G, M, C): x / chi, before r."""
    chi: Array
    """(G, C): sqrt(chi2 + eps), of the average (or, in warm-up, the batch value) that forward used."""
    r: Array
    """(G, C): the clipped ratio of chi to its exponential average."""
    gamma: Array
    """(C,)."""
    iteration: int
    """Iterations before this call: tells backward which phase forward was in."""
    shape: tuple[int, ...]
    """The shape of x."""
    config: Config


def init(channels: int, config: Config, *, dtype: Any, xp: Any = np) -> State:
    """Return the state before the first batch: empty windows, exponential average at its start.

    Parameters
    ----------
    channels, config
        C, and the hyper-parameters.
    dtype, xp
        float32 or float64, and the array library that makes the arrays.

    Examples
    --------
    >>> state = init(3, Config(window=16), dtype=np.float64)
    >>> state.chi2, state.psi_window.shape, state.iteration
    (array([1., 1., 1.]), (16, 3), 0)
    """
    check_own((config, Config))
    check_at_least("channels", channels, 1, whole=True)
    start = 1.0 if config.ema_start == "first" else float(config.ema_start)
    empty = xp.zeros((config.window, channels), dtype=dtype)
    check_float_array("the state", empty, real=True)
    return State(start * xp.ones((channels,), dtype=dtype), empty, 0 * empty, 0)


def forward(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
    """Divide by the averaged root mean square, then renormalise: :eq:`mabn-forward`, :eq:`mabn-renormalise` (19).

    Parameters
    ----------
    x : array, shape (N, ..., C), float32 or float64, channels last
    gamma, beta : array, shape (C,), of the dtype of `x`
    state : State
        The moving statistics.
    config : Config

    Returns
    -------
    z : array, shape (N, ..., C), of the dtype of `x`
    cache : Cache
    state : State
        The new moving statistics; `psi_window` is as it was.

    Raises
    ------
    TypeError, ValueError
        If `state` or `config` is that of another normaliser. If an array is not plain, or not float32 or float64,
        dtypes differ, shapes do not fit, or `norm_batch` does not divide N.
    OverflowError
        If the squares of finite values of `x` sum up to more than its dtype holds.

    Examples
    --------
    The second batch is divided by the root of the mean of both mean squares, sqrt((25 + 73) / 2) = 7:

    >>> one, zero, config = np.ones(1), np.zeros(1), Config(eps=0.0, window=2, clip=1.0)
    >>> _, _, state = forward(np.array([[1.0], [7.0]]), one, zero, init(1, config, dtype=np.float64), config)
    >>> z, _, state = forward(np.array([[5.0], [11.0]]), one, zero, state, config)
    >>> (z * 7).ravel()
    array([ 5., 11.])
    """
    check_own((state, State), (config, Config))
    check_inputs(x, gamma, beta, config.norm_batch)
    check_state(state, "chi2", (x.shape[-1],), x)
    check_state(state, "chi2_window", (config.window, x.shape[-1]), x)
    xp = namespace(x)
    xs = split(x, config.norm_batch)
    chi2_batch = mean_square(xs)
    chi2, chi2_window = _averaged(chi2_batch, state.chi2_window, state.iteration, config)  # eq: sma-backward (13)
    fed = chi2 if config.ema_of == "window" else chi2_batch
    if config.ema_per == "call":
        fed = xp.mean(fed, axis=0, keepdims=True)
    first = state.iteration == 0 and config.ema_start == "first"
    before, after = ema(fed[0, :] if first else state.chi2, fed, config.decay)  # eq: ema-forward (12)
    chi = xp.sqrt(chi2 + config.eps)
    chi_hat = xp.sqrt((before if config.ema_read == "before" else after) + config.eps)
    r = xp.clip(chi / chi_hat, 1 / config.clip, config.clip)  # eq: mabn-renormalise (19)
    r = _joined(xp.ones_like(r), r, _earlier(config.renorm_from, state.iteration, r.shape[0], config))
    y = xs / chi[:, None, :]  # eq: mabn-forward (19)
    z = (gamma * r)[:, None, :] * y + beta  # eq: mabn-forward (19)
    cache = Cache(y, chi, r, copied(gamma), state.iteration, tuple(x.shape), config)
    moved = {"chi2": after[-1, :], "chi2_window": chi2_window, "psi_window": copied(state.psi_window)}
    return merge(z, x.shape), cache, state._replace(**moved, iteration=state.iteration + _iterations(cache))


def _iterations(cache: Cache) -> int:
    """How many of them a call is."""
    return 1 if cache.config.ema_per == "call" else int(cache.r.shape[0])


def _averaged(batch: Array, window: Array, iteration: int, config: Config) -> tuple[Array, Array]:
    """The statistic each normalisation batch uses, its own or the average, and the new window."""
    groups = batch.shape[0]
    seen = iteration * groups if config.ema_per == "call" else iteration
    average, window = sma(window, batch, seen=seen)
    full_from = config.window + 1 if config.partial_window == "batch" else 0
    return _joined(batch, average, _earlier(max(config.warmup, full_from), iteration, groups, config)), window


def _earlier(first: int, iteration: int, groups: int, config: Config) -> int:
    """How many of a call's normalisation batches come before iteration `first`."""
    if config.ema_per == "call":
        return groups if iteration + 1 < first else 0
    return min(max(first - 1 - iteration, 0), groups)


def _joined(earlier: Array, later: Array, count: int) -> Array:
    """The first `count` rows of one, the rest of the other."""
    return namespace(later).concat([earlier[:count, :], later[count:, :]]) if count else later


def gradient_statistics(dz: Array, cache: Cache) -> tuple[Array, Array]:
    """The batch statistics g and Psi, Psi the value that is averaged: :eq:`bn-gradient-statistics` (5).

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
    >>> x, one, zero, config = np.array([[1.0], [7.0]]), np.ones(1), np.zeros(1), Config(eps=0.0, clip=1.0)
    >>> _, cache, _ = forward(x, one, zero, init(1, config, dtype=x.dtype), config)
    >>> gradient_statistics(np.array([[5.0], [15.0]]), cache)
    (array([[10.]]), array([[11.]]))
    """
    check_own((cache, Cache))
    check_dz(dz, cache.y, cache.shape)
    return gradient_means(split(dz, cache.config.norm_batch), cache.y, cache.gamma * cache.r)[:2]


def backward(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """Gradients with the averaged Psi: :eq:`mabn-backward` (20), :eq:`sma-backward` (13), :eq:`mabn-affine-backward`.

    Parameters
    ----------
    dz : array, shape (N, ..., C)
        Gradient of the loss with respect to z, of the dtype of the forward pass.
    cache : Cache
    state : State
        Of its arrays `psi_window` alone is read; the phase comes from the cache, so that several forward passes may
        precede their backward passes, taken in the same order.

    Returns
    -------
    dx : array, shape (N, ..., C)
        What goes back to x; not the derivative of `forward` unless the window is one.
    dgamma, dbeta : array, shape (C,)
        Summed over all samples.
    state : State
        `state` with its new `psi_window`, and its count of what came back.

    Raises
    ------
    TypeError, ValueError
        If `dz` is not of the shape and dtype of the forward pass, `cache` or `state` is that of another normaliser,
        or `state` is from before the forward pass or has been given this cache, or a later one, already.

    Examples
    --------
    >>> one, zero, config = np.ones(1), np.zeros(1), Config(eps=0.0, window=2, clip=1.0)
    >>> _, cache, state = forward(np.array([[1.0], [7.0]]), one, zero, init(1, config, dtype=np.float64), config)
    >>> dx, dgamma, dbeta, state = backward(np.array([[5.0], [15.0]]), cache, state)
    >>> dx.ravel(), state.psi_window.ravel()
    (array([ 0.56, -0.08]), array([ 0., 11.]))
    """
    _check_backward(dz, cache, state)
    y, chi, r, gamma, iteration, shape, config = cache
    dz = split(dz, config.norm_batch)
    _, psi_batch, dz_sum, dzy_sum = gradient_means(dz, y, gamma * r)
    dbeta = total(dz_sum)  # eq: affine-backward
    dgamma = total(r * dzy_sum)  # eq: mabn-affine-backward
    dy = dz * (gamma * r)[:, None, :]  # eq: mabn-backward (20)
    psi, psi_window = _averaged(psi_batch, state.psi_window, iteration, config)  # eq: sma-backward (13)
    dx = (dy - y * psi[:, None, :]) / chi[:, None, :]  # eq: mabn-backward (20)
    state = state._replace(psi_window=psi_window, backward_iteration=iteration + _iterations(cache))
    return merge(dx, shape), dgamma, dbeta, state


def _check_backward(dz: Array, cache: Cache, state: State) -> None:
    check_own((cache, Cache), (state, State))
    check_dz(dz, cache.y, cache.shape)
    check_state(state, "psi_window", (cache.config.window, cache.shape[-1]), dz)
    check_order(state, cache.iteration, _iterations(cache))


def backward_graph(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """The same, step by step back through the graph, with Psi averaged where chi^2 was: :eq:`mabn-graph`.

    Takes and returns what `backward` does, equal to rounding.

    Examples
    --------
    >>> one, zero, config = np.ones(1), np.zeros(1), Config(eps=0.0, window=2, clip=1.0)
    >>> _, cache, state = forward(np.array([[1.0], [7.0]]), one, zero, init(1, config, dtype=np.float64), config)
    >>> backward_graph(np.array([[5.0], [15.0]]), cache, state)[0].ravel()
    array([ 0.56, -0.08])
    """
    _check_backward(dz, cache, state)
    y, chi, r, gamma, iteration, shape, config = cache
    dz = split(dz, config.norm_batch)
    values, chi, r = dz.shape[1], chi[:, None, :], r[:, None, :]
    x = y * chi
    # z = gamma * (r * y) + beta
    dbeta = total(dz)  # eq: affine-backward
    dgamma = total(dz * (r * y))  # eq: mabn-affine-backward
    dy = dz * gamma * r  # eq: mabn-graph
    # y = x / chi
    dx = dy / chi  # eq: mabn-graph
    dlog_chi = -sums(dy * y)  # eq: mabn-graph
    # the batch's own share of the gradient of log chi, -M Psi, gives way to the average over the window
    dlog_chi, psi_window = _averaged(dlog_chi / values, -state.psi_window, iteration, config)  # eq: mabn-graph
    # chi = sqrt(chi2 + eps)
    dchi2 = values * dlog_chi[:, None, :] / (2 * chi**2)  # eq: mabn-graph
    # chi2 = mean of x^2
    dx = dx + 2 * x * dchi2 / values  # eq: mabn-graph
    state = state._replace(psi_window=-psi_window, backward_iteration=iteration + _iterations(cache))
    return merge(dx, shape), dgamma, dbeta, state


def affine(gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Array]:
    """Inference as one map a channel: takes and returns what `mabn_ref.norms.modified_batch_norm.affine` does.

    Examples
    --------
    >>> config = Config(eps=0.0)
    >>> state = init(1, config, dtype=np.float64)._replace(chi2=np.array([4.0]))
    >>> affine(np.array([3.0]), np.array([1.0]), state, config)
    (array([1.5]), array([1.]))
    """
    check_own((state, State), (config, Config))
    return modified_batch_norm.affine(gamma, beta, *_moving(state, config))


def infer(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> Array:
    """Divide by the moving root mean square: takes and returns what `mabn_ref.norms.modified_batch_norm.infer` does.

    Examples
    --------
    >>> config = Config(eps=0.0)
    >>> state = init(1, config, dtype=np.float64)._replace(chi2=np.array([4.0]))
    >>> infer(np.array([[4.0]]), np.ones(1), np.zeros(1), state, config)
    array([[2.]])
    """
    check_own((state, State), (config, Config))
    return modified_batch_norm.infer(x, gamma, beta, *_moving(state, config))


def _moving(state: State, config: Config) -> tuple[modified_batch_norm.State, modified_batch_norm.Config]:
    """What inference reads, as modified batch normalisation has it."""
    return modified_batch_norm.State(state.chi2), modified_batch_norm.Config(eps=config.eps)

r"""Group, layer and instance normalisation: one sample alone, a group of channels together.

Wu and He, "Group Normalization", 2018; Ba, Kiros and Hinton, "Layer Normalization", 2016; Ulyanov, Vedaldi and
Lempitsky, "Instance Normalization", 2016. The three differ in how many groups the channels form. No other sample
takes part, so that there is no moving statistic, and inference is the training pass: it is no affine map of x, which
is why this module has no `affine`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array, check_float_array, check_own, copied, namespace, sums, total
from mabn_ref.norms.batch_norm import moments
from mabn_ref.norms.checks import check_at_least, check_dz, check_inputs, unwrap_numbers


@dataclass(frozen=True, kw_only=True)
class Config:
    r"""Hyper-parameters of group normalisation.

    Parameters
    ----------
    eps : float
        Added to the variance inside the square root, once.
    groups : int or None
        Groups of neighbouring channels, which share statistics; it divides C. 1 is layer normalisation (over all
        positions and channels of a sample); None is one group a channel, instance normalisation.

    Raises
    ------
    TypeError, ValueError
        If a value is not of the kind or in the range above.

    Examples
    --------
    >>> Config(), Config.layer(), Config.instance()
    (Config(eps=1e-05, groups=32), Config(eps=1e-05, groups=1), Config(eps=1e-05, groups=None))
    """

    eps: float = 1e-5
    groups: int | None = 32

    def __post_init__(self) -> None:
        check_at_least("eps", self.eps, 0)
        if self.groups is not None:
            check_at_least("groups", self.groups, 1, whole=True)
        unwrap_numbers(self)

    @classmethod
    def layer(cls, *, eps: float = 1e-5) -> Config:
        """Return layer normalisation: one group."""
        return cls(eps=eps, groups=1)

    @classmethod
    def instance(cls, *, eps: float = 1e-5) -> Config:
        """Return instance normalisation: every channel is a group."""
        return cls(eps=eps, groups=None)


class State(NamedTuple):
    """Nothing: no statistic outlives its sample."""


class Cache(NamedTuple):
    """What backward needs, in the form (N, M, groups) of `split`."""

    y: Array
    """(N, M, groups): the normalised values."""
    sigma: Array
    """(N, groups): sqrt(var + eps)."""
    gamma: Array
    """(C,)."""
    shape: tuple[int, ...]
    """The shape of x."""
    config: Config


def init(channels: int, config: Config, *, dtype: Any, xp: Any = np) -> State:
    """Return the state, which is empty.

    Parameters
    ----------
    channels, config
        C, and the hyper-parameters.
    dtype, xp
        float32 or float64, and the array library; here for the sake of the other normalisers.

    Raises
    ------
    TypeError, ValueError
        If `groups` does not divide `channels`, or a value is not of its kind.

    Examples
    --------
    >>> init(64, Config(), dtype=np.float64)
    State()
    """
    check_own((config, Config))
    check_at_least("channels", channels, 1, whole=True)
    _groups(channels, config)
    check_float_array("the state", xp.zeros((1,), dtype=dtype), real=True)
    return State()


def split(x: Array, config: Config) -> Array:
    """Bring `x` to the form (N, M, groups): M values of each sample and group.

    With it the rest reads as batch normalisation does, a group standing where a channel stood.

    Parameters
    ----------
    x : array, shape (N, ..., C)
        Samples, channels last.
    config : Config
        Its `groups` counts.

    Returns
    -------
    array, shape (N, M, groups)
        M is the number of positions times C / groups. Channels 0 to C / groups - 1 are the first group.

    Examples
    --------
    >>> split(np.array([[1.0, 2.0, 30.0, 40.0]]), Config(groups=2))
    array([[[ 1., 30.],
            [ 2., 40.]]])
    """
    check_own((config, Config))
    check_float_array("x", x)
    if len(x.shape) < 2 or 0 in x.shape:
        raise ValueError(f"x has shape {tuple(x.shape)}, expected (N, ..., C): channels last, no axis empty")
    groups, xp = _groups(x.shape[-1], config), namespace(x)
    apart = xp.reshape(x, (x.shape[0], -1, groups, x.shape[-1] // groups))
    return xp.reshape(xp.permute_dims(apart, (0, 1, 3, 2)), (x.shape[0], -1, groups))


def merge(x: Array, shape: tuple[int, ...]) -> Array:
    """Undo `split`; `shape` is that of x before it.

    Examples
    --------
    >>> x = np.arange(24.0).reshape(2, 2, 6)
    >>> bool(np.all(merge(split(x, Config(groups=3)), x.shape) == x))
    True
    """
    xp, groups = namespace(x), x.shape[2]
    apart = xp.reshape(x, (shape[0], -1, shape[-1] // groups, groups))
    return xp.reshape(xp.permute_dims(apart, (0, 1, 3, 2)), shape)


def _groups(channels: int, config: Config) -> int:
    groups = channels if config.groups is None else config.groups
    if channels % groups:
        raise ValueError(f"groups is {groups}, expected a divisor of the {channels} channels")
    return groups


def statistics(x: Array, config: Config) -> tuple[Array, Array]:
    """Mean and biased variance of every sample and group: :eq:`gn-statistics`.

    Parameters
    ----------
    x : array, shape (N, ..., C), float32 or float64

    Returns
    -------
    mu, var : array, shape (N, groups)

    Examples
    --------
    >>> statistics(np.array([[1.0, 3.0, 10.0, 30.0]]), Config(groups=2))
    (array([[ 2., 20.]]), array([[  1., 100.]]))
    """
    mu, var, _ = moments(split(x, config), place="group")  # eq: gn-statistics
    return mu, var


def forward(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
    """Normalise every sample and group by its own mean and variance: :eq:`gn-normalise`, :eq:`affine` (3).

    Parameters
    ----------
    x : array, shape (N, ..., C), float32 or float64, channels last
    gamma, beta : array, shape (C,), of the dtype of `x`
        One a channel, not one a group.
    state : State
        Returned as it is.
    config : Config

    Returns
    -------
    z : array, shape (N, ..., C), of the dtype of `x`
    cache : Cache
    state : State

    Raises
    ------
    TypeError, ValueError
        If an array is not float32 or float64, dtypes differ, shapes do not fit, `groups` does not divide C, or there
        is one value in a group.
    OverflowError
        If the squares of finite values of `x` sum up to more than its dtype holds.

    Examples
    --------
    >>> x, config = np.array([[1.0, 3.0, 10.0, 30.0]]), Config(eps=0.0, groups=2)
    >>> forward(x, np.ones(4), np.zeros(4), State(), config)[0]
    array([[-1.,  1., -1.,  1.]])
    """
    check_own((state, State), (config, Config))
    check_inputs(x, gamma, beta, None)
    xs = split(x, config)
    if xs.shape[1] == 1:
        raise ValueError(
            f"x has shape {tuple(x.shape)} and groups={config.groups}: one value a sample and group, whose variance "
            "is 0 by construction; expected at least 2 values"
        )
    _, var, centred = moments(xs, place="group")  # eq: gn-statistics
    sigma = namespace(x).sqrt(var + config.eps)
    y = centred / sigma[:, None, :]  # eq: gn-normalise
    z = gamma * merge(y, x.shape) + beta  # eq: affine (3)
    return z, Cache(y, sigma, copied(gamma), tuple(x.shape), config), state


def gradient_statistics(dz: Array, cache: Cache) -> tuple[Array, Array]:
    """The two statistics of backward, g and Psi, of every sample and group: :eq:`gn-gradient-statistics`.

    Parameters
    ----------
    dz : array, shape (N, ..., C)
        Gradient of the loss with respect to z.
    cache : Cache

    Returns
    -------
    g, psi : array, shape (N, groups)
        Means over the group of dy and of y * dy, with dy = gamma * dz; gamma differs within a group.

    Examples
    --------
    >>> x, config = np.array([[1.0, 3.0]]), Config.layer(eps=0.0)
    >>> _, cache, _ = forward(x, np.array([1.0, 5.0]), np.zeros(2), State(), config)
    >>> gradient_statistics(np.array([[1.0, 1.0]]), cache)
    (array([[3.]]), array([[2.]]))
    """
    check_own((cache, Cache))
    check_dz(dz, cache.y, cache.shape)
    return _means(split(dz * cache.gamma, cache.config), cache.y)


def _means(dy: Array, y: Array) -> tuple[Array, Array]:
    """g and psi, (N, groups), from dy and y, both (N, M, groups)."""
    g = sums(dy) / dy.shape[1]  # eq: gn-gradient-statistics
    psi = sums(y * dy) / dy.shape[1]  # eq: gn-gradient-statistics
    return g, psi


def backward(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """Gradients in closed form: :eq:`gn-backward`.

    Parameters
    ----------
    dz : array, shape (N, ..., C)
        Gradient of the loss with respect to z, of the dtype of the forward pass.
    cache : Cache
    state : State
        Returned as it is.

    Returns
    -------
    dx : array, shape (N, ..., C)
    dgamma, dbeta : array, shape (C,)
        Summed over all samples.
    state : State

    Raises
    ------
    TypeError, ValueError
        If `dz` is not of the shape and dtype of the forward pass, or `cache` or `state` is that of another
        normaliser.

    Examples
    --------
    A gradient that is the same for a whole group is annihilated if gamma is:

    >>> x, one, zero, config = np.array([[1.0, 3.0, 8.0]]), np.ones(3), np.zeros(3), Config.layer(eps=0.0)
    >>> _, cache, state = forward(x, one, zero, State(), config)
    >>> backward(np.ones((1, 3)), cache, state)[0]
    array([[0., 0., 0.]])
    """
    check_own((cache, Cache), (state, State))
    check_dz(dz, cache.y, cache.shape)
    y, sigma, gamma, shape, config = cache
    dgamma, dbeta = _affine_gradients(dz, merge(y, shape))
    dy = split(dz * gamma, config)
    g, psi = _means(dy, y)
    dx = (dy - g[:, None, :] - y * psi[:, None, :]) / sigma[:, None, :]  # eq: gn-backward
    return merge(dx, shape), dgamma, dbeta, state


def _affine_gradients(dz: Array, y: Array) -> tuple[Array, Array]:
    """Gradients of gamma and beta, which belong to channels, from dz and y of the shape of x."""
    dgamma = total(dz * y)  # eq: affine-backward
    dbeta = total(dz)  # eq: affine-backward
    return dgamma, dbeta


def backward_graph(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """The same gradients, step by step back through the computation graph: :eq:`gn-graph`.

    Takes and returns what `backward` does, equal to rounding.

    Examples
    --------
    >>> x, one, zero, config = np.array([[1.0, 3.0, 8.0]]), np.ones(3), np.zeros(3), Config.layer()
    >>> _, cache, state = forward(x, one, zero, State(), config)
    >>> dz = np.array([[1.0, 0.0, 0.0]])
    >>> bool(np.allclose(backward(dz, cache, state)[0], backward_graph(dz, cache, state)[0]))
    True
    """
    check_own((cache, Cache), (state, State))
    check_dz(dz, cache.y, cache.shape)
    y, sigma, gamma, shape, config = cache
    values, sigma = y.shape[1], sigma[:, None, :]
    centred = y * sigma
    # z = gamma * y + beta
    dgamma, dbeta = _affine_gradients(dz, merge(y, shape))
    dy = split(dz * gamma, config)  # eq: gn-graph
    # y = centred / sigma
    dcentred = dy / sigma  # eq: gn-graph
    dsigma = -sums(dy * centred)[:, None, :] / sigma**2  # eq: gn-graph
    # sigma = sqrt(var + eps)
    dvar = dsigma / (2 * sigma)  # eq: gn-graph
    # var = mean of centred^2
    dcentred = dcentred + 2 * centred * dvar / values  # eq: gn-graph
    # centred = x - mu, and mu = mean of x
    dmu = -sums(dcentred)[:, None, :]  # eq: gn-graph
    dx = dcentred + dmu / values  # eq: gn-graph
    return merge(dx, shape), dgamma, dbeta, state


def infer(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> Array:
    """Do what `forward` does: :eq:`gn-normalise`.

    Parameters
    ----------
    x, gamma, beta, state, config
        As in `forward`.

    Returns
    -------
    z : array, shape (N, ..., C)
        Each sample's output depends on that sample alone.

    Examples
    --------
    >>> infer(np.array([[1.0, 3.0]]), np.ones(2), np.zeros(2), State(), Config.layer(eps=0.0))
    array([[-1.,  1.]])
    """
    return forward(x, gamma, beta, state, config)[0]

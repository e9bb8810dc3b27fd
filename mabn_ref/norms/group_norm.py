r"""Group, layer and instance normalisation: one sample alone, a group of channels together.

Wu and He, "Group Normalization", 2018; Ba, Kiros and Hinton, "Layer Normalization", 2016; Ulyanov, Vedaldi and
Lempitsky, "Instance Normalization", 2016. The three differ in how many groups the channels form. No other sample
takes part, so there are no moving statistics, and inference is the training pass. That is not an affine map of x,
which is why this module has no `affine`. gamma and beta are one number per channel, not per group. The example: a
gradient that is the same for a whole group is annihilated if gamma is.

Examples
--------
>>> x, one, zero, config = np.array([[1.0, 3.0, 10.0, 30.0]]), np.ones(4), np.zeros(4), Config(eps=0.0, groups=2)
>>> z, cache, state = forward(x, one, zero, init(4, config, dtype=x.dtype), config)
>>> z, backward(np.array([[1.0, 1.0, 3.0, 3.0]]), cache, state)[0]
(array([[-1.,  1., -1.,  1.]]), array([[0., 0., 0., 0.]]))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array, check_own, check_squares, copied, less, namespace, total
from mabn_ref.norms import checks
from mabn_ref.norms.checks import Checked, setting
from mabn_ref.norms.common import mean, merge, one_of, root, split


@dataclass(frozen=True, kw_only=True)
class Config(Checked):
    """Hyper-parameters."""

    eps: float = setting(1e-5, at_least=0, note="added to the variance inside the root, once")
    groups: int | None = setting(
        32,
        at_least=1,
        whole=True,
        or_none=True,
        note="groups of neighbouring channels that share statistics, dividing C. 1: layer normalisation, over all "
        "positions and channels of a sample; None: one group per channel, instance normalisation",
    )

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
    """What backward needs, in the canonical form (N, M, C): every sample is a normalisation batch."""

    y: Array  #: (N, M, C): the normalised values
    sigma: Array  #: (N, 1, C): sqrt(var + eps), the same for all channels of a group
    gamma: Array  #: (C,)
    shape: tuple[int, ...]  #: the shape of x
    config: Config


def init(channels: int, config: Config, *, dtype: Any, xp: Any = np) -> State:
    """The state, which is empty; `groups` has to divide `channels`."""
    checks.init(channels, (config, Config), dtype, xp)
    _width(channels, config)
    return State()


def _width(channels: int, config: Config) -> int:
    """How many channels a group has."""
    groups = channels if config.groups is None else config.groups
    if channels % groups:
        raise ValueError(f"groups is {groups}, expected a divisor of the {channels} channels")
    return channels // groups


def group_mean(x: Array, config: Config) -> Array:
    """Means over each sample and group, at every channel of the group: from (N, M, C) to (N, 1, C).

    Channels 0 to C / groups - 1 are the first group.

    Examples
    --------
    >>> group_mean(np.array([[[1.0, 3.0, 10.0, 30.0]]]), Config(groups=2))
    array([[[ 2.,  2., 20., 20.]]])
    """
    xp, width = namespace(x), _width(x.shape[2], config)
    of_groups = xp.sum(xp.reshape(mean(x), (x.shape[0], 1, -1, width)), axis=3) / width
    return xp.repeat(of_groups, width, axis=2)


def _centre(x: Array, config: Config) -> tuple[Array, Array]:
    """Do what `mabn_ref.norms.common.centre` does, with a group in the place of a channel."""
    width = _width(x.shape[2], config)
    start = namespace(x).repeat(one_of(x)[:, :, ::width], width, axis=2)
    distances = less(x, start[:, 0, :])
    off = group_mean(distances, config)
    return start + off, less(distances, off[:, 0, :])


def statistics(x: Array, config: Config) -> tuple[Array, Array]:
    """Mean and biased variance of every sample and group, (N, groups): :eq:`gn-statistics`."""
    check_own((config, Config))
    mu, centred = _centre(split(x, 1), config)  # eq: gn-statistics
    var = group_mean(centred * centred, config)  # eq: gn-statistics
    check_squares("x", x, var)
    width = _width(x.shape[-1], config)
    return mu[:, 0, ::width], var[:, 0, ::width]


def forward(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
    """Normalise every sample and group by its own mean and variance: :eq:`gn-normalise`, :eq:`affine` (3)."""
    checks.forward(x, gamma, beta, (state, State), (config, Config), init)
    shape, x = tuple(x.shape), split(x, 1)
    if x.shape[1] * _width(x.shape[2], config) == 1:
        raise ValueError(
            f"x has shape {shape} and groups={config.groups}: one value per sample and group, whose variance "
            "is 0 by construction; expected at least 2 values"
        )
    _, centred = _centre(x, config)  # eq: gn-statistics
    var = group_mean(centred * centred, config)  # eq: gn-statistics
    check_squares("x", x, var)
    sigma = root(var + config.eps)
    y = centred / sigma  # eq: gn-normalise
    z = gamma * y + beta  # eq: affine (3)
    return merge(z, shape), Cache(y, sigma, copied(gamma), shape, config), state


def gradient_statistics(dz: Array, cache: Cache) -> tuple[Array, Array]:
    """The two statistics of backward, of dy, of every sample and group, (N, groups): :eq:`gn-gradient-statistics`."""
    checks.gradient_statistics(dz, (cache, Cache))
    dy = split(dz, 1) * cache.gamma
    g = group_mean(dy, cache.config)  # eq: gn-gradient-statistics
    psi = group_mean(cache.y * dy, cache.config)  # eq: gn-gradient-statistics
    width = _width(g.shape[2], cache.config)
    return g[:, 0, ::width], psi[:, 0, ::width]


def backward(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """Gradients in closed form: :eq:`gn-backward`."""
    checks.backward(dz, (cache, Cache), (state, State), init)
    dz, (y, sigma, gamma, shape, config) = split(dz, 1), cache
    dbeta = total(dz)  # eq: affine-backward
    dgamma = total(dz * y)  # eq: affine-backward
    dy = dz * gamma
    g = group_mean(dy, config)  # eq: gn-gradient-statistics
    psi = group_mean(y * dy, config)  # eq: gn-gradient-statistics
    dx = (dy - g - y * psi) / sigma  # eq: gn-backward
    return merge(dx, shape), dgamma, dbeta, state


def backward_graph(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """The same gradients, step by step back through the computation graph: :eq:`gn-graph`."""
    checks.backward(dz, (cache, Cache), (state, State), init)
    dz, (y, sigma, gamma, shape, config) = split(dz, 1), cache
    centred, values = y * sigma, y.shape[1] * _width(y.shape[2], config)
    # z = gamma * y + beta
    dbeta = total(dz)  # eq: affine-backward
    dgamma = total(dz * y)  # eq: affine-backward
    dy = dz * gamma  # eq: gn-graph
    # y = centred / sigma
    dcentred = dy / sigma  # eq: gn-graph
    dsigma = -values * group_mean(dy * centred, config) / sigma**2  # eq: gn-graph
    # sigma = sqrt(var + eps)
    dvar = dsigma / (2 * sigma)  # eq: gn-graph
    # var = mean of centred^2
    dcentred = dcentred + 2 * centred * dvar / values  # eq: gn-graph
    # centred = x - mu, and mu = mean of x
    dmu = -values * group_mean(dcentred, config)  # eq: gn-graph
    dx = dcentred + dmu / values  # eq: gn-graph
    return merge(dx, shape), dgamma, dbeta, state


def infer(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> Array:
    """Do what `forward` does: :eq:`gn-normalise`. Each sample's output depends on that sample alone."""
    return forward(x, gamma, beta, state, config)[0]

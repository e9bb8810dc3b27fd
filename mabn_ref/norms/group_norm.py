r"""Group, layer and instance normalisation: statistics of a single sample, over a group of channels.

Wu and He, "Group Normalization", 2018; Ba, Kiros and Hinton, "Layer Normalization", 2016; Ulyanov, Vedaldi and
Lempitsky, "Instance Normalization", 2016. The three differ in how many groups the channels form. No other sample
takes part, so there are no moving statistics, and inference is the training pass. That is not an affine map of x,
which is why this module has no `affine`. gamma and beta are one number per channel, not per group. In the example the
gradient is constant within each group and becomes zero, since gamma is constant there too.

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

from mabn_ref.arrays import Array, check_float_array, check_own, check_squares, copied, less, namespace, total
from mabn_ref.norms import checks
from mabn_ref.norms.checks import Checked, check_shape, setting
from mabn_ref.norms.common import mean, merge, one_of, root


@dataclass(frozen=True, kw_only=True)
class Config(Checked):
    """Hyper-parameters."""

    eps: float = setting(1e-5, at_least=0, note="added to the variance inside the root, once")
    groups: int | None = setting(
        32,
        at_least=1,
        whole=True,
        or_none=True,
        note="number of groups of neighbouring channels that share statistics; it divides C. 1: layer normalisation, "
        "over all positions and channels of a sample; None: one group per channel, instance normalisation",
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
    """Empty: no statistics are kept from one call to the next."""


class Cache(NamedTuple):
    """What backward needs, in the form of `split`."""

    y: Array  #: (N, M, C) or (N * groups, values, 1): the normalised values
    sigma: Array  #: (N, 1, C) or (N * groups, 1, 1): sqrt(var + eps), the same for all channels of a group
    gamma: Array  #: (C,)
    shape: tuple[int, ...]  #: the shape of x
    config: Config


def init(channels: int, config: Config, *, dtype: Any, xp: Any = np) -> State:
    """The state, which is empty; `groups` has to divide `channels`."""
    checks.init(channels, (config, Config), dtype, xp)
    _width(channels, config)
    return State()


def split(x: Array, config: Config) -> Array:
    """Bring x to (N, M, C), or to (N * groups, values, 1) if the values of a group are neighbours in memory.

    They are if there is one group or one position. Each group is then a normalisation batch of one channel, with one
    number per statistic. Otherwise `group_mean` brings the channels of a group together.

    Examples
    --------
    >>> x = np.zeros((8, 5, 5, 6))
    >>> split(x, Config(groups=2)).shape, split(x, Config.layer()).shape, split(x[:, 0, 0], Config(groups=2)).shape
    ((8, 25, 6), (8, 150, 1), (16, 3, 1))
    """
    check_own((config, Config))
    check_float_array("x", x)
    check_shape(x)
    samples, channels = x.shape[0], x.shape[-1]
    groups = channels // _width(channels, config)
    neighbours = groups == 1 or x.size == samples * channels
    return namespace(x).reshape(x, (samples * groups, -1, 1) if neighbours else (samples, -1, channels))


def _width(channels: int, config: Config) -> int:
    """The number of channels in a group."""
    groups = channels if config.groups is None else config.groups
    if channels % groups:
        raise ValueError(f"groups is {groups}, expected a divisor of the {channels} channels")
    return channels // groups


def _together(x: Array, config: Config) -> int:
    """The number of channels in a group of x, which is in the form of `split`."""
    return 1 if x.shape[2] == 1 else _width(x.shape[2], config)


def group_mean(x: Array, config: Config) -> Array:
    """Means over each sample and group, repeated for every channel of the group: from (N, M, C) to (N, 1, C).

    Channels 0 to C / groups - 1 are the first group.

    Examples
    --------
    >>> group_mean(np.array([[[1.0, 3.0, 10.0, 30.0]]]), Config(groups=2))
    array([[[ 2.,  2., 20., 20.]]])
    """
    xp, width = namespace(x), _together(x, config)
    of_groups = xp.sum(xp.reshape(mean(x), (x.shape[0], 1, -1, width)), axis=3) / width
    return xp.repeat(of_groups, width, axis=2)


def _centre(x: Array, config: Config) -> tuple[Array, Array]:
    """Centre as `mabn_ref.norms.common.centre` does, with a group in place of a channel."""
    width = _together(x, config)
    start = namespace(x).repeat(one_of(x)[:, :, ::width], width, axis=2)
    distances = less(x, start[:, 0, :])
    off = group_mean(distances, config)
    return start + off, less(distances, off[:, 0, :])


def _of_groups(statistic: Array, samples: int, config: Config) -> Array:
    """A statistic of every sample and group, (N, groups)."""
    once = statistic[:, 0, :: _together(statistic, config)]
    return namespace(statistic).reshape(once, (samples, -1))


def statistics(x: Array, config: Config) -> tuple[Array, Array]:
    """Mean and biased variance of every sample and group, (N, groups): :eq:`gn-statistics`."""
    mu, centred = _centre(split(x, config), config)  # eq: gn-statistics
    var = group_mean(centred * centred, config)  # eq: gn-statistics
    check_squares("x", x, var)
    return _of_groups(mu, x.shape[0], config), _of_groups(var, x.shape[0], config)


def forward(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
    """Normalise every sample and group by its own mean and variance: :eq:`gn-normalise`, :eq:`affine` (3)."""
    checks.forward(x, gamma, beta, (state, State), (config, Config), init)
    shape, values = tuple(x.shape), split(x, config)
    count = values.shape[1] * _together(values, config)
    checks.check_varied(count, f"x has shape {shape} and groups={config.groups}", "sample and group")
    _, centred = _centre(values, config)  # eq: gn-statistics
    var = group_mean(centred * centred, config)  # eq: gn-statistics
    check_squares("x", x, var)
    sigma = root(var + config.eps)
    y = centred / sigma  # eq: gn-normalise
    z = gamma * merge(y, shape) + beta  # eq: affine (3)
    return z, Cache(y, sigma, copied(gamma), shape, config), state


def gradient_statistics(dz: Array, cache: Cache) -> tuple[Array, Array]:
    """Means of dy and y * dy over every sample and group, (N, groups): :eq:`gn-gradient-statistics`."""
    checks.gradient_statistics(dz, (cache, Cache))
    dy = split(dz * cache.gamma, cache.config)
    g = group_mean(dy, cache.config)  # eq: gn-gradient-statistics
    psi = group_mean(cache.y * dy, cache.config)  # eq: gn-gradient-statistics
    return _of_groups(g, dz.shape[0], cache.config), _of_groups(psi, dz.shape[0], cache.config)


def backward(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """Gradients in closed form: :eq:`gn-backward`."""
    checks.backward(dz, (cache, Cache), (state, State), init)
    y, sigma, gamma, shape, config = cache
    dbeta = total(dz)  # eq: affine-backward
    dgamma = total(dz * merge(y, shape))  # eq: affine-backward
    dy = split(dz * gamma, config)
    g = group_mean(dy, config)  # eq: gn-gradient-statistics
    psi = group_mean(y * dy, config)  # eq: gn-gradient-statistics
    dx = (dy - g - y * psi) / sigma  # eq: gn-backward
    return merge(dx, shape), dgamma, dbeta, state


def backward_graph(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """The same gradients, step by step back through the computation graph: :eq:`gn-graph`."""
    checks.backward(dz, (cache, Cache), (state, State), init)
    y, sigma, gamma, shape, config = cache
    centred, values = y * sigma, y.shape[1] * _together(y, config)
    # z = gamma * y + beta
    dbeta = total(dz)  # eq: affine-backward
    dgamma = total(dz * merge(y, shape))  # eq: affine-backward
    dy = split(dz * gamma, config)  # eq: gn-graph
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

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

from mabn_ref.arrays import Array, check_float_array, check_own, copied, namespace, total
from mabn_ref.norms import checks
from mabn_ref.norms.checks import Checked, check_shape, setting
from mabn_ref.norms.common import centre, mean, mean_square, root, sums


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
    """What backward needs, in the form (N, M, groups) of `split`."""

    y: Array  #: (N, M, groups): the normalised values
    sigma: Array  #: (N, 1, groups): sqrt(var + eps)
    gamma: Array  #: (C,)
    shape: tuple[int, ...]  #: the shape of x
    config: Config


def init(channels: int, config: Config, *, dtype: Any, xp: Any = np) -> State:
    """The state, which is empty; `groups` has to divide `channels`."""
    checks.init(channels, (config, Config), dtype, xp)
    _groups(channels, config)
    return State()


def split(x: Array, config: Config) -> Array:
    """Bring `x` to the form (N, M, groups): M values of each sample and group.

    With it the rest reads like batch normalisation, with a group in place of a channel. M is the number of
    positions times C / groups; channels 0 to C / groups - 1 are the first group.
    """
    check_own((config, Config))
    check_float_array("x", x)
    check_shape(x)
    groups, xp = _groups(x.shape[-1], config), namespace(x)
    apart = xp.reshape(x, (x.shape[0], -1, groups, x.shape[-1] // groups))
    return xp.reshape(xp.permute_dims(apart, (0, 1, 3, 2)), (x.shape[0], -1, groups))


def merge(x: Array, shape: tuple[int, ...]) -> Array:
    """Undo `split`; `shape` is that of x before it."""
    xp, groups = namespace(x), x.shape[2]
    apart = xp.reshape(x, (shape[0], -1, shape[-1] // groups, groups))
    return xp.reshape(xp.permute_dims(apart, (0, 1, 3, 2)), shape)


def _groups(channels: int, config: Config) -> int:
    groups = channels if config.groups is None else config.groups
    if channels % groups:
        raise ValueError(f"groups is {groups}, expected a divisor of the {channels} channels")
    return groups


def statistics(x: Array, config: Config) -> tuple[Array, Array]:
    """Mean and biased variance of every sample and group, (N, groups): :eq:`gn-statistics`."""
    x = split(x, config)
    mu, centred = centre(x)  # eq: gn-statistics
    var = mean_square(centred, x, place="group")  # eq: gn-statistics
    return mu[:, 0, :], var[:, 0, :]


def forward(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
    """Normalise every sample and group by its own mean and variance: :eq:`gn-normalise`, :eq:`affine` (3)."""
    checks.forward(x, gamma, beta, (state, State), (config, Config), init)
    shape, x = tuple(x.shape), split(x, config)
    if x.shape[1] == 1:
        raise ValueError(
            f"x has shape {shape} and groups={config.groups}: one value per sample and group, whose variance "
            "is 0 by construction; expected at least 2 values"
        )
    _, centred = centre(x)  # eq: gn-statistics
    var = mean_square(centred, x, place="group")  # eq: gn-statistics
    sigma = root(var + config.eps)
    y = centred / sigma  # eq: gn-normalise
    z = gamma * merge(y, shape) + beta  # eq: affine (3)
    return z, Cache(y, sigma, copied(gamma), shape, config), state


def gradient_statistics(dz: Array, cache: Cache) -> tuple[Array, Array]:
    """The two statistics of backward, of dy, of every sample and group, (N, groups): :eq:`gn-gradient-statistics`."""
    checks.gradient_statistics(dz, (cache, Cache))
    dy = split(dz * cache.gamma, cache.config)
    g = mean(dy)  # eq: gn-gradient-statistics
    psi = mean(cache.y * dy)  # eq: gn-gradient-statistics
    return g[:, 0, :], psi[:, 0, :]


def backward(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """Gradients in closed form: :eq:`gn-backward`."""
    checks.backward(dz, (cache, Cache), (state, State), init)
    y, sigma, gamma, shape, config = cache
    dbeta = total(dz)  # eq: affine-backward
    dgamma = total(dz * merge(y, shape))  # eq: affine-backward
    dy = split(dz * gamma, config)
    g = mean(dy)  # eq: gn-gradient-statistics
    psi = mean(y * dy)  # eq: gn-gradient-statistics
    dx = (dy - g - y * psi) / sigma  # eq: gn-backward
    return merge(dx, shape), dgamma, dbeta, state


def backward_graph(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """The same gradients, step by step back through the computation graph: :eq:`gn-graph`."""
    checks.backward(dz, (cache, Cache), (state, State), init)
    y, sigma, gamma, shape, config = cache
    centred, values = y * sigma, y.shape[1]
    # z = gamma * y + beta
    dbeta = total(dz)  # eq: affine-backward
    dgamma = total(dz * merge(y, shape))  # eq: affine-backward
    dy = split(dz * gamma, config)  # eq: gn-graph
    # y = centred / sigma
    dcentred = dy / sigma  # eq: gn-graph
    dsigma = -sums(dy * centred) / sigma**2  # eq: gn-graph
    # sigma = sqrt(var + eps)
    dvar = dsigma / (2 * sigma)  # eq: gn-graph
    # var = mean of centred^2
    dcentred = dcentred + 2 * centred * dvar / values  # eq: gn-graph
    # centred = x - mu, and mu = mean of x
    dmu = -sums(dcentred)  # eq: gn-graph
    dx = dcentred + dmu / values  # eq: gn-graph
    return merge(dx, shape), dgamma, dbeta, state


def infer(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> Array:
    """Do what `forward` does: :eq:`gn-normalise`. Each sample's output depends on that sample alone."""
    return forward(x, gamma, beta, state, config)[0]

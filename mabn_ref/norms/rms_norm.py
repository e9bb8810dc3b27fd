r"""RMSNorm and Filter Response Normalization: modified batch normalisation of one sample, with other axes.

RMSNorm (Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019) divides each position by the root mean
square over its channels; FRN (Singh and Krishnan, "Filter Response Normalization Layer", 2020) divides each channel
of a sample by the root mean square over its positions. No other sample takes part, so there are no moving statistics,
and inference is the training pass, which is not an affine map of x. RMSNorm has no beta: leave it at zero. FRN is
used with a learned threshold, `mabn_ref.nn.threshold`. In the example both channels are divided by 5, which is
sqrt((1 + 49) / 2).

Examples
--------
>>> x, one, zero, config = np.array([[1.0, 7.0]]), np.ones(2), np.zeros(2), Config(eps=0.0)
>>> z, cache, state = forward(x, one, zero, init(2, config, dtype=x.dtype), config)
>>> z, backward(np.array([[1.0, 0.0]]), cache, state)[0]
(array([[0.2, 1.4]]), array([[ 0.196, -0.028]]))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array, check_own, copied, total
from mabn_ref.norms import checks, common
from mabn_ref.norms.checks import Checked, setting
from mabn_ref.norms.common import gradient_means, mean, mean_square, merge, root


@dataclass(frozen=True, kw_only=True)
class Config(Checked):
    """Hyper-parameters."""

    eps: float = setting(1e-6, at_least=0, note="added to the mean square inside the root, once")
    axes: str = setting(
        "channels",
        choices=("channels", "positions"),
        note="what the mean square is taken over: the channels of a position, RMSNorm, or the positions of a channel "
        "in a sample, Filter Response Normalization",
    )


class State(NamedTuple):
    """Empty: no statistics are kept from one call to the next."""


class Cache(NamedTuple):
    """What backward needs, in the form of `split`."""

    y: Array  #: (N, M, C) over positions, (N * positions, C, 1) over channels: the normalised values
    chi: Array  #: (N, 1, C) or (N * positions, 1, 1): sqrt(chi2 + eps)
    gamma: Array  #: (C,)
    shape: tuple[int, ...]  #: the shape of x
    config: Config


def init(channels: int, config: Config, *, dtype: Any, xp: Any = np) -> State:
    """The state, which is empty."""
    checks.init(channels, (config, Config), dtype, xp)
    return State()


def split(x: Array, config: Config) -> Array:
    """Bring `x` to a form in which the mean square is taken over the middle axis, as in modified BN.

    Over channels, each position of a sample is a normalisation batch, whose values are its channels.

    Examples
    --------
    >>> x = np.zeros((8, 5, 5, 3))
    >>> split(x, Config(axes="channels")).shape, split(x, Config(axes="positions")).shape
    ((200, 3, 1), (8, 25, 3))
    """
    check_own((config, Config))
    of_positions = common.split(x, 1)
    return merge(of_positions, (-1, x.shape[-1], 1)) if config.axes == "channels" else of_positions


def statistics(x: Array, config: Config) -> Array:
    """Mean square of every position, (N * positions, 1), or sample and channel, (N, C): :eq:`rms-statistics`."""
    return mean_square(split(x, config), x)[:, 0, :]  # eq: rms-statistics


def forward(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
    """Divide by the root mean square of the position or channel: :eq:`rms-normalise`, :eq:`affine` (3)."""
    checks.forward(x, gamma, beta, (state, State), (config, Config), init)
    shape, values = tuple(x.shape), split(x, config)
    chi2 = mean_square(values, x)  # eq: rms-statistics
    chi = root(chi2 + config.eps)  # eq: rms-normalise
    y = values / chi  # eq: rms-normalise
    z = gamma * merge(y, shape) + beta  # eq: affine (3)
    return z, Cache(y, chi, copied(gamma), shape, config), state


def gradient_statistics(dz: Array, cache: Cache) -> tuple[Array, Array]:
    """The means of dy and y * dy, of which backward uses only the second: :eq:`rms-backward`."""
    checks.gradient_statistics(dz, (cache, Cache))
    return gradient_means(split(dz * cache.gamma, cache.config), cache.y)


def backward(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """Gradients in closed form: :eq:`rms-backward`."""
    checks.backward(dz, (cache, Cache), (state, State), init)
    y, chi, gamma, shape, config = cache
    dbeta = total(dz)  # eq: affine-backward
    dgamma = total(dz * merge(y, shape))  # eq: affine-backward
    dy = split(dz * gamma, config)
    psi = mean(y * dy)  # eq: rms-backward
    dx = (dy - y * psi) / chi  # eq: rms-backward
    return merge(dx, shape), dgamma, dbeta, state


def infer(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> Array:
    """Do what `forward` does: :eq:`rms-normalise`. Each sample's output depends on that sample alone."""
    return forward(x, gamma, beta, state, config)[0]

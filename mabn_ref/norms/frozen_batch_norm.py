r"""Frozen batch normalisation: the moving statistics of an earlier training, held as constants.

Detection code did this for years when fine-tuning with two images per device: nothing is measured, so nothing is
noisy, but nothing adapts to the new data either. For decay -> 1, what Batch Renormalization does in forward, unless
clipped, approaches this, and so does MABN if the mean is 0; but here backward has neither g nor Psi. Start from a
trained network (`mabn_ref.nn.convert`), since `init` has no statistics of the data.

Examples
--------
>>> x, one, zero, config = np.array([[1.0], [7.0]]), np.ones(1), np.zeros(1), Config(eps=0.0)
>>> state = State(mean=np.array([3.0]), var=np.array([4.0]))
>>> z, cache, state = forward(x, one, zero, state, config)
>>> z.ravel(), backward(np.array([[1.0], [1.0]]), cache, state)[0].ravel()
(array([-1.,  2.]), array([0.5, 0.5]))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array, check_own, copied, total
from mabn_ref.norms import batch_norm, checks
from mabn_ref.norms.checks import Checked, setting
from mabn_ref.norms.common import gradient_means, merge, root, split


@dataclass(frozen=True, kw_only=True)
class Config(Checked):
    """Hyper-parameters."""

    eps: float = setting(1e-5, at_least=0, note="added to the variance inside the root, once")


class State(NamedTuple):
    """The constants, which no pass changes."""

    mean: Array  #: (C,), 0 from `init`
    var: Array  #: (C,), biased, 1 from `init`


class Cache(NamedTuple):
    """What backward needs, in the canonical form (G, M, C), with all samples of a call as one batch."""

    y: Array  #: (1, M, C): the normalised values
    sigma: Array  #: (C,): sqrt(var + eps)
    gamma: Array  #: (C,)
    shape: tuple[int, ...]  #: the shape of x
    config: Config


def init(channels: int, config: Config, *, dtype: Any, xp: Any = np) -> State:
    """The state that normalises nothing: mean 0 and variance 1."""
    checks.init(channels, (config, Config), dtype, xp)
    return State(mean=xp.zeros((channels,), dtype=dtype), var=xp.ones((channels,), dtype=dtype))


def statistics(x: Array, config: Config) -> tuple[Array, Array]:
    """Mean and biased variance of a call, (1, C), which forward does not use: :eq:`bn-statistics` (2)."""
    check_own((config, Config))
    return batch_norm.statistics(x, batch_norm.Config())


def forward(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
    """Normalise by the constants, as inference does: :eq:`bn-infer`."""
    checks.forward(x, gamma, beta, (state, State), (config, Config), init)
    shape, x = tuple(x.shape), split(x, None)
    sigma = root(state.var + config.eps)  # eq: bn-infer
    y = (x - state.mean) / sigma  # eq: bn-infer
    z = gamma * y + beta  # eq: affine (3)
    return merge(z, shape), Cache(y, sigma, copied(gamma), shape, config), State(*map(copied, state))


def gradient_statistics(dz: Array, cache: Cache) -> tuple[Array, Array]:
    """The batch means g and Psi of dy and y * dy, which backward leaves out: :eq:`bn-gradient-statistics` (5)."""
    checks.gradient_statistics(dz, (cache, Cache))
    return gradient_means(split(dz, None), cache.y, cache.gamma)


def backward(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """Gradients of one affine map per channel: :eq:`frozen-backward`."""
    checks.backward(dz, (cache, Cache), (state, State), init)
    dz = split(dz, None)
    y, sigma, gamma, shape, _ = cache
    dbeta = total(dz)  # eq: affine-backward
    dgamma = total(dz * y)  # eq: affine-backward
    dy = dz * gamma
    dx = dy / sigma  # eq: frozen-backward
    return merge(dx, shape), dgamma, dbeta, state


def affine(gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Array]:
    """Training and inference as one map per channel, ``z = scale * x + shift``, for folding: :eq:`fold`."""
    checks.affine(gamma, beta, (state, State), (config, Config), init)
    return batch_norm.affine(gamma, beta, batch_norm.State(*state), batch_norm.Config(eps=config.eps))


def infer(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> Array:
    """Normalise by the constants, as `forward` and the inference of batch norm do: :eq:`bn-infer`."""
    checks.infer(x, gamma, beta, (state, State), (config, Config), init)
    return batch_norm.infer(x, gamma, beta, batch_norm.State(*state), batch_norm.Config(eps=config.eps))

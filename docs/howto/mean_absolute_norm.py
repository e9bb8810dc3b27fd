"""A normaliser that divides by the batch's mean absolute value."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mabn_ref.norms.checks import Settings, setting
from mabn_ref.norms.common import ema, mean, merge, split


@dataclass(frozen=True, kw_only=True)
class Config(Settings):  # which has eps and norm_batch
    decay: float = setting(0.9, at_least=0, below=1, note="weight of the old value in the moving size")


class State(NamedTuple):
    size: np.ndarray  # (C,): the moving mean absolute value


class Cache(NamedTuple):
    y: np.ndarray  # (G, M, C)
    size: np.ndarray  # (G, 1, C)
    gamma: np.ndarray  # (C,)
    shape: tuple
    config: Config


def init(channels, config, *, dtype, xp=np):
    return State(xp.ones(channels, dtype=dtype))


def forward(x, gamma, beta, state, config):
    shape, x = x.shape, split(x, config.norm_batch)
    size = mean(np.abs(x)) + config.eps
    y = x / size
    _, moving_size = ema(state.size, size, config.decay)
    cache = Cache(y, size, gamma.copy(), shape, config)
    return merge(gamma * y + beta, shape), cache, State(moving_size[-1, 0])


def backward(dz, cache, state):
    y, size, gamma, shape, config = cache
    dz = split(dz, config.norm_batch)
    dgamma, dbeta = np.sum(dz * y, axis=(0, 1)), np.sum(dz, axis=(0, 1))
    dy = dz * gamma
    psi = mean(y * dy)
    dx = (dy - np.sign(y) * psi) / size
    return merge(dx, shape), dgamma, dbeta, state


def infer(x, gamma, beta, state, config):
    return gamma * x / state.size + beta

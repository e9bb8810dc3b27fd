"""A normaliser that divides by the batch's mean absolute value."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mabn_ref.norms.micro_batches import merge, split
from mabn_ref.norms.moving import ema


@dataclass(frozen=True, kw_only=True)
class Config:
    eps: float = 1e-5
    norm_batch: int | None = None
    decay: float = 0.9


class State(NamedTuple):
    size: np.ndarray  # (C,): the moving mean absolute value


class Cache(NamedTuple):
    y: np.ndarray  # (G, M, C)
    size: np.ndarray  # (G, C)
    gamma: np.ndarray  # (C,)
    shape: tuple
    config: Config


def init(channels, config, *, dtype, xp=np):
    return State(xp.ones(channels, dtype=dtype))


def forward(x, gamma, beta, state, config):
    xs = split(x, config.norm_batch)
    size = np.mean(np.abs(xs), axis=1) + config.eps
    y = xs / size[:, None, :]
    _, after = ema(state.size, size, config.decay)
    cache = Cache(y, size, gamma.copy(), x.shape, config)
    return merge(gamma * y + beta, x.shape), cache, State(after[-1])


def backward(dz, cache, state):
    y, size, gamma, shape, config = cache
    dz = split(dz, config.norm_batch)
    dgamma, dbeta = np.sum(dz * y, axis=(0, 1)), np.sum(dz, axis=(0, 1))
    dy = dz * gamma
    psi = np.mean(y * dy, axis=1)
    dx = (dy - np.sign(y) * psi[:, None, :]) / size[:, None, :]
    return merge(dx, shape), dgamma, dbeta, state


def infer(x, gamma, beta, state, config):
    return gamma * x / state.size + beta

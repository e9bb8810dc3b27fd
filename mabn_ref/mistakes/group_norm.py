"""Wrong passes of group normalisation. The right line for dx is ``(dy - g - y * psi) / sigma``, dy = dz * gamma."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.mistakes.draws import grouped_calls
from mabn_ref.mistakes.mistake import Mistake
from mabn_ref.norms import group_norm
from mabn_ref.norms.group_norm import Cache, Config, State, merge, split

__all__ = ["MISTAKES"]


def _mean(a: Array) -> Array:
    return np.mean(a, axis=1, keepdims=True)


def _backward(dx_of: Callable[[Array, Cache], Array]) -> Callable[..., Any]:
    """Backward with another dx, a function of dz and the cache."""

    def backward(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
        _, dgamma, dbeta, state = group_norm.backward(dz, cache, state)
        return merge(dx_of(dz, cache), cache.shape), dgamma, dbeta, state

    return backward


def _gamma_after_the_means(dz: Array, cache: Cache) -> Array:
    y, sigma, gamma, shape, config = cache
    dz = split(dz, config)
    dx = merge((dz - _mean(dz) - y * _mean(y * dz)) / sigma[:, None, :], shape)
    return split(gamma * dx, config)


def _no_statistics(dz: Array, cache: Cache) -> Array:
    return split(dz * cache.gamma, cache.config) / cache.sigma[:, None, :]


def _of_the_batch(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
    """Statistics over samples too. Samples are one axis more to the mean: move them among the positions."""
    together = x.reshape(1, -1, x.shape[-1])
    z, cache, state = group_norm.forward(together, gamma, beta, state, config)
    return z.reshape(x.shape), cache._replace(shape=tuple(x.shape)), state


def _of_the_batch_backward(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    together = dz.reshape(1, -1, dz.shape[-1])
    dx, *rest, state = group_norm.backward(together, cache._replace(shape=together.shape), state)
    return dx.reshape(dz.shape), *rest, state


def _dealt(x: Array, config: Config) -> Array:
    """Channels in another order: one of each group in turn, so that slices of C / groups hold one of each."""
    groups = x.shape[-1] if config.groups is None else config.groups
    return np.swapaxes(x.reshape(*x.shape[:-1], -1, groups), -1, -2).reshape(x.shape)


def _gathered(x: Array, config: Config) -> Array:
    """Undo `_dealt`."""
    groups = x.shape[-1] if config.groups is None else config.groups
    return np.swapaxes(x.reshape(*x.shape[:-1], groups, -1), -1, -2).reshape(x.shape)


def _interleaved(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
    dealt = _dealt(x, config), _dealt(gamma, config), _dealt(beta, config)
    z, cache, state = group_norm.forward(*dealt, state, config)
    return _gathered(z, config), cache, state


def _interleaved_backward(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    *grads, state = group_norm.backward(_dealt(dz, cache.config), cache, state)
    dx, dgamma, dbeta = (_gathered(a, cache.config) for a in grads)
    return dx, dgamma, dbeta, state


def _several_samples(rng: np.random.Generator) -> Any:
    """A draw of two samples or more: one alone is the batch."""
    while True:
        inputs = grouped_calls()(rng)
        if inputs.xs.shape[1] > 1:
            return inputs


_mistake = partial(Mistake, subject=group_norm)

MISTAKES = (
    _mistake(
        name="gn-gamma-after-the-means",
        code={"backward": _backward(_gamma_after_the_means)},
        sentence="Your dx takes the means of dz and multiplies by gamma at the end; gamma differs within a group, so "
        "that g and Psi are means of dy = gamma * dz.",
        equation="gn-gradient-statistics",
        oracle="gradient",
        draw=grouped_calls(groups=2),
    ),
    _mistake(
        name="gn-no-statistics",
        code={"backward": _backward(_no_statistics)},
        sentence="Your dx is dy / sigma, as if mean and variance were constants; they are those of this very sample.",
        equation="gn-backward",
        oracle="gradient",
        draw=grouped_calls(),
    ),
    _mistake(
        name="gn-statistics-of-the-batch",
        code={"forward": _of_the_batch, "backward": _of_the_batch_backward},
        sentence="Your mean and variance are taken over the samples as well; every sample has its own.",
        equation="gn-statistics",
        oracle="forward",
        draw=_several_samples,
    ),
    _mistake(
        name="gn-channels-interleaved",
        code={"forward": _interleaved, "backward": _interleaved_backward},
        sentence="Your groups take every groups-th channel; a group is C / groups neighbouring channels.",
        equation="gn-statistics",
        oracle="forward",
        draw=grouped_calls(groups=2),
    ),
)

"""Wrong passes of Online Normalization. Both passes go sample by sample here, so that each mistake is one line."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.mistakes.draws import sample_calls
from mabn_ref.mistakes.mistake import Mistake
from mabn_ref.norms import online_norm
from mabn_ref.norms.batch_norm import moments
from mabn_ref.norms.micro_batches import merge, split
from mabn_ref.norms.online_norm import Cache, Config, State

__all__ = ["MISTAKES"]


class _Update(NamedTuple):
    """What a sample's update of the moving statistics starts from; all (C,)."""

    mean: Array
    var: Array
    mu: Array
    sample_var: Array
    decay: float


class _Step(NamedTuple):
    """What a sample's backward pass starts from: dy and y are (M, C), the rest (C,)."""

    dy: Array
    y: Array
    sigma: Array
    u: Array
    v: Array
    held: float


def _moved(at: _Update) -> tuple[Array, Array]:
    """The right update of mean and variance."""
    a = at.decay
    var = a * at.var + (1 - a) * at.sample_var + a * (1 - a) * (at.mu - at.mean) ** 2
    return a * at.mean + (1 - a) * at.mu, var


def _no_distance(at: _Update) -> tuple[Array, Array]:
    return _moved(at)[0], at.decay * at.var + (1 - at.decay) * at.sample_var


def _from_new_mean(at: _Update) -> tuple[Array, Array]:
    mean, a = _moved(at)[0], at.decay
    return mean, a * at.var + (1 - a) * at.sample_var + a * (1 - a) * (at.mu - mean) ** 2


def _forward(move: Callable[[_Update], tuple[Array, Array]], *, after: bool = False) -> Callable[..., Any]:
    """Forward with another update, or normalising by the statistics after a sample."""

    def forward(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
        xs = split(x, 1)
        mu, var, _ = moments(xs)
        zs, caches = [], []
        for t in range(len(xs)):
            moved = move(_Update(state.mean, state.var, mu[t], var[t], config.decay_forward))
            used = state._replace(mean=moved[0], var=moved[1]) if after else state
            z, cache, _ = online_norm.forward(xs[t : t + 1], gamma, beta, used, config)
            zs.append(z)
            caches.append(cache)
            state = state._replace(mean=moved[0], var=moved[1])
        y, sigma, z = (np.concatenate([cache[i] for cache in caches]) for i in range(3))
        scale = np.concatenate([cache.scale for cache in caches]) if config.layer_scaling else None
        return merge(np.concatenate(zs), x.shape), Cache(y, sigma, z, scale, gamma, tuple(x.shape), config), state

    return forward


def _controlled(at: _Step) -> tuple[Array, Array, Array]:
    """The right step: dx, and u and v after it."""
    g = at.dy - at.held * at.v * at.y
    v = at.v + np.mean(g * at.y, axis=0)
    dx = g / at.sigma - at.held * at.u
    return dx, at.u + np.mean(dx, axis=0), v


def _v_of_dy(at: _Step) -> tuple[Array, Array, Array]:
    dx, u, _ = _controlled(at)
    return dx, u, at.v + np.mean(at.dy * at.y, axis=0)


def _u_before_control(at: _Step) -> tuple[Array, Array, Array]:
    dx, _, v = _controlled(at)
    return dx, at.u + np.mean(dx + at.held * at.u, axis=0), v


def _averaged(at: _Step) -> tuple[Array, Array, Array]:
    dx, u, v = _controlled(at)
    return dx, (1 - at.held) * at.u + at.held * (u - at.u), (1 - at.held) * at.v + at.held * (v - at.v)


def _after_this(at: _Step) -> tuple[Array, Array, Array]:
    _, _, v = _controlled(at)
    return *_controlled(at._replace(v=v))[:2], v


def _backward(step: Callable[[_Step], tuple[Array, Array, Array]]) -> Callable[..., Any]:
    """Backward with another step of the control variables."""

    def backward(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
        _, dgamma, dbeta, _ = online_norm.backward(dz, cache, state)
        held = 1 - cache.config.decay_backward
        dy = cache.gamma * _through_scaling(split(dz, 1), cache)
        dxs, u, v = [], state.u, state.v
        for t in range(len(dy)):
            dx, u, v = step(_Step(dy[t], cache.y[t], cache.sigma[t], u, v, held))
            dxs.append(dx)
        return merge(np.stack(dxs), cache.shape), dgamma, dbeta, state._replace(u=u, v=v)

    return backward


def _through_scaling(dz: Array, cache: Cache) -> Array:
    if cache.scale is None:
        return dz
    return (dz - cache.z * np.mean(dz * cache.z, axis=(1, 2), keepdims=True)) / cache.scale


def _scale_held(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    if cache.scale is None:
        return online_norm.backward(dz, cache, state)
    return online_norm.backward(dz / cache.scale.reshape(-1, *[1] * (dz.ndim - 1)), cache._replace(scale=None), state)


_mistake = partial(Mistake, subject=online_norm)
_any = sample_calls()
_long = sample_calls(count=3, decay_backward=0.5, decay_forward=0.9)

MISTAKES = (
    _mistake(
        name="online-statistics-after",
        code={"forward": _forward(_moved, after=True)},
        sentence="Your y is normalised by the averages after this sample; they are those before it.",
        equation="online-normalise",
        oracle="forward",
        draw=_any,
    ),
    _mistake(
        name="online-no-distance",
        code={"forward": _forward(_no_distance)},
        sentence="Your moving variance averages the variances of samples; their means differ too, which adds to it.",
        equation="online-variance",
        oracle="forward",
        draw=_any,
    ),
    _mistake(
        name="online-distance-from-new-mean",
        code={"forward": _forward(_from_new_mean)},
        sentence="Your moving variance takes the distance from the new mean; the update is for that from the old.",
        equation="online-variance",
        oracle="forward",
        draw=sample_calls(decay_forward=0.3),
    ),
    _mistake(
        name="online-v-of-dy",
        code={"backward": _backward(_v_of_dy)},
        sentence="Your v adds up all that comes in; it adds up what it has let through, and so stays bounded.",
        equation="online-control-v",
        oracle="recurrence",
        draw=_long,
    ),
    _mistake(
        name="online-u-before-control",
        code={"backward": _backward(_u_before_control)},
        sentence="Your u adds up the gradient before u is taken off; it adds up dx itself.",
        equation="online-control-u",
        oracle="recurrence",
        draw=_long,
    ),
    _mistake(
        name="online-control-averaged",
        code={"backward": _backward(_averaged)},
        sentence="Your u and v are averages; they are sums, of which the share 1 - decay_backward is taken off.",
        equation="online-control-v",
        oracle="recurrence",
        draw=_long,
    ),
    _mistake(
        name="online-control-of-this-sample",
        code={"backward": _backward(_after_this)},
        sentence="Your g has v after this sample taken off; it is v before it.",
        equation="online-control-v",
        oracle="recurrence",
        draw=_long,
    ),
    _mistake(
        name="online-scale-held",
        code={"backward": _scale_held},
        sentence="Your gradient takes layer scaling for a division by a number; every value of the sample moves it.",
        equation="layer-scaling-backward",
        oracle="gradient",
        draw=sample_calls(layer_scaling=True),
    ),
)

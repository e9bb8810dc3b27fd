"""Checks of the mended layer."""

from typing import NamedTuple

import numpy as np

from mabn_ref.learn.checking import Check, anew, batch, close, gradient, gradient_fault, unpack

PER_CHANNEL = 16
"""So many numbers per channel a pass may keep besides x: moments, r, d, gamma and the like."""


class State(NamedTuple):
    """The moving statistics, as the student's file has them."""

    mean: np.ndarray
    sigma: np.ndarray


class Settings(NamedTuple):
    """Likewise."""

    decay: float
    r_max: float
    d_max: float
    eps: float


def draw(rng, k):
    case = batch(rng, k)
    case.xs = [case.x + rng.standard_normal(case.x.shape) for _ in range(3)]
    case.dzs = [rng.standard_normal(case.x.shape) for _ in case.xs]
    case.state = State(np.mean(case.x, axis=tuple(range(case.x.ndim - 1))) + 0.3, rng.uniform(0.8, 2.0, 3))
    case.settings = Settings(rng.uniform(0.3, 0.9), (3.0, 1.5)[k % 2], (5.0, 0.5)[k % 2], case.eps)
    case.zs, case.dx, case.dgamma, case.dbeta, case.states = [], [], [], [], [case.state]
    for x, dz in zip(case.xs, case.dzs, strict=True):
        r, d, new = _corrections(x, case.states[-1], case.settings)
        case.zs.append(_z(x, case.gamma, case.beta, r, d, case.eps))
        case.dx.append(gradient(lambda x, r=r, d=d: _z(x, case.gamma, case.beta, r, d, case.eps), x, dz))
        case.dgamma.append(gradient(lambda g, x=x, r=r, d=d: _z(x, g, case.beta, r, d, case.eps), case.gamma, dz))
        case.dbeta.append(gradient(lambda b, x=x, r=r, d=d: _z(x, case.gamma, b, r, d, case.eps), case.beta, dz))
        case.states.append(new)
    return case


def _moments(x, eps):
    axes = tuple(range(x.ndim - 1))
    mu = np.mean(x, axis=axes)
    return mu, np.sqrt(np.mean((x - mu) ** 2, axis=axes) + eps)


def _corrections(x, state, settings):
    mu, sigma = _moments(x, settings.eps)
    r = np.clip(sigma / state.sigma, 1 / settings.r_max, settings.r_max)
    d = np.clip((mu - state.mean) / state.sigma, -settings.d_max, settings.d_max)
    mean, spread = (
        settings.decay * a + (1 - settings.decay) * b for a, b in ((state.mean, mu), (state.sigma, sigma))
    )
    return r, d, State(mean, spread)


def _z(x, gamma, beta, r, d, eps):
    mu, sigma = _moments(x, eps)
    return gamma * (r * (x - mu) / sigma + d) + beta


def observe_forward(code, case):
    zs, states, kept = _forward(code, case)
    return {"z": zs, "state": states, "kept": _besides(kept[0], case.xs[0]) + _crumbs(kept[0], case.xs[0])}


def _forward(code, case):
    """Several batches, each with the right state before it."""
    zs, states, all_kept = [], [], []
    for x, state in zip(case.xs, case.states[:-1], strict=True):
        result = code.forward(x, case.gamma, case.beta, state, case.settings)
        z, state, kept = unpack("forward", result, "z", "state", "kept")
        zs.append(z)
        states.append(State(*unpack("forward, as state,", state, "mean", "sigma")))
        all_kept.append(kept)
    return zs, states, all_kept


def _besides(kept, x):
    """Of arrays as large as x that are kept, x not counted: how many numbers, and a sum that tells which."""
    if isinstance(kept, tuple | list | dict):
        values = kept.values() if isinstance(kept, dict) else kept
        return sum((_besides(value, x) for value in values), np.zeros(2))
    if np.size(kept) < x.size or (np.shape(kept) == x.shape and np.all(kept == x)):
        return np.zeros(2)
    return np.array([np.size(kept), np.sum(np.ravel(kept) * np.cos(np.arange(np.size(kept))))])


def _crumbs(kept, x):
    """As `_besides`, of smaller things: so many of them hold an array in pieces."""
    sizes = _small_sizes(kept, x)
    return np.array([sum(sizes), 0.0]) if sum(sizes) > max(x.size, PER_CHANNEL * x.shape[-1]) else np.zeros(2)


def _small_sizes(kept, x):
    if isinstance(kept, tuple | list | dict):
        values = kept.values() if isinstance(kept, dict) else kept
        return [size for value in values for size in _small_sizes(value, x)]
    size = len(kept) if isinstance(kept, str) else np.size(kept)
    return [size] if isinstance(kept, str) or size < x.size else []


def observe_backward(code, case):
    _, _, kept = _forward(code, case)
    code = anew(code)  # where nothing is kept but what forward returned
    found = []
    for dz, one in reversed(list(zip(case.dzs, kept, strict=True))):
        found.append(unpack("backward", code.backward(dz, one), "dx", "dgamma", "dbeta"))
    return {name: [each[i] for each in reversed(found)] for i, name in enumerate(("dx", "dgamma", "dbeta"))}


def judge_z(zs, case):
    if all(close(z, right) for z, right in zip(zs, case.zs, strict=True)):
        return None
    return "z is not what it was: forward was right as it stood"


def judge_state(states, case):
    for state, right in zip(states, case.states[1:], strict=True):
        if not all(map(close, state, right)):
            return "the state is not the moving average: each batch goes into it once"
    return None


def judge_kept(besides, case):
    if besides[0] == 0:
        return None
    return (
        f"{besides[0]:g} numbers are kept besides x, as many as an array as large as x has: keep x and compute again"
    )


def _judge(name):
    def judge(found, case):
        for step, (value, right) in enumerate(zip(found, getattr(case, name), strict=True)):
            fault = gradient_fault(name, value, right)
            if fault:
                return f"of batch {step + 1}, with r and d as they were in forward, {fault}"
        return None

    return judge


CHECKS = (
    Check(observe_forward, {"z": judge_z, "state": judge_state, "kept": judge_kept}),
    Check(observe_backward, {name: _judge(name) for name in ("dx", "dgamma", "dbeta")}),
)

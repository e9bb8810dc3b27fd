"""Checks of the mended layer."""

from collections import namedtuple

import numpy as np

from mabn_ref.learn.checking import (
    Check,
    anew,
    batch,
    close,
    gradient_fault,
    gradients,
    judge_that,
    moments,
    normalised,
    unpack,
)

PER_CHANNEL = 16
"""So many numbers per channel a pass may keep besides x: moments, r, d, gamma and the like."""
State = namedtuple("State", ["mean", "sigma"])
Settings = namedtuple("Settings", ["decay", "r_max", "d_max", "eps"])


def draw(rng, k):
    case = batch(rng, k)
    case.xs = [case.x + rng.standard_normal(case.x.shape) for _ in range(3)]
    case.dzs = [rng.standard_normal(case.x.shape) for _ in case.xs]
    case.state = State(moments(case.x)[0] + 0.3, rng.uniform(0.8, 2.0, 3))
    case.settings = Settings(rng.uniform(0.3, 0.9), (3.0, 1.5)[k % 2], (5.0, 0.5)[k % 2], case.eps)
    case.zs, case.dx, case.dgamma, case.dbeta, case.states = [], [], [], [], [case.state]
    for x, dz in zip(case.xs, case.dzs, strict=True):
        r, d, new = _corrections(x, case.states[-1], case.settings)

        def forward(x, gamma, beta, r=r, d=d):
            return gamma * (r * normalised(x, case.eps)[0] + d) + beta

        case.zs.append(forward(x, case.gamma, case.beta))
        found = gradients(forward, dz, x, case.gamma, case.beta)
        for values, value in zip((case.dx, case.dgamma, case.dbeta), found, strict=True):
            values.append(value)
        case.states.append(new)
    return case


def _corrections(x, state, settings):
    mu, (_, sigma) = moments(x)[0], normalised(x, settings.eps)
    r = np.clip(sigma / state.sigma, 1 / settings.r_max, settings.r_max)
    d = np.clip((mu - state.mean) / state.sigma, -settings.d_max, settings.d_max)
    mean, spread = (
        settings.decay * a + (1 - settings.decay) * b for a, b in ((state.mean, mu), (state.sigma, sigma))
    )
    return r, d, State(mean, spread)


def observe_forward(code, case):
    zs, states, kept = _forward(code, case)
    return {"z": zs, "state": states, "kept": _besides(kept[0], case.xs[0])}


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
    """How many numbers are kept besides x in arrays as large or in many small pieces, and a sum that tells which."""
    large, small = np.zeros(2), 0
    for value in _values(kept):
        size = np.size(value)
        if size < x.size:
            small += len(value) if isinstance(value, str) else size
        elif np.shape(value) != x.shape or np.any(value != x):
            large += size, np.sum(np.ravel(value) * np.cos(np.arange(size)))
    if small > max(x.size, PER_CHANNEL * x.shape[-1]):
        large += small, 0
    return large


def _values(kept):
    """What is in tuples, lists and dicts, of whatever depth."""
    if not isinstance(kept, tuple | list | dict):
        return [kept]
    within = kept.values() if isinstance(kept, dict) else kept
    return [value for each in within for value in _values(each)]


def observe_backward(code, case):
    _, _, kept = _forward(code, case)
    code = anew(code)  # where nothing is kept but what forward returned
    found = []
    for dz, one in reversed(list(zip(case.dzs, kept, strict=True))):
        found.append(unpack("backward", code.backward(dz, one), "dx", "dgamma", "dbeta"))
    return {name: [each[i] for each in reversed(found)] for i, name in enumerate(("dx", "dgamma", "dbeta"))}


judge_z = judge_that(
    lambda zs, case: all(map(close, zs, case.zs)), "z is not what it was: forward was right as it stood"
)
judge_state = judge_that(
    lambda states, case: all(all(map(close, *both)) for both in zip(states, case.states[1:], strict=True)),
    "the state is not the moving average: each batch goes into it once",
)


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

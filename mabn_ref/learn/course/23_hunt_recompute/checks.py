"""Checks of the fixed layer."""

import itertools
from collections import namedtuple
from types import SimpleNamespace

import numpy as np

from mabn_ref.learn.checking import (
    Check,
    add_gradients,
    apart,
    batch,
    close,
    gradient_judge,
    moments,
    normalised,
    unpack,
)

PER_CHANNEL = 16
"""So many numbers per channel a pass may keep besides x: moments, r, d, gamma and the like."""
GRADIENTS = ("dx", "dgamma", "dbeta")
State = namedtuple("State", ["mean", "sigma"])
Settings = namedtuple("Settings", ["decay", "r_max", "d_max", "eps"])


def draw(rng, k):
    case = batch(rng, k)
    xs = [case.x + rng.standard_normal(case.x.shape) for _ in range(3)]
    dzs = [rng.standard_normal(case.x.shape) for _ in xs]
    state = State(moments(case.x)[0] + 0.3, rng.uniform(0.8, 2.0, 3))
    case.settings = Settings(rng.uniform(0.3, 0.9), (3.0, 1.5)[k % 2], (5.0, 0.5)[k % 2], case.eps)
    case.steps = []
    for number, (x, dz) in enumerate(zip(xs, dzs, strict=True), start=1):
        case.steps.append(_step(case, number, x, dz, state))
        state = case.steps[-1].after
    return case


def _step(case, number, x, dz, before):
    """One batch, the states before and after it, and what is right."""
    decay, r_max, d_max, eps = case.settings
    mu, (y, sigma) = moments(x)[0], normalised(x, eps)
    r = np.clip(sigma / before.sigma, 1 / r_max, r_max)
    d = np.clip((mu - before.mean) / before.sigma, -d_max, d_max)
    z = case.gamma * (r * y + d) + case.beta
    after = State(decay * before.mean + (1 - decay) * mu, decay * before.sigma + (1 - decay) * sigma)
    step = SimpleNamespace(number=number, x=x, dz=dz, z=z, before=before, after=after)
    step.gamma, step.beta = case.gamma, case.beta
    return add_gradients(step, lambda x: r * normalised(x, eps)[0] + d)


def observe_forward(code, case):
    zs, states, kept = _forward(code, case)
    return {"z": zs, "state": states, "kept": _besides(kept[0], case.steps[0].x)}


def _forward(code, case):
    """Several batches, each with the right state before it."""
    found = []
    for step in case.steps:
        result = code.forward(step.x, case.gamma, case.beta, step.before, case.settings)
        z, state, kept = unpack("forward", result, "z", "state", "kept")
        found.append((z, State(*unpack("forward, as state,", state, "mean", "sigma")), kept))
    return zip(*found, strict=True)


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
    code = apart(code)  # where nothing is kept but what forward returned
    found = []
    for step, one in reversed(list(zip(case.steps, kept, strict=True))):
        found.insert(0, unpack("backward", code.backward(step.dz, one), *GRADIENTS))
    return dict(zip(GRADIENTS, zip(*found, strict=True), strict=True))


def judge_z(zs, case):
    if not all(close(z, step.z) for z, step in zip(zs, case.steps, strict=True)):
        yield "z is not what it was: forward was right as it stood"


def judge_state(states, case):
    if not all(all(map(close, state, step.after)) for state, step in zip(states, case.steps, strict=True)):
        yield "the state is not the moving average: each batch goes into it once"


def judge_kept(besides, case):
    if (count := besides[0]) != 0:
        yield f"{count:g} numbers are kept besides x, as many as in an array of its size: keep x and compute again"


def _judge(name):
    of_one = gradient_judge(name, at="of batch {case.number}, with r and d as they were in forward, ")
    return lambda found, case: itertools.chain.from_iterable(map(of_one, found, case.steps))


CHECKS = (
    Check(observe_forward, {"z": judge_z, "state": judge_state, "kept": judge_kept}),
    Check(observe_backward, {name: _judge(name) for name in GRADIENTS}),
)

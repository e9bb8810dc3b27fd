"""Checks of the moving statistics, and of inference by them."""

from collections import namedtuple

import numpy as np

from mabn_ref.learn.checking import Check, Malformed, batch, close, formed, moments, part

STEPS = 3
State = namedtuple("State", ["mean", "var"])


def draw(rng, k):
    case = batch(rng, k)
    channels = case.x.shape[-1]
    scales = rng.uniform(0.5, 2, (STEPS, channels))
    case.batches = [scale * case.x[rng.permutation(len(case.x))] + rng.standard_normal() for scale in scales]
    case.decay = (0.9, 0.3, 0.0)[k % 3]
    case.state = State(rng.standard_normal(channels), rng.uniform(0.05, 4, channels))
    return case


def observe_start(code, case):
    return {"start": State(*_state("init", code.init(case.x.shape[-1])))}


def observe_update(code, case):
    states = [case.state]
    for x in case.batches:
        states.append(_state("update", code.update(State(*states[-1]), x, case.decay)))
    return {name: part(lambda name=name: _stacked(name, states, case)) for name in State._fields}


def _stacked(name, states, case):
    """One of the averages after each batch; rows are stacked, so their form is looked at here."""
    rows = [getattr(state, name) for state in states[1:]]
    return np.stack([formed(f"state.{name} of update", row, case.gamma, case.axes) for row in rows])


def _state(function, result):
    if getattr(result, "_fields", None) != State._fields:
        raise Malformed(f"{function} did not return a State(mean, var)")
    return result


def judge_start(start, case):
    if np.any(start.mean != 0):
        yield "the mean does not start at 0"
    if np.any(start.var != 1):
        yield "the variance does not start at 1"


def _judge(which, average):
    def judge(averages, case):
        old = np.stack([case.state[which], *averages[:-1]])
        new = np.stack([moments(x)[which] for x in case.batches])
        if not close(averages, new + case.decay * (old - new)):
            yield f"a batch does not move {average} by 1 - decay of the distance to its own (decay = {case.decay:g})"

    return judge


def judge_z(z, case):
    if not close((z - case.beta) * np.sqrt(case.state.var + case.eps), case.gamma * (case.x - case.state.mean)):
        yield f"z is not gamma * (x - mean) / sqrt(var + eps) + beta with the state that is given, eps = {case.eps:g}"


CHECKS = (
    Check(observe_start, {"start": judge_start}),
    Check(observe_update, {"mean": _judge(0, "the moving mean"), "var": _judge(1, "the moving variance")}),
    Check.of("infer(x, gamma, beta, state, eps)", {"z": judge_z}),
)

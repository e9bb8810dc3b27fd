"""Checks of both passes, each on a batch in the warm-up and on one after it."""

from collections import namedtuple
from types import SimpleNamespace

import numpy as np

from mabn_ref.learn.checking import Check, batch, close, gradient, gradient_judge, mean_square, unpack
from mabn_ref.learn.explainers import EXPLAIN_PARAMETERS, explain_dx, without_gamma_or_r

Config = namedtuple("Config", ["eps", "window", "decay", "clip", "warmup"])
State = namedtuple("State", ["chi2", "chi2_window", "psi_window", "iteration"])
Cache = namedtuple("Cache", ["y", "chi", "r", "gamma", "iteration"])

# The window m; the warm-up; the number t of a batch in it, and of one after.
SETTINGS = ((4, 5, 4, 5), (4, 6, 3, 8), (7, 8, 7, 8), (1, 5, 4, 5), (4, 2, 1, 2), (7, 4, 3, 4))


def draw(rng, k):
    case = batch(rng, k)
    window, warmup, *numbers = SETTINGS[k % len(SETTINGS)]
    case.config = Config(case.eps, window, rng.uniform(0.6, 0.9), 1.3, warmup)
    case.warm, case.after = (_phase(rng, case, t) for t in numbers)
    case.turn = (case.warm, case.after)[k % 2]
    y = case.turn.cache.r * case.turn.cache.y
    case.dgamma = gradient(lambda gamma: gamma * y, case.gamma, case.dz)
    case.dbeta = gradient(lambda beta: 0 * y + beta, case.beta, case.dz)
    case.axes["held"] = len(case.turn.held)
    return case


def _phase(rng, case, t):
    """A batch of number t, the state before it, and what is right."""
    x, dz, config = case.x * rng.uniform(0.8, 1.2, 3), case.dz, case.config
    count = min(t - 1, config.window)
    q = mean_square(x)
    before = q * rng.uniform(0.3, 3.0, (count, 3))
    state = State(q * rng.permutation([0.3, 0.9, 3.0]), before, rng.standard_normal((count, 3)), t - 1)
    held = np.array([*before, q][-config.window :])
    warm = t < config.warmup
    chi2 = q if warm else sum(held) / len(held)
    chi, chi_hat = np.sqrt(chi2 + config.eps), np.sqrt(state.chi2 + config.eps)
    r = np.ones(3) if warm else np.minimum(np.maximum(chi / chi_hat, 1 / config.clip), config.clip)
    cache = Cache(x / chi, chi, r, case.gamma, t)
    psi = gradient(lambda a: case.gamma * r * a * cache.y, np.ones(3), dz) / (x.size / 3)
    psi_held = np.array([*state.psi_window, psi][-config.window :])
    if warm:
        dx = gradient(lambda x: case.gamma * x / np.sqrt(mean_square(x) + config.eps), x, dz)
    else:
        dx = (case.gamma * r * dz - cache.y * sum(psi_held) / len(psi_held)) / chi
    # In backward the state is ahead: two more forward passes, or none.
    later = state._replace(iteration=t + 2 * (t % 2))
    phase = SimpleNamespace(x=x, q=q, t=t, state=state, held=held, cache=cache, later=later, dx=dx, psi_held=psi_held)
    phase.dz, phase.gamma, phase.r = dz, case.gamma, r
    phase.when = f"at t = {t} with a warm-up while t < {config.warmup}"
    return phase


def observe_forward(code, case):
    seen = {}
    for name in ("warm", "after"):
        phase = getattr(case, name)
        result = code.forward(phase.x, case.gamma, case.beta, phase.state, case.config)
        seen[f"z_{name}"], cache, state = unpack("forward", result, "z", "cache", "state")
        if phase is case.turn:
            seen |= {"cache": cache, "state_forward": state}
    return seen


def observe_backward(code, case):
    seen = {}
    for name in ("warm", "after"):
        phase = getattr(case, name)
        result = code.backward(case.dz, phase.cache, phase.later, case.config)
        seen[f"dx_{name}"], dgamma, dbeta, state = unpack("backward", result, "dx", "dgamma", "dbeta", "state")
        if phase is case.turn:
            seen |= {"dgamma": dgamma, "dbeta": dbeta, "state_backward": state}
    return seen


def _judge_z(name, said):
    def judge(z, case):
        phase = getattr(case, name)
        if not close(z - case.beta, case.gamma * phase.cache.r * phase.cache.y):
            yield f"{phase.when}, z is not {said}"

    return judge


def judge_cache(cache, case):
    for name, value, right in zip(cache._fields, cache, case.turn.cache, strict=True):
        if not close(value, right):
            yield f"{case.turn.when}, cache.{name} is not {_CACHE_FIELDS[name]}"


_CACHE_FIELDS = {
    "y": "x / chi, the value from before r",
    "chi": "the number that x is to be divided by in this phase",
    "r": "1 in warm-up, and after it the clipped ratio",
    "gamma": "gamma",
    "iteration": "the number of this batch, counted from 1",
}


def judge_state_forward(state, case):
    phase = case.turn
    if state.iteration != phase.t:
        yield "state.iteration is not one more than it was"
    if not close(state.chi2 - phase.q, case.config.decay * (phase.state.chi2 - phase.q)):
        yield f"{phase.when}, state.chi2 does not keep decay of its distance from the batch's mean square"
    if not close(state.chi2_window, phase.held):
        yield f"{phase.when}, state.chi2_window is not the last values of chi^2, this batch's at the end"
    if not close(state.psi_window, phase.state.psi_window):
        yield "forward changes state.psi_window, which only backward may change"


def judge_dx_warm(dx, case):
    return gradient_judge("dx", at="{case.when}, ")(dx, case.warm)


def judge_dx_after(dx, case):
    if not close(dx, case.after.dx):
        yield f"{case.after.when}, dx is not (dy - y * psi) / chi with psi the mean of the window"


def judge_state_backward(state, case):
    phase = case.turn
    if not close(state.psi_window, phase.psi_held):
        yield f"{phase.when}, state.psi_window is not the last values of Psi, this batch's at the end"
    if not all(close(a, b) for a, b in zip(state, phase.later._replace(psi_window=state[2]), strict=True)):
        yield "backward changes more of the state than psi_window"


def _explain_phase(name, averages):
    """The explainer of dx in one of the phases; `averages` are those of Psi."""
    explain = explain_dx(without_gamma_or_r, root="chi", g=0, averages=averages)
    return lambda values, cases: explain(values, [getattr(case, name) for case in cases])


def _averages(psi, phase):
    """The mean of the window with the batch's Psi in it, and what is taken for it."""
    others = phase.psi_held[:-1]
    total = np.sum(others, axis=0) + psi
    return {
        "": total / (len(others) + 1),
        "{names} {is} made of this batch's Psi alone, after warm-up too": psi,
        "{names} {is} made of the sum over the window; take the mean": total,
    }


CHECKS = (
    Check(
        observe_forward,
        {
            "z_warm": _judge_z("warm", "gamma x / chi + beta with this batch's own chi"),
            "z_after": _judge_z("after", "gamma r x / chi + beta with chi from the window"),
            "cache": judge_cache,
            "state_forward": judge_state_forward,
        },
    ),
    Check(
        observe_backward,
        {
            "dx_warm": judge_dx_warm,
            "dx_after": judge_dx_after,
            "dgamma": gradient_judge("dgamma"),
            "dbeta": gradient_judge("dbeta"),
            "state_backward": judge_state_backward,
        },
        {
            "dx_warm": _explain_phase("warm", lambda psi, case: {"": psi}),
            "dx_after": _explain_phase("after", _averages),
            **EXPLAIN_PARAMETERS,
        },
    ),
)

"""Checks of the fixed layer."""

from collections import namedtuple

import numpy as np

from mabn_ref.learn.checking import Check, batch, close, judge_that, moments, normalised, unpack

State = namedtuple("State", ["mean", "var"])


def draw(rng, k):
    case = batch(rng, k)
    case.xs = [case.x + rng.standard_normal(case.x.shape) for _ in range(3)]
    for x in case.xs:
        x[..., 0] = np.round(case.beta[0], 1)  # a channel that never varies
    case.eps = (1e-5, 0.1, 0.5)[k % 3]
    case.decay = rng.uniform(0.3, 0.9)
    case.state = State(rng.standard_normal(3), rng.uniform(0.05, 4.0, 3))
    averages = case.state
    for x in case.xs:
        averages = [case.decay * old + (1 - case.decay) * new for old, new in zip(averages, moments(x), strict=True)]
    case.mean, case.var = averages
    return case


def observe(code, case):
    zs, state = [], case.state
    for x in case.xs:
        result = code.forward(x, case.gamma, case.beta, state, case.decay, case.eps)
        z, state = unpack("forward", result, "z", "state")
        state = State(*unpack("forward, as state,", state, "mean", "var"))
        zs.append(z)
    return {"z": zs, "mean": state.mean, "var": state.var}


judge_z = judge_that(
    lambda zs, case: close(zs, [case.gamma * normalised(x, case.eps)[0] + case.beta for x in case.xs]),
    "z is not gamma * (x - mu) / sqrt(v + eps) + beta any more, with eps = {case.eps:g}",
)
judge_mean = judge_that(
    lambda mean, case: close(mean, case.mean), "mean is not the moving average of the batches' means any more"
)


def judge_var(var, case):
    if not close(var[0], case.decay ** len(case.xs) * case.state.var[0]):
        yield f"the moving variance of a channel that never varies does not go to 0, with eps = {case.eps:g}"
    if not close(var, case.var):
        yield f"var is not the moving average of the batches' variances, with eps = {case.eps:g}"


def judge_infer(z, case):
    if not close((z - case.beta) * np.sqrt(case.state.var + case.eps), case.gamma * (case.x - case.state.mean)):
        yield f"z of infer is not gamma * (x - mean) / sqrt(var + eps) + beta any more, with eps = {case.eps:g}"


CHECKS = (
    Check(observe, {"z": judge_z, "mean": judge_mean, "var": judge_var}),
    Check.of("infer(x, gamma, beta, state, eps)", {"z_infer": judge_infer}),
)

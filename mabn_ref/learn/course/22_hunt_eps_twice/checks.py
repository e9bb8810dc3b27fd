"""Checks of the mended layer."""

from typing import NamedTuple

import numpy as np

from mabn_ref.learn.checking import Check, batch, close, unpack
from mabn_ref.norms import batch_norm


class State(NamedTuple):
    """The moving statistics, as the student's file has them."""

    mean: np.ndarray
    var: np.ndarray


def draw(rng, k):
    case = batch(rng, k)
    case.xs = [case.x + rng.standard_normal(case.x.shape) for _ in range(3)]
    for x in case.xs:
        x[..., 0] = np.round(case.beta[0], 1)  # a channel that never varies
    case.eps = (1e-5, 0.1, 0.5)[k % 3]
    case.decay = rng.uniform(0.3, 0.9)
    case.state = State(rng.standard_normal(3), rng.uniform(0.05, 4.0, 3))
    return case


def observe(code, case):
    zs, state = [], case.state
    for x in case.xs:
        z, state = unpack(
            "forward", code.forward(x, case.gamma, case.beta, state, case.decay, case.eps), "z", "state"
        )
        state = State(*unpack("forward, as state,", state, "mean", "var"))
        zs.append(z)
    return {"z": zs, "mean": state.mean, "var": state.var}


def observe_infer(code, case):
    return {"z_infer": code.infer(case.x, case.gamma, case.beta, case.state, case.eps)}


def judge_z(zs, case):
    config = batch_norm.Config(eps=case.eps)
    for z, x in zip(zs, case.xs, strict=True):
        if not close(z, batch_norm.forward(x, case.gamma, case.beta, batch_norm.State(*case.state), config)[0]):
            return f"z is not gamma * (x - mu) / sqrt(v + eps) + beta any more, with eps = {case.eps:g}"
    return None


def judge_mean(mean, case):
    if close(mean, _averaged(case, case.state.mean, [np.mean(x, axis=tuple(range(x.ndim - 1))) for x in case.xs])):
        return None
    return "mean is not the moving average of the batches' means any more"


def judge_var(var, case):
    if not close(var[0], case.decay ** len(case.xs) * case.state.var[0]):
        return f"the moving variance of a channel that never varies does not go to 0, with eps = {case.eps:g}"
    if close(var, _averaged(case, case.state.var, [np.var(x, axis=tuple(range(x.ndim - 1))) for x in case.xs])):
        return None
    return f"var is not the moving average of the batches' variances, with eps = {case.eps:g}"


def judge_infer(z, case):
    if close(
        z,
        batch_norm.infer(
            case.x, case.gamma, case.beta, batch_norm.State(*case.state), batch_norm.Config(eps=case.eps)
        ),
    ):
        return None
    return f"z of infer is not gamma * (x - mean) / sqrt(var + eps) + beta any more, with eps = {case.eps:g}"


def _averaged(case, average, values):
    for value in values:
        average = case.decay * average + (1 - case.decay) * value
    return average


CHECKS = (
    Check(observe, {"z": judge_z, "mean": judge_mean, "var": judge_var}),
    Check(observe_infer, {"z_infer": judge_infer}),
)

"""Checks of the fixed layer."""

from collections import namedtuple

import numpy as np

from mabn_ref.learn.checking import Check, batch, close, judge_that, normalised, unpack

State = namedtuple("State", ["mean", "var"])


def draw(rng, k):
    case = batch(rng, k, samples=1 if k == 2 else 4)  # k = 2 draws images: one of them has values enough
    case.decay = rng.uniform(0.3, 0.9)
    case.state = State(rng.standard_normal(3), rng.uniform(0.05, 4.0, 3))
    return case


def observe(code, case):
    result = code.forward(case.x, case.gamma, case.beta, case.state, case.decay, case.eps)
    z, state = unpack("forward", result, "z", "state")
    mean, var = unpack("forward, as state,", state, "mean", "var")
    return {"z": z, "mean": mean, "var": var}


judge_z = judge_that(
    lambda z, case: close(z, case.gamma * normalised(case.x, case.eps)[0] + case.beta),
    "z is not gamma * (x - mu) / sqrt(v + eps) + beta any more: v without the correction is right there",
)


def judge_mean(mean, case):
    taken_in = (mean - case.decay * case.state.mean) / (1 - case.decay)
    if not close(np.sum(case.x - taken_in, axis=tuple(range(case.x.ndim - 1))) / case.x.size + 1, np.ones(3)):
        yield "mean is not the moving average of the batches' means any more"


def judge_var(var, case):
    values = case.x.reshape(-1, case.x.shape[-1])
    apart = (values[:, None] - values[None]) ** 2
    half = np.sum(apart, axis=(0, 1)) / (len(values) * (len(values) - 1)) / 2  # a value with itself does not count
    if not close((var - case.decay * case.state.var) / (1 - case.decay), half):
        yield (
            f"for x of shape {case.x.shape}, what goes into var is not half the mean squared distance between two "
            "different values of a channel"
        )


CHECKS = (Check(observe, {"z": judge_z, "mean": judge_mean, "var": judge_var}),)

"""Checks of `moments`."""

import numpy as np

from mabn_ref.learn.checking import Check, batch, close, judge_that

FAR = 1e6


def draw(rng, k):
    case = batch(rng, k)
    case.far = k == 5
    case.x += FAR * case.far
    case.values = case.x.reshape(-1, case.x.shape[-1])
    return case


judge_mu = judge_that(
    lambda mu, case: close(np.sum(case.values - mu, axis=0) / len(case.values) + FAR, FAR, 1e-13),
    "mu is not the mean: after subtracting it, the values of a channel do not sum to zero",
)


def judge_var(var, case):
    spread = case.values - np.mean(case.values, axis=0)
    if not close(np.sum(spread**2, axis=0) / np.where(var == 0, 1, var), len(spread), 1e-8):
        if case.far:
            yield "var is off where values lie around a million with a spread of one: rounding destroys it"
        yield (
            "var is not the variance: centred values of a channel, divided by the root of var, do not have mean "
            "square 1"
        )


CHECKS = (Check.of("moments(x)", {"mu": judge_mu, "var": judge_var}),)

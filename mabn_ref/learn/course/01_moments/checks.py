"""Checks of `moments`."""

from types import SimpleNamespace

import numpy as np

from mabn_ref.learn.checking import Check, batch, close, parts

FAR = 1e6


def draw(rng, k):
    case = batch(rng, k)
    far = k == 5
    return SimpleNamespace(x=case.x + FAR if far else case.x, far=far, axes=case.axes)


def _values(case):
    return case.x.reshape(-1, case.x.shape[-1])


def judge_mu(mu, case):
    values = _values(case)
    if not close(np.sum(values - mu, axis=0) / len(values) + FAR, FAR, 1e-13):
        return "mu is not the mean: less mu, the values of a channel do not sum to zero"
    return None


def judge_var(var, case):
    values = _values(case)
    spread = values - np.mean(values, axis=0)
    if close(np.sum(spread**2, axis=0) / np.where(var == 0, 1, var), len(values), 1e-8):
        return None
    if case.far:
        return "var is off where values lie around a million with a spread of one: it is lost to rounding"
    return (
        "var is not the variance: centred values of a channel, divided by the root of var, do not have mean square 1"
    )


CHECKS = (
    Check(lambda code, case: parts("moments", code.moments(case.x), "mu", "var"), {"mu": judge_mu, "var": judge_var}),
)

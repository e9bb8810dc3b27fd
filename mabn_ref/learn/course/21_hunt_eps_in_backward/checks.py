"""Checks of the fixed layer."""

from mabn_ref.learn.checking import Check, add_gradients, batch, close, gradient_judges, judge_that, normalised, parts


def draw(rng, k):
    case = batch(rng, k)
    case.eps = (0.5, 1e-5, 0.1)[k % 3]
    return add_gradients(case, lambda x: normalised(x, case.eps)[0])


def _forward(code, case):
    return parts("forward", code.forward(case.x, case.gamma, case.beta, case.eps), "z", "cache")


def observe(code, case):
    cache = _forward(code, case)["cache"]
    return parts("backward", code.backward(case.dz, cache), "dx", "dgamma", "dbeta")


judge_z = judge_that(
    lambda z, case: close(z, case.gamma * normalised(case.x, case.eps)[0] + case.beta),
    "z is not gamma * (x - mu) / sqrt(var + eps) + beta any more, with eps = {case.eps:g}",
)
CHECKS = (
    Check(lambda code, case: {"z": _forward(code, case)["z"]}, {"z": judge_z}),
    Check(observe, gradient_judges(at="with eps = {case.eps:g}, ")),
)

"""Checks of the mended layer."""

from mabn_ref.learn.checking import (
    Check,
    batch,
    close,
    gradient_judge,
    gradients,
    judge_that,
    normalised,
    parts,
    unpack,
)


def draw(rng, k):
    case = batch(rng, k)
    case.eps = (0.5, 1e-5, 0.1)[k % 3]

    def forward(x, gamma, beta):
        return gamma * normalised(x, case.eps)[0] + beta

    case.z = forward(case.x, case.gamma, case.beta)
    case.dx, case.dgamma, case.dbeta = gradients(forward, case.dz, case.x, case.gamma, case.beta)
    return case


def _forward(code, case):
    return unpack("forward", code.forward(case.x, case.gamma, case.beta, case.eps), "z", "cache")


def observe(code, case):
    _, cache = _forward(code, case)
    return parts("backward", code.backward(case.dz, cache), "dx", "dgamma", "dbeta")


judge_z = judge_that(
    lambda z, case: close(z, case.z),
    "z is not gamma * (x - mu) / sqrt(var + eps) + beta any more, with eps = {case.eps:g}",
)
WITH_EPS = "with eps = {case.eps:g}, "
CHECKS = (
    Check.of("z", lambda code, case: _forward(code, case)[0], judge_z),
    Check(observe, {name: gradient_judge(name, at=WITH_EPS) for name in ("dx", "dgamma", "dbeta")}),
)

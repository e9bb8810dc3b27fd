"""Checks of the mended layer."""

import numpy as np

from mabn_ref.learn.checking import Check, batch, close, gradient, gradient_judge, parts, unpack
from mabn_ref.norms import batch_norm


def draw(rng, k):
    case = batch(rng, k)
    case.eps = (0.5, 1e-5, 0.1)[k % 3]
    case.dx = gradient(lambda x: _forward(case, x, case.gamma, case.beta), case.x, case.dz)
    case.dgamma = gradient(lambda gamma: _forward(case, case.x, gamma, case.beta), case.gamma, case.dz)
    case.dbeta = gradient(lambda beta: _forward(case, case.x, case.gamma, beta), case.beta, case.dz)
    return case


def _forward(case, x, gamma, beta):
    config = batch_norm.Config(eps=case.eps)
    return batch_norm.forward(x, gamma, beta, batch_norm.init(3, config, dtype=np.float64), config)[0]


def observe_z(code, case):
    z, _ = unpack("forward", code.forward(case.x, case.gamma, case.beta, case.eps), "z", "cache")
    return {"z": z}


def observe(code, case):
    _, cache = unpack("forward", code.forward(case.x, case.gamma, case.beta, case.eps), "z", "cache")
    return parts("backward", code.backward(case.dz, cache), "dx", "dgamma", "dbeta")


def judge_z(z, case):
    if close(z, _forward(case, case.x, case.gamma, case.beta)):
        return None
    return f"z is not gamma * (x - mu) / sqrt(var + eps) + beta any more, with eps = {case.eps:g}"


WITH_EPS = "with eps = {case.eps:g}, "
CHECKS = (
    Check(observe_z, {"z": judge_z}),
    Check(observe, {name: gradient_judge(name, at=WITH_EPS) for name in ("dx", "dgamma", "dbeta")}),
)

"""Checks of `backward`."""

from collections import namedtuple

import numpy as np

from mabn_ref.learn.checking import Check, batch, gradient, gradient_judge, observe_backward
from mabn_ref.learn.regression import explain_dx, explain_multiple, shares
from mabn_ref.norms import batch_norm

Cache = namedtuple("Cache", ["y", "sigma", "gamma"])


def draw(rng, k):
    case = batch(rng, k)
    _, cache, _ = _forward(case, case.x, case.gamma, case.beta)
    case.cache = Cache(cache.y.reshape(case.x.shape), cache.sigma[0, 0], case.gamma)
    case.dx = gradient(lambda x: _forward(case, x, case.gamma, case.beta)[0], case.x, case.dz)
    case.dgamma = gradient(lambda gamma: _forward(case, case.x, gamma, case.beta)[0], case.gamma, case.dz)
    case.dbeta = gradient(lambda beta: _forward(case, case.x, case.gamma, beta)[0], case.beta, case.dz)
    return case


def _forward(case, x, gamma, beta):
    config = batch_norm.Config(eps=case.eps)
    state = batch_norm.init(len(gamma), config, dtype=np.float64)
    return batch_norm.forward(x, gamma, beta, state, config)


def _inputs(case):
    return {"": case.gamma * case.dz, "{names} {is} made of dz, without gamma; dy is dz * gamma": case.dz}


SUM_NOTE = "; nor does it sum to zero over a channel, though shifting all of x changes nothing"
CHECKS = (
    Check(
        observe_backward,
        {
            "dx": gradient_judge("dx", sum_note=SUM_NOTE),
            "dgamma": gradient_judge("dgamma"),
            "dbeta": gradient_judge("dbeta"),
        },
        {
            "dx": explain_dx(_inputs, lambda case: case.cache.y, lambda case: case.cache.sigma),
            "dgamma": explain_multiple("dgamma", lambda case: case.dgamma, lambda case: shares(case.dz)),
            "dbeta": explain_multiple("dbeta", lambda case: case.dbeta, lambda case: shares(case.dz)),
        },
    ),
)

"""Checks of `backward`: derivatives with r and d held."""

from collections import namedtuple

import numpy as np

from mabn_ref.learn.checking import Check, batch, gradient, gradient_judge, observe_backward
from mabn_ref.learn.regression import explain_dx, explain_multiple, shares

Cache = namedtuple("Cache", ["y", "sigma", "r", "d", "gamma"])


def draw(rng, k):
    case = batch(rng, k)
    case.r = rng.permutation([0.4, 0.8, 1.7]) * rng.uniform(0.9, 1.1)
    case.d = rng.permutation([-1.2, 0.3, 0.9]) * rng.uniform(0.9, 1.1)
    y, sigma = _normalised(case, case.x)
    case.cache = Cache(y, sigma, case.r, case.d, case.gamma)
    case.dx = gradient(lambda x: _forward(case, x, case.gamma, case.beta), case.x, case.dz)
    case.dgamma = gradient(lambda gamma: _forward(case, case.x, gamma, case.beta), case.gamma, case.dz)
    case.dbeta = gradient(lambda beta: _forward(case, case.x, case.gamma, beta), case.beta, case.dz)
    return case


def _normalised(case, x):
    axes = tuple(range(x.ndim - 1))
    count = x.size // x.shape[-1]
    spread = x - np.sum(x, axis=axes) / count
    sigma = np.sqrt(np.sum(spread**2, axis=axes) / count + case.eps)
    return spread / sigma, sigma


def _forward(case, x, gamma, beta):
    return gamma * (case.r * _normalised(case, x)[0] + case.d) + beta


def _inputs(case):
    return {
        "": case.gamma * case.r * case.dz,
        "{names} {is} made without r; dy is gamma * r * dz": case.gamma * case.dz,
        "{names} {is} made without gamma; dy is gamma * r * dz": case.r * case.dz,
        "{names} {is} made of dz itself; dy is gamma * r * dz": case.dz,
    }


def _other_y(case):
    return {"{names} {is} made of r * y + d; take y itself": case.r * case.cache.y + case.d}


HELD = "forward with r and d held"
SUM_NOTE = "; nor does it sum to zero over a channel, as it does in batch normalisation"
CHECKS = (
    Check(
        observe_backward,
        {
            "dx": gradient_judge("dx", of=HELD, sum_note=SUM_NOTE),
            "dgamma": gradient_judge("dgamma", of=HELD),
            "dbeta": gradient_judge("dbeta", of=HELD),
        },
        {
            "dx": explain_dx(_inputs, lambda case: case.cache.y, lambda case: case.cache.sigma, other_y=_other_y),
            "dgamma": explain_multiple("dgamma", lambda case: case.dgamma, lambda case: shares(case.dz)),
            "dbeta": explain_multiple("dbeta", lambda case: case.dbeta, lambda case: shares(case.dz)),
        },
    ),
)

"""Checks of `backward`."""

from collections import namedtuple

from mabn_ref.learn.checking import Check, batch, gradient_judge, gradients, normalised, observe_backward
from mabn_ref.learn.explainers import EXPLAIN_PARAMETERS, explain_dx, without_gamma

Cache = namedtuple("Cache", ["y", "sigma", "gamma"])


def draw(rng, k):
    case = batch(rng, k)
    case.cache = Cache(*normalised(case.x, case.eps), case.gamma)

    def forward(x, gamma, beta):
        return gamma * normalised(x, case.eps)[0] + beta

    case.dx, case.dgamma, case.dbeta = gradients(forward, case.dz, case.x, case.gamma, case.beta)
    return case


SUM_NOTE = "; nor does it sum to zero over a channel, though shifting all of x changes nothing"
CHECKS = (
    Check(
        observe_backward,
        {
            "dx": gradient_judge("dx", sum_note=SUM_NOTE),
            "dgamma": gradient_judge("dgamma"),
            "dbeta": gradient_judge("dbeta"),
        },
        {"dx": explain_dx(without_gamma), **EXPLAIN_PARAMETERS},
    ),
)

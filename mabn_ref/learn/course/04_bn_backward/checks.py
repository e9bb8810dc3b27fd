"""Checks of `backward`."""

from collections import namedtuple

from mabn_ref.learn.checking import Check, add_gradients, batch, gradient_judges, normalised
from mabn_ref.learn.explainers import EXPLAIN_PARAMETERS, explain_dx, without_gamma

Cache = namedtuple("Cache", ["y", "sigma", "gamma"])


def draw(rng, k):
    case = batch(rng, k)
    case.cache = Cache(*normalised(case.x, case.eps), case.gamma)
    return add_gradients(case, lambda x: normalised(x, case.eps)[0])


SUM_NOTE = "; nor does it sum to zero over a channel, though shifting all of x changes nothing"
CHECKS = (
    Check.of(
        "backward(dz, cache)",
        gradient_judges(sum_note=SUM_NOTE),
        explain={"dx": explain_dx(without_gamma), **EXPLAIN_PARAMETERS},
    ),
)

"""Checks of `backward`: derivatives with r and d held."""

from collections import namedtuple

from mabn_ref.learn.checking import Check, add_gradients, batch, gradient_judges, normalised
from mabn_ref.learn.explainers import EXPLAIN_PARAMETERS, explain_dx, without_gamma_or_r

Cache = namedtuple("Cache", ["y", "sigma", "r", "d", "gamma"])


def draw(rng, k):
    case = batch(rng, k)
    case.r = rng.permutation([0.4, 0.8, 1.7]) * rng.uniform(0.9, 1.1)
    case.d = rng.permutation([-1.2, 0.3, 0.9]) * rng.uniform(0.9, 1.1)
    case.cache = Cache(*normalised(case.x, case.eps), case.r, case.d, case.gamma)
    return add_gradients(case, lambda x: case.r * normalised(x, case.eps)[0] + case.d)


def _other_y(case):
    return {"{names} {is} made of r * y + d; take y itself": case.r * case.cache.y + case.d}


SUM_NOTE = "; nor does it sum to zero over a channel, as it does in batch normalisation"
CHECKS = (
    Check.of(
        "backward(dz, cache)",
        gradient_judges(of="forward with r and d held", sum_note=SUM_NOTE),
        explain={"dx": explain_dx(without_gamma_or_r, other_y=_other_y), **EXPLAIN_PARAMETERS},
    ),
)

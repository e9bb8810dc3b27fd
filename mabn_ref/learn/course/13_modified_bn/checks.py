"""Checks of `forward` and `backward`."""

from collections import namedtuple

import numpy as np

from mabn_ref.learn.checking import (
    Check,
    add_gradients,
    batch,
    close,
    gradient_faults,
    gradient_judges,
    mean_square,
    root_faults,
)
from mabn_ref.learn.explainers import EXPLAIN_PARAMETERS, explain_dx, without_gamma

Cache = namedtuple("Cache", ["y", "chi", "gamma"])


def draw(rng, k):
    case = batch(rng, k)
    chi = np.sqrt(mean_square(case.x) + case.eps)
    case.cache = Cache(case.x / chi, chi, case.gamma)
    return add_gradients(case, lambda x: x / np.sqrt(mean_square(x) + case.eps))


def judge_z(z, case):
    q, found = mean_square(case.x), mean_square(z - case.beta)
    if not close(found * (q + case.eps), case.gamma**2 * q):
        yield f"the mean square of z - beta over a channel is not gamma^2 q / (q + eps), with eps = {case.eps:g}"
    if not close((z - case.beta) * np.sqrt(q), case.gamma * case.x * np.sqrt(found) / abs(case.gamma)):
        yield "z - beta has the right mean square, but is not x times one number per channel"


def judge_cache(cache, case):
    if not close(cache.gamma, case.gamma):
        yield "cache.gamma is not gamma"
    otherwise = f"cache.chi squared is not the mean square of x plus eps, with eps = {case.eps:g}"
    yield from root_faults("cache.chi", cache.chi, mean_square(case.x) + case.eps, otherwise)
    if not close(cache.y * cache.chi, case.x):
        yield "cache.y times cache.chi does not give x back"


def judge_dx(dx, case):
    along = np.abs(np.sum((case.x * dx).reshape(-1, dx.shape[-1]), axis=0))
    for fault in gradient_faults("dx", dx, case.dx):
        if case.eps < 1e-4 and np.max(along) > 1e-3 * np.sum(np.abs(case.x * dx)):
            yield f"{fault}; nor is the sum of x * dx zero over a channel, though stretching x changes nothing"
        yield fault


CHECKS = (
    Check.of("forward(x, gamma, beta, eps)", {"z": judge_z, "cache": judge_cache}),
    Check.of(
        "backward(dz, cache)",
        gradient_judges() | {"dx": judge_dx},
        explain={"dx": explain_dx(without_gamma, root="chi", g=0), **EXPLAIN_PARAMETERS},
    ),
)

"""Checks of several normalisation batches in one call."""

from collections import namedtuple
from types import SimpleNamespace

import numpy as np

from mabn_ref.learn.checking import Check, add_gradients, batch, close, judge_that, moments, normalised, root_faults
from mabn_ref.learn.explainers import explain_dx, explain_parameters, without_gamma

CASES = 4
Cache = namedtuple("Cache", ["y", "sigma", "gamma"])


def draw(rng, k):
    case = batch(rng, k, samples=8)
    case.norm_batch = (4, 2, 2, 8)[k % 4]
    case.dz = case.dz + rng.standard_normal((8, *[1] * (case.x.ndim - 1)))  # batches that differ in g

    def normalise(x):
        return map(np.array, zip(*(normalised(part, case.eps) for part in _batches(x, case)), strict=True))

    case.cache = Cache(*normalise(case.x), case.gamma)
    return add_gradients(case, lambda x: next(normalise(x)).reshape(x.shape))


def _batches(array, case):
    """Each normalisation batch, taken out by itself, as (M, C)."""
    size = case.norm_batch
    return [array[i : i + size].reshape(-1, array.shape[-1]) for i in range(0, len(array), size)]


def judge_split(values, case):
    for t, ours in enumerate(_batches(case.x, case)):
        if not np.array_equal(np.sort(values[t], axis=0), np.sort(ours, axis=0)):
            yield f"row {t} does not hold the values of {case.norm_batch} neighbouring samples, channel by channel"
        if not np.array_equal(values[t], ours):
            yield f"row {t} holds the right values in the wrong order"


def judge_z(z, case):
    for t, (x, ours) in enumerate(zip(_batches(case.x, case), _batches(z, case), strict=True)):
        mu, var = moments(x)
        where = f"in normalisation batch {t} (norm_batch = {case.norm_batch}, eps = {case.eps:g})"
        if not close(np.sum(ours, axis=0) / len(ours), case.beta):
            yield f"the mean of z over a channel is not beta, {where}"
        if not close((ours - case.beta) * np.sqrt(var + case.eps), case.gamma * (x - mu)):
            yield f"z is not gamma * (x - mu) / sqrt(var + eps) + beta, {where}"


def judge_cache(cache, case):
    for t, x in enumerate(_batches(case.x, case)):
        mu, var = moments(x)
        otherwise = f"cache.sigma[{t}] squared is not the variance plus eps of that normalisation batch"
        yield from root_faults(f"cache.sigma[{t}]", cache.sigma[t], var + case.eps, otherwise)
        if not close(cache.y[t] * cache.sigma[t], x - mu):
            yield f"cache.y[{t}] times cache.sigma[{t}] does not give the centred values back"
    if not close(cache.gamma, case.gamma):
        yield "cache.gamma is not gamma"


def judge_dx(dx, case):
    for t, (ours, right) in enumerate(zip(_batches(dx, case), _batches(case.dx, case), strict=True)):
        if not close(ours, right, 1e-7):
            yield f"dx is not the derivative of forward in normalisation batch {t} (norm_batch = {case.norm_batch})"


judge_dgamma = judge_that(
    lambda dgamma, case: close(dgamma, case.dgamma), "dgamma is not the derivative of forward for gamma"
)
judge_dbeta = judge_that(
    lambda dbeta, case: close(dbeta, case.dbeta), "dbeta is not the derivative of forward for beta"
)
_EXPLAIN_PART = explain_dx(without_gamma)


def explain_parts(values, cases):
    """What is wrong with dx, each normalisation batch taken for a batch."""
    pieces, parts = [], []
    for dx, case in zip(values, cases, strict=True):
        for t, i in enumerate(range(0, len(dx), case.norm_batch)):
            here = slice(i, i + case.norm_batch)
            cache = Cache(case.cache.y[t].reshape(dx[here].shape), case.cache.sigma[t], case.gamma)
            pieces.append(dx[here])
            parts.append(SimpleNamespace(gamma=case.gamma, dz=case.dz[here], cache=cache))
    return _EXPLAIN_PART(pieces, parts)


def _counts(case):
    batches, values = case.cache.y.shape[:2]
    return {
        "N, the number of samples": len(case.dz),
        "norm_batch": case.norm_batch,
        "M, the number of values in a normalisation batch": values,
        "G * M, the number of values in the whole call": batches * values,
    }


CHECKS = (
    Check.of("split(x, norm_batch)", {"split": judge_split}),
    Check.of("forward(x, gamma, beta, eps, norm_batch)", {"z": judge_z, "cache": judge_cache}),
    Check.of(
        "backward(dz, cache)",
        {"dx": judge_dx, "dgamma": judge_dgamma, "dbeta": judge_dbeta},
        explain={"dx": explain_parts, **explain_parameters(_counts)},
    ),
)

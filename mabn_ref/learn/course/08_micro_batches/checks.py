"""Checks of several normalisation batches in one call."""

from collections import namedtuple
from types import SimpleNamespace

import numpy as np

from mabn_ref.learn.checking import Check, batch, close, gradient, observe_backward, parts
from mabn_ref.learn.regression import explain_dx, explain_multiple, shares
from mabn_ref.norms import batch_norm

CASES = 4
Cache = namedtuple("Cache", ["y", "sigma", "gamma"])


def draw(rng, k):
    case = batch(rng, k, samples=8)
    case.norm_batch = (4, 2, 2, 8)[k % 4]
    case.dz = case.dz + rng.standard_normal((8, *[1] * (case.x.ndim - 1)))  # batches that differ in g
    _, cache, _ = _forward(case, case.x)
    case.cache = Cache(cache.y, cache.sigma[:, 0, :], case.gamma)
    case.dx = gradient(lambda x: _forward(case, x)[0], case.x, case.dz)
    return case


def _forward(case, x):
    config = batch_norm.Config(eps=case.eps, norm_batch=case.norm_batch)
    state = batch_norm.init(len(case.gamma), config, dtype=np.float64)
    return batch_norm.forward(x, case.gamma, case.beta, state, config)


def _batches(array, case):
    """Each normalisation batch, taken out by itself, as (M, C)."""
    size = case.norm_batch
    return [array[i : i + size].reshape(-1, array.shape[-1]) for i in range(0, len(array), size)]


def observe_forward(code, case):
    found = code.forward(case.x, case.gamma, case.beta, case.eps, case.norm_batch)
    return parts("forward", found, "z", "cache")


def judge_split(values, case):
    for t, ours in enumerate(_batches(case.x, case)):
        if not np.array_equal(np.sort(values[t], axis=0), np.sort(ours, axis=0)):
            return f"row {t} does not hold the values of {case.norm_batch} neighbouring samples, channel by channel"
        if not np.array_equal(values[t], ours):
            return f"row {t} holds the right values in another order"
    return None


def judge_z(z, case):
    for t, (x, ours) in enumerate(zip(_batches(case.x, case), _batches(z, case), strict=True)):
        said = _fault(ours, x, case)
        if said:
            return f"{said}, in normalisation batch {t} (norm_batch = {case.norm_batch}, eps = {case.eps:g})"
    return None


def _fault(z, x, case):
    mu = np.sum(x, axis=0) / len(x)
    var = np.sum((x - mu) ** 2, axis=0) / len(x)
    if not close(np.sum(z, axis=0) / len(z), case.beta):
        return "the mean of z over a channel is not beta"
    if not close((z - case.beta) * np.sqrt(var + case.eps), case.gamma * (x - mu)):
        return "z is not gamma * (x - mu) / sqrt(var + eps) + beta"
    return None


def judge_cache(cache, case):
    for t, x in enumerate(_batches(case.x, case)):
        mu = np.sum(x, axis=0) / len(x)
        if not close(cache.sigma[t] ** 2, np.sum((x - mu) ** 2, axis=0) / len(x) + case.eps):
            return f"cache.sigma[{t}] squared is not the variance plus eps of that normalisation batch"
        if not close(cache.y[t] * cache.sigma[t], x - mu):
            return f"cache.y[{t}] times cache.sigma[{t}] does not give the centred values back"
    return None if close(cache.gamma, case.gamma) else "cache.gamma is not gamma"


def judge_dx(dx, case):
    for t, (ours, right) in enumerate(zip(_batches(dx, case), _batches(case.dx, case), strict=True)):
        if not close(ours, right, 1e-7):
            return f"dx is not the derivative of forward in normalisation batch {t} (norm_batch = {case.norm_batch})"
    return None


def judge_dgamma(dgamma, case):
    right = gradient(lambda gamma: gamma * case.cache.y, case.gamma, case.dz.reshape(case.cache.y.shape))
    return None if close(dgamma, right) else "dgamma is not the derivative of forward for gamma"


def judge_dbeta(dbeta, case):
    right = gradient(lambda beta: beta + 0 * case.dz, case.beta, case.dz)
    return None if close(dbeta, right) else "dbeta is not the derivative of forward for beta"


def _inputs(part):
    return {"": part.gamma * part.dz, "{names} {is} made of dz, without gamma; dy is dz * gamma": part.dz}


_EXPLAIN_PART = explain_dx(_inputs, lambda part: part.y, lambda part: part.sigma)


def explain_parts(values, cases):
    """What is wrong with dx, each normalisation batch taken for a batch."""
    pieces, parts = [], []
    for dx, case in zip(values, cases, strict=True):
        for t, i in enumerate(range(0, len(dx), case.norm_batch)):
            here = slice(i, i + case.norm_batch)
            y, sigma = case.cache.y[t].reshape(dx[here].shape), case.cache.sigma[t]
            pieces.append(dx[here])
            parts.append(SimpleNamespace(gamma=case.gamma, dz=case.dz[here], y=y, sigma=sigma))
    return _EXPLAIN_PART(pieces, parts)


def _dgamma(case):
    return np.sum(case.dz.reshape(case.cache.y.shape) * case.cache.y, axis=(0, 1))


def _dbeta(case):
    return np.sum(case.dz, axis=tuple(range(case.dz.ndim - 1)))


CHECKS = (
    Check.of("split", lambda code, case: code.split(case.x, case.norm_batch), judge_split),
    Check(observe_forward, {"z": judge_z, "cache": judge_cache}),
    Check(
        observe_backward,
        {"dx": judge_dx, "dgamma": judge_dgamma, "dbeta": judge_dbeta},
        {
            "dx": explain_parts,
            "dgamma": explain_multiple("dgamma", _dgamma, lambda case: shares(case.dz)),
            "dbeta": explain_multiple("dbeta", _dbeta, lambda case: shares(case.dz)),
        },
    ),
)

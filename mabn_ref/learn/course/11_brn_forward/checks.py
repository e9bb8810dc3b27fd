"""Checks of `forward`."""

from collections import namedtuple

import numpy as np

from mabn_ref.learn.checking import Check, Malformed, batch, close, moments, normalised, part, unpack

State = namedtuple("State", ["mean", "sigma"])
Rest = namedtuple("Cache", ["y", "sigma", "gamma"])

# Bounds of r and d. Where they are narrow, one channel is below, one inside, one above.
BOUNDS = ((100.0, 100.0), (1.25, 0.5), (1.0, 0.0), (1.25, 0.5), (100.0, 100.0), (1.5, 0.25))


def draw(rng, k):
    case = batch(rng, k)
    case.mu, _ = moments(case.x)
    case.y, case.sigma = normalised(case.x, case.eps)
    case.r_max, case.d_max = BOUNDS[k % len(BOUNDS)]
    case.decay = rng.uniform(0.6, 0.9)
    # inside the bounds, far below and far above: a bound in a wrong place is no lacking bound
    sigma_hat = case.sigma * rng.permutation([0.05, 1.1, 30]) * rng.uniform(0.95, 1.05)
    offset = rng.permutation([-20.0, 0.1, 20.0]) * rng.uniform(0.95, 1.05)
    case.state = State(case.mu - offset * sigma_hat, sigma_hat)
    case.ratio, case.shift = case.sigma / sigma_hat, offset
    case.r = np.clip(case.ratio, 1 / case.r_max, case.r_max)
    case.d = np.clip(case.shift, -case.d_max, case.d_max)
    return case


def observe(code, case):
    result = code.forward(case.x, case.gamma, case.beta, case.state, case.eps, case.decay, case.r_max, case.d_max)
    z, cache, state = unpack("forward", result, "z", "cache", "state")
    seen = {"z": z, "state": state}
    kept = part(lambda: unpack("forward, as its cache,", cache, "y", "sigma", "r", "d", "gamma"))
    if isinstance(kept, Malformed):
        return seen | dict.fromkeys(("r", "d", "cache"), kept)
    y, sigma, r, d, gamma = kept
    return seen | {"r": r, "d": d, "cache": Rest(y, sigma, gamma)}


def judge_z(z, case):
    if close(z - case.beta, case.gamma * (case.r * case.y + case.d)):
        return
    if case.r_max == 100:
        yield "nothing is clipped here, and still z is not gamma (x - mean) / sigma + beta with the moving statistics"
    if case.d_max == 0:
        yield "with r_max = 1 and d_max = 0, z is not that of batch normalisation"
    yield "z is not gamma * (r * y + d) + beta, where r or d is clipped"


def judge_r(r, case):
    low, high = 1 / case.r_max, case.r_max
    inside = (low < case.ratio) & (case.ratio < high)
    if np.any(r < low * (1 - 1e-9)) or np.any(r > high * (1 + 1e-9)):
        yield f"r leaves the interval from 1 / r_max to r_max, with r_max = {case.r_max:g}"
    if not close((r * case.state.sigma)[inside], case.sigma[inside]):
        yield "where it is not clipped, r times the moving sigma (from before this batch) is not the batch's sigma"
    if not close(r[~inside], case.r[~inside]):
        yield "where sigma over the moving sigma leaves the bounds, r is not the bound on that side"


def judge_d(d, case):
    inside = np.abs(case.shift) < case.d_max
    if np.any(np.abs(d) > case.d_max + 1e-9):
        yield f"d leaves the interval from -d_max to d_max, with d_max = {case.d_max:g}"
    if not close((d * case.state.sigma)[inside], (case.mu - case.state.mean)[inside]):
        yield "where it is not clipped, d times the moving sigma is not the step from the moving mean to mu"
    if not close(d[~inside], case.d[~inside]):
        yield "where the step from the moving mean to mu is too large, d is not the bound on that side"


def judge_cache(cache, case):
    if not close(cache.gamma, case.gamma):
        yield "cache.gamma is not gamma"
    if not close(cache.sigma, case.sigma):
        yield f"cache.sigma is not the root of the batch's variance plus eps, with eps = {case.eps:g}"
    if not close(cache.y, case.y):
        yield "cache.y is not (x - mu) / sigma of the batch, the value from before r and d"


def judge_state(state, case):
    for name, new, old, of_batch in zip(state._fields, state, case.state, (case.mu, case.sigma), strict=True):
        if not close(new - of_batch, case.decay * (old - of_batch)):
            yield f"state.{name} does not keep decay = {case.decay:.2f} of its distance from the batch's value"


CHECKS = (Check(observe, {"z": judge_z, "r": judge_r, "d": judge_d, "cache": judge_cache, "state": judge_state}),)

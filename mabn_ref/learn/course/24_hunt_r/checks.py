"""Checks of the fixed layer."""

import numpy as np

from mabn_ref.learn.checking import Check, batch, close, moments, parts


def draw(rng, k):
    case = batch(rng, k)
    case.unit = (1.0, 100.0)[k // 2 % 2]  # x and eps in metres or in centimetres
    case.x, case.eps = case.unit * case.x, case.unit**2 * case.eps
    case.mu, case.var = moments(case.x)
    case.r_max, case.d_max = ((100.0, 100.0), (1.2, 0.2))[k % 2]
    sigma = np.sqrt(case.var + case.eps)
    # one ratio far below its bound, one far above, one within, or so: the clip is seen from both sides
    r_free, d_free = np.array([0.4, 2.5, 1.1]), rng.choice([-1.0, 1.0], 3) * np.array([0.1, 0.9, 0.5])
    case.var_hat = np.maximum((sigma / r_free) ** 2 - case.eps, 0)
    std_hat = np.sqrt(case.var_hat + case.eps)
    case.mean_hat = case.mu - d_free * std_hat
    case.r = np.clip(sigma / std_hat, 1 / case.r_max, case.r_max)
    case.d = np.clip(d_free, -case.d_max, case.d_max)
    return case


def observe(code, case):
    moving, bounds = (case.mean_hat, case.var_hat), (case.r_max, case.d_max)
    return parts("forward", code.forward(case.x, case.gamma, case.beta, *moving, *bounds, case.eps), "z", "r", "d")


def judge_r(r, case):
    if close(r, case.r):
        return
    if np.any(r < (1 - 1e-9) / case.r_max) or np.any(r > (1 + 1e-9) * case.r_max):
        yield "r is outside its bounds: 1 / r_max and r_max"
    yield f"r is not the ratio of the two sigmas, clipped{_in_unit(case)}"


def judge_d(d, case):
    if close(d, case.d):
        return
    if np.any(abs(d) > (1 + 1e-9) * case.d_max):
        yield "d is outside its bounds: -d_max and d_max"
    yield f"d is not mu minus the moving mean in units of the moving sigma, clipped{_in_unit(case)}"


def judge_z(z, case):
    y = (case.x - case.mu) / np.sqrt(case.var + case.eps)
    if close(z, case.gamma * (case.r * y + case.d) + case.beta):
        return
    if case.r_max > 10:  # nothing is clipped
        yield f"nothing is clipped, and yet z is not what inference gives{_in_unit(case)}"
    yield f"z is not gamma * (r * y + d) + beta with the clipped r and d{_in_unit(case)}"


def _in_unit(case):
    return "" if case.unit == 1 else f", for x in a unit {case.unit:g} times smaller"


CHECKS = (Check(observe, {"r": judge_r, "d": judge_d, "z": judge_z}),)

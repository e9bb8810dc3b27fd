"""Checks of the mended layer."""

import numpy as np

from mabn_ref.learn.checking import Check, batch, close, moments, unpack


def draw(rng, k):
    case = batch(rng, k)
    case.unit = (1.0, 100.0)[k // 2 % 2]  # x and eps in metres or in centimetres
    case.mu, case.var = moments(case.x)
    case.r_max, case.d_max = ((100.0, 100.0), (1.2, 0.2))[k % 2]
    sigma = np.sqrt(case.var + case.eps)
    # one ratio far below its bound, one far above, one within, or so: the clip is seen from both sides
    case.r_free, case.d_free = np.array([0.4, 2.5, 1.1]), rng.choice([-1.0, 1.0], 3) * np.array([0.1, 0.9, 0.5])
    case.var_hat = np.maximum((sigma / case.r_free) ** 2 - case.eps, 0)
    std_hat = np.sqrt(case.var_hat + case.eps)
    case.r_free, case.mean_hat = sigma / std_hat, case.mu - case.d_free * std_hat
    return case


def observe(code, case):
    u = case.unit
    result = code.forward(
        u * case.x,
        case.gamma,
        case.beta,
        u * case.mean_hat,
        u**2 * case.var_hat,
        case.r_max,
        case.d_max,
        u**2 * case.eps,
    )
    z, r, d = unpack("forward", result, "z", "r", "d")
    return {"r": r, "d": d, "z": z}


def _clipped(case):
    r = np.minimum(np.maximum(case.r_free, 1 / case.r_max), case.r_max)
    return r, np.minimum(np.maximum(case.d_free, -case.d_max), case.d_max)


def judge_r(r, case):
    if close(r, _clipped(case)[0]):
        return None
    if np.any(r < (1 - 1e-9) / case.r_max) or np.any(r > (1 + 1e-9) * case.r_max):
        return "r is outside its bounds: 1 / r_max and r_max"
    return f"r is not the ratio of the two sigmas, clipped{_in_unit(case)}"


def judge_d(d, case):
    if close(d, _clipped(case)[1]):
        return None
    if np.any(abs(d) > (1 + 1e-9) * case.d_max):
        return "d is outside its bounds: -d_max and d_max"
    return f"d is not the distance of the means in units of the moving sigma, clipped{_in_unit(case)}"


def judge_z(z, case):
    r, d = _clipped(case)
    if close(z, case.gamma * (r * (case.x - case.mu) / np.sqrt(case.var + case.eps) + d) + case.beta):
        return None
    if case.r_max > 10:  # nothing is clipped
        return f"nothing is clipped, and yet z is not what inference gives{_in_unit(case)}"
    return f"z is not gamma * (r * y + d) + beta with the clipped r and d{_in_unit(case)}"


def _in_unit(case):
    return "" if case.unit == 1 else f", for x in a unit {case.unit:g} times as small"


CHECKS = (Check(observe, {"r": judge_r, "d": judge_d, "z": judge_z}),)

"""Checks of `backward`: derivatives of one call and of the loss by a stretch of y, and what a window adds."""

from collections import namedtuple

import numpy as np

from mabn_ref.learn.checking import Check, batch, close, gradient, gradient_faults, gradient_judges, mean_square
from mabn_ref.learn.explainers import EXPLAIN_PARAMETERS, explain_dx, without_gamma_or_r

Cache = namedtuple("Cache", ["y", "chi", "r", "gamma"])

# The window m, how many values it holds before this batch, and whether those are zeros.
SETTINGS = ((5, 4, True), (4, 4, False), (1, 1, False), (7, 3, False), (4, 0, False), (7, 7, False))


def draw(rng, k):
    case = batch(rng, k)
    case.window, count, case.zeros = SETTINGS[k % len(SETTINGS)]
    case.r = rng.permutation([0.6, 1.2, 1.8]) * rng.uniform(0.9, 1.1)
    case.count = case.axes["held"] = min(count + 1, case.window)
    kept = case.count - 1
    # what the other batches of the window add to the mean square, constant in backward
    others = kept * mean_square(case.x) * rng.uniform(0.3, 3.0, 3)

    def forward(x):
        chi = np.sqrt((others + mean_square(x)) / case.count + case.eps)
        return x / chi, chi

    y, chi = forward(case.x)
    case.cache = Cache(y, chi, case.r, case.gamma)
    case.psi_window = rng.standard_normal((count, 3)) * (0 if case.zeros else 1)
    case.one_call = gradient(lambda x: case.gamma * case.r * forward(x)[0], case.x, case.dz)
    case.psi = gradient(lambda a: case.gamma * case.r * a * y, np.ones(3), case.dz) / (y.size / 3)
    case.dgamma = gradient(lambda gamma: gamma * case.r * y, case.gamma, case.dz)
    case.dbeta = gradient(lambda beta: 0 * y + beta, case.beta, case.dz)
    case.dx = case.one_call - y * np.sum(case.psi_window[count - kept :], axis=0) / case.count / chi
    return case


def judge_dx(dx, case):
    if case.zeros:
        for fault in gradient_faults("dx", dx, case.one_call, of="one call of forward"):
            yield f"with zeros for the earlier Psi, {fault}"
    elif case.count == 1:
        for fault in gradient_faults("dx", dx, case.dx):
            yield f"with this batch alone in the window, {fault}"
    elif not close(dx, case.dx):
        before = case.count - 1
        yield f"dx is wrong in what the {before} earlier Psi add: each should add -y / chi * Psi / {case.count}"


def judge_window(psi_window, case):
    if not close(psi_window[-1], case.psi):
        yield "the last row of psi_window is not the derivative of the loss for a stretch of y, divided by M"
    if not close(psi_window[:-1], case.psi_window[len(case.psi_window) - case.count + 1 :]):
        yield "the rows of psi_window before the last are not the latest of the earlier rows, in order"


def _averages(psi, case):
    """The mean of the window with the batch's Psi in it, and what is taken for it."""
    before = case.psi_window[len(case.psi_window) - case.count + 1 :]
    total = np.sum(before, axis=0) + psi
    return {
        "": total / case.count,
        "{names} {is} made of this batch's Psi alone; average it over the window": psi,
        "{names} {is} made of the sum over the window; take the mean": total,
        "{names} {is} divided by m before m values are held; divide by the number held": total / case.window,
        "{names} {is} averaged without this batch; put its Psi into the window first": (
            np.mean(case.psi_window, axis=0) if len(case.psi_window) else psi
        ),
    }


CHECKS = (
    Check.of(
        "backward(dz, cache, psi_window, window)",
        gradient_judges() | {"dx": judge_dx, "psi_window": judge_window},
        explain={
            "dx": explain_dx(
                without_gamma_or_r,
                root="chi",
                g=0,
                averages=_averages,
                other_y=lambda case: {"{names} {is} made of r * y; take y itself": case.r * case.cache.y},
            ),
            **EXPLAIN_PARAMETERS,
        },
    ),
)

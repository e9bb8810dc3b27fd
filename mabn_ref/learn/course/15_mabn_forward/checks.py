"""Checks of `forward`."""

from collections import namedtuple

import numpy as np

from mabn_ref.learn.checking import Check, Malformed, batch, close, judge_that, mean_square, part, unpack

State = namedtuple("State", ["chi2", "chi2_window"])
Rest = namedtuple("Cache", ["y", "gamma"])
CACHE = ("y", "chi", "r", "gamma")

# The window m, how many values it holds before this batch, and the clip.
SETTINGS = ((4, 4, 100.0), (4, 0, 100.0), (4, 4, 1.3), (7, 3, 1.0), (7, 7, 1.3), (1, 1, 100.0))


def draw(rng, k):
    case = batch(rng, k)
    case.window, count, case.clip = SETTINGS[k % len(SETTINGS)]
    case.decay = rng.uniform(0.6, 0.9)
    case.q = mean_square(case.x)
    before = case.q * rng.uniform(0.3, 3.0, (count, 3))
    rows = [*before, case.q][-case.window :]
    case.held = np.array(rows)
    case.axes["held"] = len(rows)
    case.chi = np.sqrt(sum(rows) / len(rows) + case.eps)
    # one channel inside the clip, one far below and one far above: a bound in a wrong place is no lacking bound
    chi_hat = case.chi * rng.permutation([0.05, 1.1, 30]) * rng.uniform(0.95, 1.05)
    chi_hat = np.sqrt(np.maximum(chi_hat**2 - case.eps, 1e-4 * case.q) + case.eps)
    case.state = State(chi_hat**2 - case.eps, before)
    case.ratio = case.chi / chi_hat
    case.r = np.clip(case.ratio, 1 / case.clip, case.clip)
    return case


def observe(code, case):
    result = code.forward(case.x, case.gamma, case.beta, case.state, case.eps, case.window, case.decay, case.clip)
    z, cache, state = unpack("forward", result, "z", "cache", "state")
    seen = {"z": z, **_fields("state", state, "chi2", "chi2_window"), **_fields("cache", cache, *CACHE)}
    y, gamma = seen.pop("y"), seen.pop("gamma")
    return seen | {"cache": y if isinstance(y, Malformed) else Rest(y, gamma)}


def _fields(name, value, *fields):
    """The fields of a cache or state, each under its name; if it is none, that is what is wrong with each."""
    found = part(lambda: unpack(f"forward, as its {name},", value, *fields))
    return dict.fromkeys(fields, found) if isinstance(found, Malformed) else dict(zip(fields, found, strict=True))


def judge_z(z, case):
    if close(z - case.beta, case.gamma * case.r * case.x / case.chi):
        return
    if case.clip == 100:
        yield "r is not clipped here, and still z is not gamma x / chi_hat + beta, as it is at inference"
    yield "z is not gamma * r * y + beta, where r is clipped"


def judge_chi(chi, case):
    if close(chi, case.chi):
        return
    if np.any(chi < 0):
        yield "chi is negative: it is the positive root"
    count = len(case.held)
    if case.window == 1:
        yield "with a window of one, chi squared is not the batch's own mean square plus eps"
    if count < case.window:
        yield f"with {count} of {case.window} values in the window, chi squared is not their mean plus eps"
    yield f"chi squared is not the mean of the last {count} mean squares, this batch's the last of them, plus eps"


def judge_r(r, case):
    low, high = 1 / case.clip, case.clip
    inside = (low < case.ratio) & (case.ratio < high)
    if np.any(r < low * (1 - 1e-9)) or np.any(r > high * (1 + 1e-9)):
        yield f"r leaves the interval from 1 / clip to clip, with clip = {case.clip:g}"
    if not close((r * np.sqrt(case.state.chi2 + case.eps))[inside], case.chi[inside]):
        yield "where it is not clipped, r times the root of state.chi2 + eps, from before this batch, is not chi"
    if not close(r[~inside], case.r[~inside]):
        yield "where chi over chi_hat leaves the bounds, r is not the bound on that side"


def judge_cache(cache, case):
    if not close(cache.gamma, case.gamma):
        yield "cache.gamma is not gamma"
    if not close(cache.y * case.chi, case.x):
        yield "cache.y times chi does not give x back: it is the value from before r"


judge_chi2 = judge_that(
    lambda chi2, case: close(chi2 - case.q, case.decay * (case.state.chi2 - case.q)),
    "state.chi2 does not keep decay = {case.decay:.2f} of its distance from the batch's mean square",
)


def judge_window(chi2_window, case):
    if not close(chi2_window[-1], case.q):
        yield "the last row of state.chi2_window is not this batch's mean square"
    if not close(chi2_window, case.held):
        yield "the rows of state.chi2_window before the last are not the latest of the earlier rows, in order"


PARTS = {
    "z": judge_z,
    "chi": judge_chi,
    "r": judge_r,
    "cache": judge_cache,
    "chi2": judge_chi2,
    "chi2_window": judge_window,
}
CHECKS = (Check(observe, PARTS),)

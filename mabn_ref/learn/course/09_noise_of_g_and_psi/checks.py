"""Checks of a Monte Carlo experiment.

What is measured depends on which values make a batch together, which a student may choose. So a noise that agrees
with ours within what chance allows is observed as ours.
"""

from types import SimpleNamespace

import numpy as np

from mabn_ref.learn.checking import Check, Malformed, close, judge_that, unpack

CASES = 2
SECONDS = 10  # whoever draws one batch at a time asks for thousands, each from another process
TRIALS = 300
CHANCE = 0.25
"""Four standard errors of the ratio of two standard deviations, each over so many trials."""
SIZES = np.array([8, 128])


def draw(rng, k):
    case = SimpleNamespace(seed=int(rng.integers(2**31)), far=(3.0, -5.0)[k % 2], size=(2, 6)[k % 2])
    case.weights = rng.uniform(0.5, 2.0, 2)
    x, u = _sample(case)(7 * case.size)
    case.x, case.u = x.reshape(7, case.size), u.reshape(7, case.size)
    case.centred = case.x - np.mean(case.x, axis=1)[:, None]
    case.axes = {"T": 7, "M": case.size}
    case.noise = _noise(_sample(case), case.size)
    case.sizes = np.array([2.0, 5.0, 16.0, 40.0, 100.0])
    case.noises = case.sizes ** rng.uniform(-1.5, 0.5) * rng.uniform(0.5, 2.0, 5)
    return case


def _sample(case, other=0):
    """Values of one channel, different ones each time; in the same order whether asked for singly or together."""
    rng = np.random.default_rng(case.seed + other)

    def sample(count):
        if not 0 <= count <= 10**5:  # more than twice what any check needs; each value takes a hundred bytes here
            raise Malformed(f"count is {count}, expected from 0 to 100,000 values")
        a, b = rng.standard_normal((int(count), 2)).T
        return case.far + 2 * a, 1.5 + case.weights[0] * a + case.weights[1] * b

    return sample


def _noise(sample, size):
    found = _statistics(*(values.reshape(TRIALS, size) for values in sample(TRIALS * size)))
    return [np.sqrt(np.sum((values - np.sum(values) / TRIALS) ** 2) / TRIALS) for values in found]


def _statistics(x, u):
    y = (x - np.mean(x, axis=1)[:, None]) / np.std(x, axis=1)[:, None]
    return np.sum(u, axis=1) / x.shape[1], np.sum(y * u, axis=1) / x.shape[1]


def observe_noise(code, case):
    found = unpack("noise", code.noise(_sample(case), case.size, TRIALS), "noise of g", "noise of psi")
    ours = [right if _near(value, right) else value for value, right in zip(found, case.noise, strict=True)]
    return {"noise of g": ours[0], "noise of psi": ours[1]}


def _near(value, right):
    return _number(value) and abs(value / right - 1) < CHANCE


def _number(value):
    return np.shape(value) == () and isinstance(value, float | int | np.number)


def observe_law(code, case):
    found = unpack("law", code.law(_sample(case), SIZES, TRIALS), "that of g", "that of psi")
    if all(map(_number, found)):  # what is measured differs from sample to sample
        again = unpack("law", code.law(_sample(case, other=1), SIZES, TRIALS // 10), "that of g", "that of psi")
        if found[0] == again[0] or found[1] == again[1]:
            raise Malformed("law returns the same number for two samples: measure it, do not quote it")
    return {"law": tuple(-0.5 if _near(value, -0.5) else value for value in found)}


judge_g = judge_that(
    lambda g, case: close(g * case.size, np.sum(case.u, axis=1)), "g times M is not the sum of u over the batch"
)


judge_psi = judge_that(
    lambda psi, case: close(psi * np.std(case.x, axis=1) * case.size, np.sum(case.centred * case.u, axis=1)),
    "psi times M sigma is not the sum of (x - mu) * u over the batch, with the batch's own mu and sigma",
)
judge_noise_of_g = judge_that(
    lambda noise, case: noise == case.noise[0],
    "the noise of g is not the root of Var u / M, as it is over batches of M = {case.size} values",
)
judge_noise_of_psi = judge_that(
    lambda noise, case: noise == case.noise[1],
    f"the noise of psi is further than chance allows from that of {TRIALS} other batches of {{case.size}}",
)


def judge_exponent(k, case):
    logs = np.log(case.sizes), np.log(case.noises)
    rest = logs[1] - k * logs[0]
    if not close(np.sum((rest - np.mean(rest)) * logs[0]) + 1, 1):
        yield "this slope leaves something: what the line does not explain still grows or falls with the size"


def judge_law(found, case):
    if found != (-0.5, -0.5):
        yield f"both exponents come out near -1/2; yours are {found[0]:.2f} and {found[1]:.2f}"


CHECKS = (
    Check.of("statistics(x, u)", {"g": judge_g, "psi": judge_psi}),
    Check(observe_noise, {"noise of g": judge_noise_of_g, "noise of psi": judge_noise_of_psi}, joins=True),
    Check.of("exponent(sizes, noises)", {"exponent": judge_exponent}),
    Check(observe_law, {"law": judge_law}, joins=True),
)

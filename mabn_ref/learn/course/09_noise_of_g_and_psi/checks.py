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
OTHER_SIZES, OTHER_TRIALS = np.array([16, 512]), 120
"""Of values that are all but plus or minus one, of which Psi has another law."""


def draw(rng, k):
    case = SimpleNamespace(seed=int(rng.integers(2**31)), far=(3.0, -5.0)[k % 2], size=(4, 6)[k % 2])
    case.weights = rng.uniform(0.5, 2.0, 2)
    x, u = _sample(case)(7 * case.size)
    case.x, case.u = x.reshape(7, case.size), u.reshape(7, case.size)
    case.centred = case.x - np.mean(case.x, axis=1)[:, None]
    case.axes = {"T": 7, "M": case.size}
    case.noise = _noise(_sample(case), case.size)
    case.sizes = np.array([2.0, 5.0, 16.0, 40.0, 100.0])
    case.noises = case.sizes ** rng.uniform(-1.5, 0.5) * rng.uniform(0.5, 2.0, 5)
    return case


def _sample(case, of_signs=False):
    """Values of one channel, different ones each time; in the same order whether asked for singly or together.

    Those `of_signs` are two numbers but for a little, and u follows x. Then Psi is all but a multiple of the batch's
    sigma, which is off by about half the square of the mean: an exponent of -1.
    """
    rng = np.random.default_rng(case.seed + of_signs)

    def sample(count):
        if not 0 <= count <= 10**5:  # more than any check needs; each value takes a hundred bytes here
            raise Malformed(f"count is {count}, expected from 0 to 100,000 values")
        a, b, *c = rng.standard_normal((int(count), 2 + of_signs)).T
        if of_signs:
            x = case.far + 2 * np.sign(a) + 0.01 * b  # not quite two: a batch of one sign has a sigma, too
            return x, 1.5 + case.weights[0] * (x + 0.01 * c[0])  # what a mistake makes constant still has a noise
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


def _near(value, right, chance=CHANCE):
    return _number(value) and abs(value / right - 1) < chance


def _number(value):
    return np.shape(value) == () and isinstance(value, float | int | np.number)


def observe_law(code, case):
    found = unpack("law", code.law(_sample(case), SIZES, TRIALS), "that of g", "that of psi")
    others = unpack("law", code.law(_sample(case, True), OTHER_SIZES, OTHER_TRIALS), "that of g", "that of psi")
    if all(map(_number, found)) and any(a == b for a, b in zip(found, others, strict=True)):
        raise Malformed("law returns the same number for two samples: measure it, do not quote it")
    law = [-0.5 if _near(value, -0.5) else value for value in (*found, others[0])]
    return {"law": (*law, -1.0 if _near(others[1], -1, 0.4) else others[1])}


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
        yield "this is not the slope of least squares: what the line leaves still grows or falls with the size"


def judge_law(found, case):
    if found[:2] != (-0.5, -0.5):
        yield f"both exponents come out near -1/2; yours are {found[0]:.2f} and {found[1]:.2f}"
    if found[2:] != (-0.5, -1.0):
        yield (
            "where x has two values and u follows x, the exponents come out near -1/2 and -1; yours are "
            f"{found[2]:.2f} and {found[3]:.2f}: measure them, do not quote them"
        )


CHECKS = (
    Check.of("statistics(x, u)", {"g": judge_g, "psi": judge_psi}),
    Check(observe_noise, {"noise of g": judge_noise_of_g, "noise of psi": judge_noise_of_psi}, joins=True),
    Check.of("exponent(sizes, noises)", {"exponent": judge_exponent}),
    Check(observe_law, {"law": judge_law}, joins=True),
)

"""Checks of moving averages."""

from types import SimpleNamespace

import numpy as np

from mabn_ref.learn.checking import Check, close, formed, judge_that

CASES = 4
HUGE = 1e9


def draw(rng, k):
    m = (3, 1, 5, 16)[k % 4]
    values = rng.standard_normal((2 * m + 7, 4)) + rng.uniform(-2, 2, 4)
    case = SimpleNamespace(m=m, values=values, decay=(0.9, 0.98, 0.3, 0.0)[k % 4], start=rng.standard_normal(4))
    case.axes = {"T": len(values), "C": 4}
    case.jump = values.copy()
    case.jump[0] = HUGE * rng.uniform(0.5, 1.5, 4)
    return case


def observe_simple(code, case):
    averages = _simple(code, case, case.values)
    return {"window": averages[case.m - 1 :], "first": averages[: case.m - 1]}


def observe_forgets(code, case):
    return {"forgets": _simple(code, case, case.jump)[case.m :]}


def _simple(code, case, values):
    return formed("simple", code.simple(values, case.m), values, case.axes)


def judge_window(averages, case):
    m = case.m
    # from one iteration to the next one value comes and one goes
    if not close(m * (averages[1:] - averages[:-1]), case.values[m:] - case.values[:-m]):
        yield (
            f"from one iteration to the next, {m} times the average should gain a value and lose the one {m} before"
        )
    if not close(m * averages[0], np.sum(case.values[:m], axis=0)):
        yield f"with the first full window, {m} times the average is not the sum of {m} values"


def judge_first(averages, case):
    for t, average in enumerate(averages, start=1):
        if not close(t * average, np.sum(case.values[:t], axis=0)):
            yield f"after {t} of m = {case.m} values, {t} times the average is not their sum"


def judge_forgets(averages, case):
    for t, average in enumerate(averages, start=1):
        if not close(case.m * average, np.sum(case.jump[t : t + case.m], axis=0), 1e-10):
            yield "a value of a billion has left the window, but something of it, or of its rounding, is left behind"


judge_exponential = judge_that(
    lambda new, case: close(new, case.values + case.decay * (np.stack([case.start, *new[:-1]]) - case.values)),
    "each average should move towards the new value by 1 - decay of the distance (decay = {case.decay:g})",
)
judge_equal = judge_that(
    lambda decay, case: close((1 - decay) * case.m, 1 + decay),
    "with this decay, (1 - decay) / (1 + decay) is not 1 / m, for m = {case.m}",
)
CHECKS = (
    Check(observe_simple, {"window": judge_window, "first": judge_first}),
    Check(observe_forgets, {"forgets": judge_forgets}),
    Check.of("exponential(values, decay, start)", {"exponential": judge_exponential}),
    Check.of("equal_decay(m)", {"equal decay": judge_equal}),
)

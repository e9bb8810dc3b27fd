"""Checks of a gradient checker: it is run on right and on wrong backward passes.

What a checker does in its own way (its step, its random numbers, its tolerance) is observed as a word, so that any
two checkers with the same virtue or fault look the same.
"""

from functools import partial
from types import SimpleNamespace

import numpy as np

from mabn_ref.learn.checking import (
    Check,
    Malformed,
    blind,
    bn_dx,
    close,
    gradient,
    judge_that,
    normalised,
    twice,
    verdict,
)

CASES = 3
OFFSET = 100.0
"""Added to the functions, in sizes of their gradient: with it, one-sided differences lose digits at any step."""


def draw(rng, k):
    x = rng.standard_normal((5, 4))
    w = rng.standard_normal((4, 3))
    curved = (lambda x: _y(3 * x), lambda x: np.exp(2 * x), lambda x: (x @ w) ** 3)[k % 3]
    dz = rng.standard_normal(curved(x).shape)
    right = gradient(curved, x, dz)
    offset = OFFSET * np.max(np.abs(right))
    found = right + 1e-3 * rng.standard_normal(x.shape)
    found[int(rng.integers(5)), k % 4] -= rng.uniform(0.1, 1)
    case = SimpleNamespace(x=x, dz=dz, right=right, found=found, layers=_layers(w, k), axes={"N": 5, "C": 4})
    case.f = lambda x: curved(x) + offset
    case.order = int(rng.integers(2**31))
    return case


EPS = 0.5


def _y(x):
    return normalised(x, EPS)[0]


_dx = partial(bn_dx, eps=EPS)
_without_g, _without_psi = partial(_dx, g=0), partial(_dx, psi=0)


def _one_wrong(x, dz):
    dx = _dx(x, dz)
    dx.flat[np.argmax(dx)] *= -1  # the largest, which no tolerance hides; it is too small now
    return dx


def _with_nan(x, dz):
    dx = _dx(x, dz)
    dx[0, 0] = np.nan
    return dx


def _times(factor, function):
    return lambda *args: factor * function(*args)


def _layers(w, k):
    """The layers of a case by what is said of them: whether backward is right, forward, backward.

    The first is batch normalisation, right or with its numbers scaled.
    """
    return (
        {
            "batch normalisation": (True, _y, _dx),
            "batch normalisation without g": (False, _y, _without_g),
            "one that holds a nan": (False, _y, _with_nan),
            "tiny gradients, each twice as large as it should be": (False, _times(1e-9, _y), _times(2e-9, _dx)),
        },
        {
            "a layer with huge gradients": (True, _times(1e9, _y), _times(1e9, _dx)),
            "batch normalisation without Psi": (False, _y, _without_psi),
            "one with one wrong element": (False, _y, _one_wrong),
            "z = tanh(x @ w)": (True, lambda x: np.tanh(x @ w), lambda x, dz: dz / np.cosh(x @ w) ** 2 @ w.T),
        },
        {
            "a layer with tiny gradients": (True, _times(1e-9, _y), _times(1e-9, _dx)),
            "one that is off by two thousandths": (False, _y, _times(1.002, _dx)),
            "one that is off by a fifth": (False, _y, _times(1.2, _dx)),
            "one with the sign turned round": (False, _y, _times(-1, _dx)),
            "one that returns zeros": (False, _y, _times(0, _dx)),
        },
    )[k % 3]


def observe_gradient(code, case):
    asked = []

    def f(x):
        asked.append(np.array(_like("x", x, case.x)))
        return case.f(asked[-1])

    found = code.numerical_gradient(f, case.x, case.dz)
    if np.shape(found) != case.x.shape:
        return {"gradient": found, "digits": "no derivative"}
    rough = close(found, case.right, 1e-3)
    return {"gradient": case.right if rough else found, "digits": _digits(found, asked, case, rough)}


def _like(name, value, expected):
    """What the student's code hands over as `name`, an array of the shape of another."""
    if np.shape(value) != expected.shape:
        raise Malformed(f"{name} has shape {np.shape(value)}, expected {expected.shape}")
    return np.asarray(value)


def _digits(found, asked, case, rough):
    """How the digits after the third are: "enough", or why they are not there."""
    steps = [x - case.x for x in asked if not np.iscomplexobj(x)]
    if not rough:
        return "step too small" if len(steps) and np.max(np.abs(steps)) < 1e-10 else "none"
    steps = np.unique(steps, axis=0) if steps else steps  # whoever asks twice at a place
    if len(steps) and np.max(np.abs(np.sum(steps, axis=0))) > 1e-3 * np.max(np.abs(steps)):
        return "one-sided"
    if close(found, case.right, 1e-7):
        return "enough"
    return "step too small" if len(steps) and np.max(np.abs(steps)) < 2e-6 else "step too large"


def observe_check(code, case):
    first = next(iter(case.layers))
    asked = []

    def ask(said):
        (right, layer, dx), weights = case.layers[said], []

        def forward(x):
            return layer(_like("x", x, case.x))

        def backward(x, dz):
            weights.append(_like("dz", dz, forward(x)))
            return dx(np.asarray(x), weights[-1])

        answer = verdict("check", code.check(forward, backward, case.x))
        if said == first:
            asked.extend(weights)
        return right if weights and _by_chance(dx, case.x, weights[-1]) else answer

    verdicts = twice(case.layers, case.order, ask)
    kind = (blind(asked[0], _y(case.x)) or "random") if asked else "none"
    if kind != "random":  # then a verdict is chance
        return {"weights": kind, "accepts the right": "unseen", "rejects the wrong": "unseen"}
    wrong = {said: right for said, (right, *_) in case.layers.items() if set(verdicts[said]) != {right}}
    found = {one for both in verdicts.values() for one in both}
    alike = Malformed(f"it says {found.pop()} for right and for wrong backward passes") if len(found) == 1 else ""
    return {
        "weights": kind,
        "accepts the right": "; ".join(said for said, right in wrong.items() if right) or alike,
        "rejects the wrong": "; ".join(said for said, right in wrong.items() if not right) or alike,
    }


def _by_chance(dx, x, dz):
    """Whether these weights happen to have so little g or Psi that it is chance what is said without it."""
    if dx not in (_without_g, _without_psi):
        return False
    right = _dx(x, dz)
    return 1e-3 < np.max(np.abs(dx(x, dz) - right)) / np.max(np.abs(right)) < 0.3


judge_gradient = judge_that(
    lambda found, case: close(found, case.right, 1e-3),
    "the gradient is not that of the sum of dz * f(x), not even to three digits",
)
judge_error = judge_that(
    lambda error, case: close(error * np.max(np.abs(case.right)), np.max(np.abs(case.found - case.right))),
    "the error times the largest right absolute value is not the largest absolute difference",
)


def judge_digits(digits, case):
    if digits != "enough":
        yield {
            "one-sided": "f is not called on both sides of x: a one-sided difference is off by a term in h",
            "step too small": "the gradient loses digits to rounding: the step is too small",
            "step too large": "the gradient has too few digits for a step of 1e-5",
        }.get(digits, "the gradient is not right to three digits yet, so further digits are not counted")


def judge_weights(kind, case):
    if kind != "random":
        yield {
            "constant": "backward is called with the same dz for all values of a channel, which shows nothing",
            "along y": "backward is called with a dz that follows z, which shows next to nothing",
        }.get(kind, "check never calls backward")


def _judge_verdicts(misjudges):
    def judge(said, case):
        if said == "unseen":
            yield "with such weights the verdict is a matter of chance"
        elif said:
            yield f"it {misjudges}: {said}"

    return judge


CHECKS = (
    Check(observe_gradient, {"gradient": judge_gradient, "digits": judge_digits}),
    Check.of("relative_error(found, right)", {"error": judge_error}),
    Check(
        observe_check,
        {
            "weights": judge_weights,
            "accepts the right": _judge_verdicts("rejects right backward passes, for which four digits are enough"),
            "rejects the wrong": _judge_verdicts("accepts wrong backward passes"),
        },
    ),
)

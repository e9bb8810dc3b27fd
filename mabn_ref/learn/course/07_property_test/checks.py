"""Checks of property tests: they are run on right and on wrong backward passes.

Each verdict of the student's code that is not as it should be is observed by the name of the pass that it is on, so
that two tests with the same virtue or fault look the same.
"""

from collections import Counter

import numpy as np

from mabn_ref.learn.checking import Check, Malformed, batch, blind, bn_dx, normalised, shuffled, twice, verdict

CASES = 3
DRAWS = 12
"""On so many inputs of a test that says True, at most, its three functions are asked: it may draw hundreds."""
NOTHING_TO_JOIN = "on what test draws, your three functions together say the same about right and about wrong passes"
SIZES = ((1.0, "usual"), (1e12, "huge"), (1e-12, "tiny"))


def draw(rng, k):
    case = batch(rng, k)
    scale, case.numbers = SIZES[k % 3]
    case.dz = scale * case.dz
    case.order = int(rng.integers(2**31))
    return case


def _axes(x):
    return tuple(range(x.ndim - 1))


def _y(x):
    return normalised(x, 0.0)[0]


def _size(dz):
    return np.max(np.abs(dz))


def _by_turns(x, dz):
    """A number for each channel, all together zero."""
    return _size(dz) * (np.arange(x.shape[-1]) - (x.shape[-1] - 1) / 2)


def _cancelling(x, dz):
    """Numbers that cancel without rounding; not their signs alone do."""
    turns = np.resize([1.0, 2.0, -3.0], len(x)).reshape(-1, *[1] * (x.ndim - 1))
    return 2.0 ** np.round(np.log2(_size(dz))) * (np.zeros(x.shape) + turns)


def _uncentred(x, dz):
    """The gradient of a normaliser that does not subtract the mean."""
    square = np.mean(x**2, axis=_axes(x))
    return (dz - x * np.mean(x * dz, axis=_axes(x)) / square) / np.sqrt(square)


def _with_nan(x, dz):
    dx = np.array(bn_dx(x, dz))
    dx.flat[0] = np.nan
    return dx


def _one_channel_right(wrong):
    def backward(x, dz):
        dx = np.array(wrong(x, dz))
        dx[..., 0] = bn_dx(x, dz)[..., 0]
        return dx

    return backward


OFF = 3e-3
"""Part of the numbers by which a pass may be off without more than its digits showing it."""


def _with_shift(x, dz):
    """Off by a shift: the sum over a channel is some thousandths of the sum of sizes."""
    dx = bn_dx(x, dz)
    return dx + OFF * np.mean(np.abs(dx), axis=_axes(x))


def _with_stretch(x, dz):
    dx, y = bn_dx(x, dz), _y(x)
    return dx + OFF * np.mean(np.abs(dx * y), axis=_axes(x)) * y


def _with_power(x, dz):
    """Off by a power of sigma: twice x makes it smaller by half and some thousandths."""
    return bn_dx(x, dz, sigma=np.std(x, axis=_axes(x)) ** (1 + 2 * OFF))


NEARLY = "one that is off by a few thousandths"
NAN = ("one that holds a nan", _with_nan)
NO_G = ("batch normalisation without g", lambda x, dz: bn_dx(x, dz, g=0))
NO_PSI = ("batch normalisation without Psi", lambda x, dz: bn_dx(x, dz, psi=0))
NO_ROOT = ("one that divides by the variance", lambda x, dz: bn_dx(x, dz, sigma=np.var(x, axis=_axes(x))))
RIGHT = ("batch normalisation", bn_dx)

HOLDS = {
    "no_shift": (RIGHT, NO_PSI, ("one whose sums are exactly zero", _cancelling)),
    "no_stretch": (RIGHT, NO_G),
    "scales": (RIGHT, NO_G),
}


def _fails(first, *others):
    """Passes that lack a property: `first`, the same but for one channel, one with a nan, and others."""
    return (first, NAN, *others, ("one that is right in one channel alone", _one_channel_right(first[1])))


FAILS = {
    "no_shift": _fails(
        NO_G,
        ("one whose channels make up for one another", lambda x, dz: bn_dx(x, dz) + _by_turns(x, dz)),
        ("one that takes off too much", lambda x, dz: bn_dx(x, dz, g=2 * _size(dz))),
        (NEARLY, _with_shift),
    ),
    "no_stretch": _fails(
        NO_PSI,
        ("a normaliser that does not centre", _uncentred),
        (
            "one whose channels make up for one another",
            lambda x, dz: bn_dx(x, dz) + _by_turns(x, dz) * _y(x) / np.std(x, axis=_axes(x)),
        ),
        ("one that takes off too much", lambda x, dz: bn_dx(x, dz, psi=2 * _size(dz))),
        (NEARLY, _with_stretch),
    ),
    "scales": _fails(
        NO_ROOT,
        ("one that does not divide by sigma", lambda x, dz: bn_dx(x, dz, sigma=1.0)),
        ("one that multiplies by sigma", lambda x, dz: bn_dx(x, dz, sigma=1 / np.std(x, axis=_axes(x)))),
        (NEARLY, _with_power),
    ),
}


def _alike(backward):
    """A pass that refuses an x and a dz which together make far more numbers than each has."""

    def checked(x, dz):
        x, dz = np.asarray(x), np.asarray(dz)
        if np.broadcast(x, dz).size > max(x.size, dz.size):
            raise Malformed(f"x has shape {x.shape} and dz has shape {dz.shape}, expected the same")
        return backward(x, dz)

    checked.__name__ = "backward"
    return checked


def _check(name):
    """The check of one of the three functions, on the passes that have its property and on those that lack it."""

    def observe(code, case):
        passes = dict(HOLDS[name]) | dict(FAILS[name])
        answers = twice(
            passes, case.order, lambda said: verdict(name, getattr(code, name)(_alike(passes[said]), case.x, case.dz))
        )
        alarms = [said for said, _ in HOLDS[name] if not all(answers[said])]
        missed = [said for said, _ in FAILS[name] if any(answers[said])]
        right, wrong, alike = RIGHT[0], FAILS[name][0][0], ""
        # with numbers of other sizes a fixed tolerance does so, too, which costs the one point that it should
        if case.numbers == "usual" and answers[right] == answers[wrong]:
            alike = Malformed(f"it says the same about {right} and about {wrong}")
        return {f"{name} holds": "; ".join(alarms) or alike, f"{name} fails": "; ".join(missed) or alike}

    return Check(observe, {f"{name} holds": _judge_holds, f"{name} fails": _judge_fails})


def _judge_holds(said, case):
    if said:
        yield f"with {case.numbers} numbers it says False where the property holds: {said}"


def _judge_fails(said, case):
    if said:
        ask = ". Compare with sizes, not with a fixed number" if case.numbers == "tiny" else ""
        yield f"with {case.numbers} numbers it says True where the property fails: {said}{ask}"


def observe_test(code, case):
    kinds, wrong, together = [], [], set()
    for name, backward in shuffled((RIGHT, NO_G, NO_PSI, NO_ROOT), case.order):
        asked = {}

        @_alike
        def noted(x, dz, backward=backward, asked=asked):
            asked[x.tobytes() + dz.tobytes()] = np.array(x), np.array(dz)
            return backward(x, dz)

        said = verdict("test", code.test(noted))
        if not asked:
            return {"what is drawn": "nothing", "what is said": "nothing"}
        draws = list(asked.values())
        kinds.append(next(("good" for x, dz in draws if _kind(x, dz) == "good"), _kind(*draws[0])))
        # by the student's own three, so that a fault in one of them is not counted again; any draw can make it False
        looked_at = _of_all_shapes(draws) if said else draws
        own = all(verdict(which, getattr(code, which)(backward, x, dz)) for x, dz in looked_at for which in HOLDS)
        together.add(own)
        if said != own:
            wrong.append(name)
    said = "; ".join(wrong) if len(together) == 2 else Malformed(NOTHING_TO_JOIN)
    return {"what is drawn": "good" if "good" in kinds else kinds[0], "what is said": said}


def _of_all_shapes(draws):
    """Some of what is drawn: the first of each shape, then the second, up to DRAWS."""
    seen, turns = Counter(), []
    for x, _ in draws:
        turns.append(seen[x.shape])
        seen[x.shape] += 1
    return [draws[k] for k in np.argsort(turns, kind="stable")[:DRAWS]]


def _kind(x, dz):
    """Whether what is drawn can show what is wrong, or why not."""
    if x.shape != dz.shape or x.ndim < 2:
        raise Malformed(f"test draws x of shape {x.shape} and dz of shape {dz.shape}, expected (N, ..., C) for both")
    if x[..., 0].size < 3:
        return "two values"
    if fault := blind(dz, _y(x)):
        return fault
    if x.shape[-1] == 1:
        return "one channel"
    return "good" if x.ndim > 2 else "no positions"


def judge_drawn(kind, case):
    if kind != "good":
        yield {
            "nothing": "test never asks backward",
            "two values": "a channel has two values at most: then the gradient is zero, and all properties hold",
            "constant": "dz is the same for all values of a channel: then the gradient is zero, whatever g does",
            "along y": "dz follows x: then the gradient is zero, whatever Psi does",
            "one channel": "x has one channel: what goes wrong between channels cannot be seen",
            "no positions": "x has rank 2: what goes wrong with the positions of an image cannot be seen",
        }[kind]


def judge_said(said, case):
    if said == "nothing":
        yield "test never asks backward"
    elif said:
        yield f"test does not return what your three functions say together: {said}"


CHECKS = (
    *map(_check, HOLDS),
    Check(observe_test, {"what is drawn": judge_drawn, "what is said": judge_said}),
)

"""Checks of the fixed test: it is run on right passes and on wrong ones."""

import numpy as np

from mabn_ref.learn.checking import Check, Malformed, batch, bn_dx, judge_that, normalised, twice, verdict

CASES = 4
VISIBLE = 1e-4
"""Part of dz that shows what is wrong: far from rounding, and small since a mean hides nothing, however large."""
SECONDS = 20  # a test that takes element by element calls forward some thousand times
WRONG = {
    "no_g": "without g",
    "no_psi": "without Psi",
    "scaled": "that is too large by a tenth",
    "zero": "that returns zeros",
    "no_eps": "that forgets eps",
}


def draw(rng, k):
    case = batch(rng, k, samples=4)
    case.eps = (1e-9, 0.1, 1.0)[k % 3]  # with a very small one the sum of squares shows that it is blind
    case.seed = int(rng.integers(1000))
    case.order = int(rng.integers(2**31))
    return case


def observe(code, case):
    asked = []
    verdicts = twice(("right", *WRONG), case.order, lambda kind: _tested(code, case, kind, asked))
    right = verdicts.pop("right")
    passed = {kind: next((said for said in both if said), both[0]) for kind, both in verdicts.items()}
    failed = next((said for said in right if not said), None)
    if failed is not None:  # then that it fails a wrong one means nothing
        passed = dict.fromkeys(passed, Malformed("your test fails a backward that is right, too"))
    elif all(passed.values()):
        failed = Malformed("your test passes every backward, right or wrong")
    return {"right": right[0] if failed is None else failed, **passed, "dz": _blind(asked, case)}


def _tested(code, case, kind, asked):
    eps = 0.3 if kind == "no_eps" else case.eps

    def forward(x):
        if np.ndim(x) < 2 or np.shape(x)[-1] != case.x.shape[-1]:
            raise Malformed(f"x has shape {np.shape(x)}, expected {case.x.shape}")
        return case.gamma * normalised(np.asarray(x), eps)[0] + case.beta

    def backward(x, dz):
        dz = np.broadcast_to(np.asarray(dz, dtype=float), np.shape(x))
        asked.append((np.asarray(x), dz))
        return _backward(x, dz, case.gamma, 0.0 if kind == "no_eps" else eps, kind)

    return verdict("gradient_test", code.gradient_test(forward, backward, case.x.copy(), case.seed))


def _backward(x, dz, gamma, eps, kind):
    """That of batch normalisation, or a wrong one."""
    left_out = {"no_g": {"g": 0.0}, "no_psi": {"psi": 0.0}}.get(kind, {})
    return {"scaled": 1.1, "zero": 0.0}.get(kind, 1.0) * bn_dx(x, dz * gamma, eps, **left_out)


def _blind(asked, case):
    """Nothing if some dz is more than one number a channel plus a multiple of y; else a number that tells which."""
    if not asked:
        raise Malformed("gradient_test never calls backward")
    for x, dz in asked:
        y, left = (values.reshape(-1, x.shape[-1]) for values in (normalised(x, case.eps)[0], dz))
        left = left - np.mean(left, axis=0)
        left = left - y * np.sum(y * left, axis=0) / np.sum(y * y, axis=0)
        if np.linalg.norm(left) > VISIBLE * np.linalg.norm(dz):
            return ""
    first = asked[0][1].ravel()
    return f"{np.sum(first * np.cos(np.arange(first.size))):.6e}"


PARTS = {"right": judge_that(lambda verdict, case: verdict, "your test fails a backward that is right")}
for kind, what in WRONG.items():
    PARTS[kind] = judge_that(lambda verdict, case: not verdict, f"your test passes a backward {what}")
PARTS["dz"] = judge_that(
    lambda blind, case: not blind,
    "your dz is, in every channel, a number plus a multiple of y: there dx is next to zero and shows hardly anything",
)
CHECKS = (Check(observe, PARTS),)

"""Checks of `line` and `fold`."""

from types import SimpleNamespace

import numpy as np

from mabn_ref.learn.checking import Check, close, formed, judge_that, part, unpack
from mabn_ref.nn import centralize, conv2d

CHANNELS = 4


def draw(rng, k):
    q = rng.uniform(0.2, 4.0, CHANNELS)
    return SimpleNamespace(
        w=0.3 + rng.standard_normal((2, 3, CHANNELS, CHANNELS)),  # as many in as out, so that a mix-up is told
        gamma=rng.choice([-1.0, 1.0], CHANNELS) * rng.uniform(0.5, 2.0, CHANNELS),
        beta=rng.standard_normal(CHANNELS),
        m=np.zeros(CHANNELS) if k % 2 else rng.uniform(-3, 3, CHANNELS),  # MABN's, batch normalisation's
        q=q,
        eps=(1e-5, 0.1, 1.0)[k % 3],
        s=rng.uniform(0.5, 2.0, CHANNELS),
        t=rng.standard_normal(CHANNELS),
        images=rng.standard_normal((2, 4, 5, CHANNELS)),
    )


def observe_line(code, case):
    s, t = unpack("line", code.line(case.gamma, case.beta, case.m, case.q, case.eps), "s", "t")
    # z where x = m: a wrong s costs one point, not two
    return {"s": s, "t": part(lambda: formed("s", s, case.m) * case.m + formed("t", t, case.m))}


judge_s = judge_that(
    lambda s, case: close(s * np.sqrt(case.q + case.eps), case.gamma),
    "s is not the slope: where x grows by sqrt(q + eps), z should grow by gamma; eps is {case.eps:g}",
)
judge_b = judge_that(lambda b, case: close(b, case.t), "b is not the bias: an image of zeros should come out as t")


def judge_t(z, case):
    if not close(z, case.beta):
        m = "not 0" if case.m.any() else "0"
        yield f"t is not the shift: where x = m, z should be beta; m is {m} here"


def judge_k(k, case):
    if np.max(np.abs(np.sum(k, axis=(0, 1, 2)))) > 1e-9:
        yield "k is not centred: a constant image still gets through, which it did not in training"
    right = case.s * _convolved(case.images, centralize.forward(case.w)[0])
    if not close(_convolved(case.images, k), right):
        yield "k is not the folded kernel: images do not come out as from the convolution, times s"


def _convolved(images, w):
    return conv2d.forward(images, w, padding=1)[0]


CHECKS = (
    Check(observe_line, {"s": judge_s, "t": judge_t}),
    Check.of(
        "fold(w, s, t)",
        {"k": judge_k, "b": judge_b},
        counts_with={"b": ("k",)},  # alone it is what fold was given
    ),
)

"""Checks of `forward`, `backward` and `output_means`."""

from types import SimpleNamespace

import numpy as np

from mabn_ref.learn.checking import Check, close, gradient, gradient_judge, judge_that
from mabn_ref.learn.explainers import means
from mabn_ref.learn.regression import Term, explain_sum

KERNELS = ((2, 3), (1, 3), (3, 2), (1, 1))


def draw(rng, k):
    shape = (*KERNELS[k % len(KERNELS)], 5, 4)
    w = rng.standard_normal(shape) + rng.uniform(-2, 2, 4)
    case = SimpleNamespace(w=w, dw_c=rng.standard_normal(shape) + rng.uniform(-2, 2, 4), mu=rng.uniform(0.5, 2.0, 5))
    case.axes = dict(zip(("kh", "kw", "in", "out"), shape, strict=True))
    case.dw = gradient(_centred, w, case.dw_c)
    case.w_c = _centred(rng.standard_normal(shape))
    return case


def _centred(w):
    filters = w.reshape(-1, w.shape[-1])
    return (filters - np.sum(filters, axis=0) / len(filters)).reshape(w.shape)


def judge_w_c(w_c, case):
    filters = (case.w - w_c).reshape(-1, w_c.shape[-1])
    if not close(filters, filters[0]):
        yield "what is subtracted, w - w_c, is not the same number all over a filter"
    if not close(np.sum(w_c, axis=(0, 1, 2)) + np.sum(abs(case.w)), np.sum(abs(case.w)), 1e-13):
        yield "the weights of a filter, w_c[:, :, :, o], do not sum to zero"


judge_means = judge_that(
    lambda means, case: close(means, np.sum(case.w_c, axis=(0, 1)).T @ case.mu),
    "means is not what the filters make of an image whose channels have the constant values mu",
)


EXPLAIN_DW = explain_sum(
    "dw",
    [Term("dw_c", 1, lambda case: {"": case.dw_c}), Term("mean of dw_c", -1, lambda case: _means(case.dw_c))],
)


def _means(dw_c):
    """The mean over each output filter, and what is taken for it."""
    filters = dw_c.reshape(-1, dw_c.shape[-1])
    return {
        "": means(filters)[""],
        "{names} {is} a sum over the filter; divide by the number of its weights": np.sum(filters, axis=0),
        "{names} {is} taken over all filters together; each output filter has its own": np.full_like(
            filters[0], np.mean(filters)
        ),
        "{names} {is} taken over the kernel positions alone; a filter has input channels, too": np.mean(
            dw_c, axis=(0, 1)
        ),
    }


CHECKS = (
    Check.of("forward(w)", {"w_c": judge_w_c}),
    Check.of("backward(dw_c)", {"dw": gradient_judge("dw")}, explain={"dw": EXPLAIN_DW}),
    Check.of("output_means(w_c, mu)", {"means": judge_means}),
)

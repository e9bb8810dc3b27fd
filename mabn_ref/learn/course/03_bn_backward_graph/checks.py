"""Checks of the steps and of the whole chain."""

from collections import namedtuple

import numpy as np

from mabn_ref.learn.checking import Check, batch, close, gradient, mean_square, moments, normalised, unpack
from mabn_ref.learn.explainers import counts, explain_multiple, factors, means, shares
from mabn_ref.learn.regression import Term, explain_sum

CASES = 4

Cache = namedtuple("Cache", ["centred", "sigma", "y", "gamma"])


def draw(rng, k):
    case = batch(rng, k)
    case.centred = _centred(case.x)
    case.y, case.sigma = normalised(case.x, case.eps)
    case.cache = Cache(case.centred, case.sigma, case.y, case.gamma)
    case.dy = rng.standard_normal(case.x.shape)  # what arrives at a step is no result of another here
    case.dcentred = rng.standard_normal(case.x.shape)
    case.dsigma, case.dvar = rng.standard_normal((2, len(case.gamma)))
    case.right = _derivatives(case)
    return case


def _centred(x):
    return x - moments(x)[0]


def _derivatives(case):
    var = case.sigma**2 - case.eps
    return {
        "dy": gradient(lambda y: case.gamma * y + case.beta, case.y, case.dz),
        "dgamma": gradient(lambda gamma: gamma * case.y + case.beta, case.gamma, case.dz),
        "dbeta": gradient(lambda beta: case.gamma * case.y + beta, case.beta, case.dz),
        "direct": gradient(lambda centred: centred / case.sigma, case.centred, case.dy),
        "dsigma": gradient(lambda sigma: case.centred / sigma, case.sigma, case.dy),
        "dvar": gradient(lambda v: np.sqrt(v + case.eps), var, case.dsigma),
        "through_var": gradient(mean_square, case.centred, case.dvar),
        "through_centring": gradient(_centred, case.x, case.dcentred),
        "dx": gradient(lambda x: case.gamma * normalised(x, case.eps)[0] + case.beta, case.x, case.dz),
    }


def observe_division(code, case):
    found = code.division_backward(case.dy, case.centred, case.sigma)
    direct, dsigma = unpack("division_backward", found, "dcentred", "dsigma")
    return {"direct": direct, "dsigma": dsigma}


def _judge(part, said):
    return lambda value, case: [] if close(value, case.right[part]) else [said]


def _powers(case):
    return {
        "{names} {is} not divided by sigma": case.sigma,
        "{names} {is} divided by sigma once too often": 1 / case.sigma,
        "{names} {is} divided by sigma^2 once too often: dsigma is for sigma, not for 1 / sigma": case.sigma**-2,
        "{names} {is} not divided by sigma squared": case.sigma**2,
    }


def _counts(case):
    return {way: values for way, values in factors(np.ones(case.x.shape)).items() if way}


def _shares(case):
    return shares(counts(case.x))


def _multiple(part, *others, name=""):
    return {part: explain_multiple(name or part, lambda case: case.right[part], *others)}


EXPLAIN_CENTRING = explain_sum(
    "dx of centring_backward",
    [
        Term("dcentred", 1, lambda case: factors(case.dcentred)),
        Term("mean of dcentred", -1, lambda case: means(case.dcentred)),
    ],
)
CHECKS = (
    Check.of(
        "affine_backward(dz, y, gamma)",
        {
            "dy": _judge("dy", "dy is not the derivative of z = gamma * y + beta for y"),
            "dgamma": _judge("dgamma", "dgamma is not the derivative of z = gamma * y + beta for gamma"),
            "dbeta": _judge("dbeta", "dbeta is not the derivative of z = gamma * y + beta for beta"),
        },
        explain=_multiple("dy") | _multiple("dgamma", _shares) | _multiple("dbeta", _shares),
    ),
    Check(
        observe_division,
        {
            "direct": _judge("direct", "dcentred is not the derivative of y = centred / sigma for centred"),
            "dsigma": _judge("dsigma", "dsigma is not the derivative of y = centred / sigma for sigma"),
        },
        _multiple("direct", _powers, name="dcentred of division_backward") | _multiple("dsigma", _powers, _shares),
    ),
    Check.of(
        "root_backward(dsigma, sigma)",
        {"dvar": _judge("dvar", "dvar is not the derivative of sigma = sqrt(var + eps)")},
        explain=_multiple("dvar", _powers),
    ),
    Check.of(
        "squares_backward(dvar, centred)",
        {"through_var": _judge("through_var", "dcentred is not the derivative of var = mean of centred^2")},
        explain=_multiple("through_var", _counts, name="dcentred of squares_backward"),
    ),
    Check.of(
        "centring_backward(dcentred)",
        {"through_centring": _judge("through_centring", "dx is not the derivative of centred = x - mean of x")},
        explain={"through_centring": EXPLAIN_CENTRING},
    ),
    Check.of(
        "backward(dz, cache)",
        {"dx": _judge("dx", "dx is not the derivative of the whole forward pass for x")},
        joins=True,
    ),
)

"""What students write instead of the terms of a normaliser's gradient, and explainers made from it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.learn.regression import AND, Explainer, Term, Ways, explain_sum


def means(values: Array) -> dict[str, Array]:
    """The mean of each channel, and what students write instead.

    Examples
    --------
    >>> ways = means(np.arange(12.0).reshape(2, 3, 2))
    >>> ways[""]
    array([5., 6.])
    >>> [text for text, wrong in ways.items() if np.array_equal(wrong, [30, 36])]
    ['{names} {is} {M} times too large for a batch of shape {shape}: divide the sum by M']
    """
    axes = tuple(range(values.ndim - 1))
    total, m = np.sum(values, axis=axes), values[..., 0].size
    large = "{names} {is} {times} times too large for a batch of shape {shape}"
    by_samples = f"{large}: divide by M = {{M}}, the number of values in a channel, not by N = {{N}}, the samples"
    channels = "{names} {is} averaged over the channels too, as np.mean does without axis; each channel needs its own"
    return {
        "": total / m,
        "{names} {is} {M} times too large for a batch of shape {shape}: divide the sum by M": total,
        by_samples: total / len(values),
        "{names} {is} divided by M - 1; divide by M": total / (m - 1),
        channels: np.full_like(total, np.mean(values)),
        "{names} {is} averaged only over the samples; average over all axes but the last": np.mean(values, axis=0),
    }


def factors(values: Array) -> dict[str, Array]:
    """The right array, and its multiples that come from a wrong count of values."""
    n, m = len(values), values[..., 0].size
    times = "{names} {is} {times} times too %s for a batch of shape {shape}: you %s by N = {N}, the number of samples"
    values_in = "M = {M} is the number of values in a channel"
    return {
        "": values,
        "{names} {is} {M} times too large for a batch of shape {shape}: a factor 1 / M is missing": values * m,
        "{names} {is} {M} times too small for a batch of shape {shape}: there is a factor 1 / M too many": values / m,
        f"{times % ('large', 'divide')}; {values_in}": values * m / n,
        f"{times % ('small', 'multiply')}; {values_in}": values * n / m,
    }


def sources(inputs: Ways, ways: Callable[[Array], Ways]) -> dict[str, Array]:
    """What a statistic may be: computed in any of the `ways`, from any of the `inputs` used for the right one.

    Examples
    --------
    >>> list(sources({"": np.ones(2), "halved": np.ones(2) / 2}, lambda a: {"": a, "negative": -a}))
    ['', 'negative', 'halved', 'halved | negative']
    """
    return {
        AND.join(filter(None, (source, way))): values
        for source, taken in inputs.items()
        for way, values in ways(taken).items()
    }


def explain_dx(
    inputs: Callable[[Any], Ways],
    *,
    root: str = "sigma",
    g: float = -1,
    averages: Callable[[Array, Any], Ways] = lambda psi, case: {"": psi},
    other_y: Callable[[Any], Ways] = lambda case: {},
) -> Explainer:
    """Make the explainer of the dx of a normaliser, ``(dy - g - y * Psi) / sigma``.

    ``inputs(case)`` has dy and what students write instead; ``case.cache`` has y and, under the name `root`, sigma.
    `g` is 0 for a method without that term. ``averages(psi, case)`` turns the batch's Psi into what dx contains;
    ``other_y(case)`` has what students write instead of y.
    """

    def sigma(case: Any) -> Array:
        return getattr(case.cache, root)

    def kept(ways: dict[str, Array], case: Any) -> dict[str, Array]:
        return ways | {f"{{names}} {{is}} not divided by {root}": ways[""] * sigma(case)}

    def ways_of_psi(case: Any) -> Ways:
        right, dy = case.cache.y, inputs(case)[""]
        psi = means(right * dy)[""]
        along_y = sources({source: right * taken for source, taken in inputs(case).items()}, means)
        ways = {way: right * averages(p, case)[""] for way, p in along_y.items()}
        ways |= {way: right * p for way, p in averages(psi, case).items() if way}
        for way, other in other_y(case).items():
            ways[way] = other * averages(means(other * dy)[""], case)[""]
            ways[f"{way}, but only in Psi"] = right * averages(means(other * dy)[""], case)[""]
            ways[f"{way}, but only where it multiplies Psi"] = other * averages(psi, case)[""]
        ways["{names} {is} Psi alone: multiply it by y"] = averages(psi, case)[""]
        return kept(ways, case)

    terms = (
        Term("dy", 1, lambda case: kept(sources(inputs(case), factors), case)),
        Term("g", g, lambda case: kept(sources(inputs(case), means), case)),
        Term("y * Psi", -1, ways_of_psi),
    )
    return explain_sum(
        "dx",
        terms,
        lambda case: {
            "": sigma(case),
            f"{{names}} {{is}} not divided by {root}": np.ones(1),
            f"{{names}} {{is}} divided by {root} squared; divide by {root}": sigma(case) ** 2,
        },
    )


def counts(values: Array) -> dict[str, int]:
    """The numbers by which students divide a sum over the values of each channel that should stay a sum."""
    return {"N, the number of samples": len(values), "M": values[..., 0].size}


def shares(divisors: Mapping[str, int]) -> dict[str, Array]:
    """The factors that divide a sum over the values of each channel by one of these `divisors`.

    Examples
    --------
    >>> list(shares({"M": 4}).values())
    [array(0.25)]
    """
    said = "{names} {is} divided by %s; every value of a channel used the parameter, so its gradient is a sum"
    return {said % name: np.array(1 / count) for name, count in divisors.items()}


def explain_multiple(of: str, right: Callable[[Any], Array], *others: Callable[[Any], Ways]) -> Explainer:
    """Make the explainer of a part that is often a multiple of the right one: by a number, or by one of `others`."""

    def ways(case: Any) -> Ways:
        return {"": right(case)} | {way: right(case) * k for more in others for way, k in more(case).items()}

    return explain_sum(of, [Term(of, 1, ways)])


def explain_parameters(divisors: Callable[[Any], Mapping[str, int]]) -> dict[str, Explainer]:
    """Make the explainers of dgamma and dbeta, attributes of a case, which may be divided by one of the divisors."""
    return {
        name: explain_multiple(name, operator.attrgetter(name), lambda case: shares(divisors(case)))
        for name in ("dgamma", "dbeta")
    }


EXPLAIN_PARAMETERS: Mapping[str, Explainer] = explain_parameters(lambda case: counts(case.dz))


def without_gamma(case: Any) -> Ways:
    """dy of batch normalisation, and what students write instead."""
    return {"": case.gamma * case.dz, "{names} {is} computed from dz, without gamma; use dy = dz * gamma": case.dz}


def without_gamma_or_r(case: Any) -> Ways:
    """dy of a method that renormalises by ``case.r``, and what students write instead."""
    return {
        "": case.gamma * case.r * case.dz,
        "{names} {is} computed without r; dy is gamma * r * dz": case.gamma * case.dz,
        "{names} {is} computed without gamma; dy is gamma * r * dz": case.r * case.dz,
        "{names} {is} computed from dz itself; dy is gamma * r * dz": case.dz,
    }

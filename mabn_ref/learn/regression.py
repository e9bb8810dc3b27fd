"""What is wrong with a gradient that is a sum of known terms, found by least squares on these terms.

A student's dx may be wrong in a way that nobody foresaw and still consist of the right pieces: dy, g and y * Psi,
each with some factor, each over some sigma. The coefficients then tell which piece is wrong. Nothing is said unless
the fit is exact, up to rounding, on every case.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array

Explainer = Callable[[Sequence[Any], Sequence[Any]], tuple[str, ...]]
"""``explain(values, cases) -> sentences``: what is wrong with a part, from its values on all cases; () if unknown."""
_NEAR = 1e-8
"""The share of the squares that may be left for a choice to be examined: the sums nearly cancel, so it is rough."""
_EXACT = 1e-9
"""The residual, relative to the largest number, up to which a fit counts as exact."""
_RIDGE = 1e-14
"""Added to the diagonal, since two columns may be multiples of each other."""
_TRIED = 50
"""The most choices that are examined, more than ever come near."""
AND = " | "
"""The separator between the messages about two things at once."""

Ways = Mapping[str, Array]
"""The ways in which a term may have been computed: message to array on one case; the right one has the key ""."""


@dataclass(frozen=True)
class Term:
    """One term of a sum."""

    name: str  #: as the student knows it, such as "g"
    coefficient: float  #: the right one; 0 for a term that is sometimes kept by mistake
    #: ``ways(case)``. Messages may contain {names}, {is}, {M}, {N}, {times} and {shape}.
    ways: Callable[[Any], Ways]


class _Column(NamedTuple):
    """One way of a term: its numbers on all cases, one after the other."""

    term: Term
    way: str
    values: Array


_Fit = list[tuple[_Column, float]]
"""A column for each term, with its coefficient."""


def explain_sum(
    of: str, terms: Sequence[Term], divisors: Callable[[Any], Ways] = lambda case: {"": np.ones(1)}
) -> Explainer:
    """Make the explainer of a part `of` that is a sum of terms, all over a divisor, by default 1.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from mabn_ref.learn.explainers import means
    >>> case = SimpleNamespace(dy=np.array([[1.0], [2.0], [6.0]]))
    >>> dy = Term("dy", 1, lambda case: {"": case.dy})
    >>> g = Term("g", -1, lambda case: means(case.dy))
    >>> explain = explain_sum("dx", [dy, g])
    >>> explain([case.dy + 3], [case])
    ('Your g has coefficient +1 in dx; it should be -1.',)
    >>> explain([case.dy - 9], [case])
    ('Your g is 3 times too large for a batch of shape (3, 1): divide the sum by M.',)
    >>> explain([case.dy**2], [case])
    ()
    """

    def explain(values: Sequence[Any], cases: Sequence[Any]) -> tuple[str, ...]:
        shapes = [np.shape(value) for value in values]
        found = np.concatenate([np.ravel(value) for value in values])
        if not (np.issubdtype(found.dtype, np.floating) and np.all(np.isfinite(found)) and np.any(found)):
            return ()
        fits = []
        ways = [[term.ways(case) for case in cases] for term in terms]
        all_divisors = [divisors(case) for case in cases]
        for divided in all_divisors[0]:
            by = [d[divided] for d in all_divisors]
            columns = [_columns(term, w, by, shapes) for term, w in zip(terms, ways, strict=True)]
            fits += [(_faults(fit) + bool(divided), divided, fit) for fit in _fits(found, columns)]
        if not fits:
            return ()
        _, divided, fit = min(fits, key=lambda item: item[0])
        largest = max(shapes, key=lambda shape: sum(n > 1 for n in shape))
        return tuple(_said(of, fit, divided, largest))

    return explain


def _columns(
    term: Term, on_cases: Sequence[Ways], divisors: Sequence[Array], shapes: Sequence[tuple[int, ...]]
) -> list[_Column]:
    cases = list(zip(on_cases, divisors, shapes, strict=True))
    columns = []
    for way in on_cases[0]:
        pieces = [np.ravel(np.broadcast_to(ways[way] / divisor, shape)) for ways, divisor, shape in cases]
        columns.append(_Column(term, way, np.concatenate(pieces)))
    return columns


def _fits(found: Array, columns: list[list[_Column]]) -> list[_Fit]:
    """The choices of a column for each term that fit exactly; all are tried at once, by their normal equations."""
    flat = [column for group in columns for column in group]
    table = np.array([column.values for column in flat])
    table /= np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-300)
    if _combination(found, table.T) is None:
        return []  # all columns together do not fit, so no choice of them does
    gram, along, whole = table @ table.T, table @ found, found @ found
    starts = np.cumsum([0, *map(len, columns)])
    choices = np.array(list(itertools.product(*(range(a, b) for a, b in itertools.pairwise(starts)))))
    matrices = gram[choices[:, :, None], choices[:, None, :]] + _RIDGE * np.eye(len(columns))
    right = along[choices]
    solved = np.linalg.solve(matrices, right[..., None])[..., 0]
    near = np.flatnonzero(whole - np.sum(solved * right, axis=1) < _NEAR * whole)
    fits = []
    for choice in choices[near[:_TRIED]]:
        chosen = [flat[k] for k in choice]
        coefficients = _combination(found, np.array([column.values for column in chosen]).T)
        if coefficients is not None:
            fits.append([(column, round(float(c), 6) + 0.0) for column, c in zip(chosen, coefficients, strict=True)])
    return fits


def _combination(found: Array, table: Array) -> Array | None:
    """The coefficients with which the columns of a table give what was found, if there are some."""
    coefficients = np.linalg.lstsq(table, found, rcond=None)[0]
    rest = table @ coefficients - found
    return None if np.max(np.abs(rest)) > _EXACT * np.max(np.abs(found)) else coefficients


def _faults(fit: _Fit) -> float:
    """How much a fit needs to explain: the simplest explanation is the one that needs least."""
    ways = {text for column, c in fit if c != 0 for text in _texts(column)}
    wrong = sum(c != column.term.coefficient for column, c in fit)
    odd = sum(c not in (-1, 0, 1, column.term.coefficient) for column, c in fit)
    return len(ways) + wrong + 0.5 * odd + 0.1 * sum(bool(column.way) for column, _ in fit)


def _texts(column: _Column) -> list[str]:
    return column.way.split(AND) if column.way else []


def _said(of: str, fit: _Fit, divided: str, shape: tuple[int, ...]) -> Iterator[str]:
    """A sentence for each fault."""
    m, n = int(np.prod(shape[:-1])), shape[0]
    numbers = {"M": m, "N": n, "times": f"{m / n:g}", "shape": shape}

    def filled(text: str, names: list[str]) -> str:
        return f"Your {text.format(names=' and '.join(names), **{'is': 'are' if names[1:] else 'is'}, **numbers)}."

    if divided:
        yield filled(divided, [of])
    present = [column for column, c in fit if c != 0]
    for text in dict.fromkeys(text for column in present for text in _texts(column)):
        names = [column.term.name for column in present if text in _texts(column)]
        yield filled(text, [of] if len(names) == len(fit) > 1 else names)
    if all(c == -column.term.coefficient for column, c in fit):
        yield f"Your {of} has the wrong sign."
        return
    for column, c in fit:
        name, right = column.term.name, column.term.coefficient
        if c == right:
            continue
        if c == 0:
            yield f"Your {of} has no {name} in it; it belongs there with coefficient {right:+g}."
        elif right == 0:
            yield f"Your {of} has {name} in it, with coefficient {c:+g}; it does not belong there."
        elif len(fit) == 1:
            yield f"Your {of} is {c:g} times what it should be."
        else:
            yield f"Your {name} has coefficient {c:+g} in {of}; it should be {right:+g}."

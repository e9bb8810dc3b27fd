"""Gradient checks of a right pass by every method, summed up in one line per input."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.gradcheck import InputResult, check
from mabn_ref.mistakes.derivatives import HELD, exactly, passes
from mabn_ref.mistakes.one_call import as_one_call
from mabn_ref.mistakes.random_inputs import RIGHT_DRAWS

FORMAT = "  {:<9}{:>12}{:>14}{:>11}  {:<8}{}"  #: of the lines below the name of a pass and its equation
HEADER = ("input", "differences", "complex step", "50 digits", "Taylor", "verdict")
EXACT_DRAWS = 2  #: exact numbers are a thousand times slower than floats


class Line(NamedTuple):
    """The worst that was found for one input over all draws."""

    name: str
    errors: tuple[str, str, str, str]  #: as they are printed, by the four methods
    verdict: str
    failure: str | None  #: the whole result of the first draw that failed


def equation(name: str) -> str:
    """Return the equation of the backward pass of `name`, and what it is the derivative of, if not of forward.

    Examples
    --------
    >>> equation("batch_norm"), equation("online_norm")
    ('bn-backward (4)', 'online-backward, first sample')
    """
    told = re.search(r":eq:`([\w-]+-backward)`( \(\d+\))?", str(_module(name).backward.__doc__))
    label = "".join(part or "" for part in told.groups()) if told else ""
    return ", ".join(filter(None, (label, HELD.get(name))))


def _module(name: str) -> Any:
    return next(module for module in RIGHT_DRAWS if module.__name__.rpartition(".")[2] == name)


def check_all(name: str, draws: int, seed: int) -> list[Line]:
    """Check the right implementation of `name`, a normaliser or a layer, on random draws; return a line per input.

    Examples
    --------
    >>> [(line.name, line.verdict) for line in check_all("linear", 2, 0)]
    [('x', 'ok'), ('w', 'ok'), ('b', 'ok')]
    """
    module = _module(name)
    draw = RIGHT_DRAWS[module]
    results, exact = [], []
    for k in range(draws):
        inputs = draw(np.random.default_rng([seed, k]))
        if hasattr(getattr(module, "State", None), "psi_window"):
            # one normalisation batch a call, of which alone (20) can be a derivative
            one = slice(inputs.config.norm_batch)
            inputs = inputs._replace(xs=[x[one] for x in inputs.xs])
        forward, backward, arrays = passes(name, module, inputs)
        names = list(inspect.signature(as_one_call(name, module).forward).parameters)[: len(arrays)]
        results.append(check(forward, backward, arrays, names=names, seed=k))
        if k < EXACT_DRAWS:
            exact.append(check(*passes(name, module, exactly(inputs)), names=names, seed=k))
    for result in results + exact:
        if result.violations:
            return [Line("all", ("inf", "refused", "inf", ""), "impure", repr(result))]
    lines = []
    for i, found in enumerate(results[0].inputs):
        each = [result.inputs[i] for result in results]
        failed = [r for r in results + exact if r.inputs[i].verdict not in ("ok", "not differentiable here")]
        kinks = sum(r.inputs[i].verdict != "ok" for r in results + exact)
        stepped = [e.complex_error for e in each if e.complex_error is not None]
        lines.append(
            Line(
                name=found.name,
                errors=(
                    f"{max(e.error for e in each):.1e}",
                    f"{max(stepped):.1e}" if stepped else "refused",  # on every draw
                    f"{max(result.inputs[i].error for result in exact):.1e}",
                    _taylor(each),
                ),
                verdict="wrong" if failed else f"ok ({kinks} at a kink)" if kinks else "ok",
                failure=repr(failed[0]) if failed else None,
            )
        )
    return lines


def _taylor(found: Sequence[InputResult]) -> str:
    """The largest first-order part, "exact" if all are rounding."""
    large = [e.taylor.a for e in found if not str(e.taylor).startswith("exact")]
    return f"{max(map(abs, large)):.0e}" if large else "exact"

"""Errors in float32, in units in the last place, against the same convention in exact arithmetic."""

from __future__ import annotations

import contextlib
import decimal

import numpy as np

from mabn_ref.check.compare import Case
from mabn_ref.check.conventions import Convention
from mabn_ref.check.families import backward, call_of, model_of
from mabn_ref.gradcheck import exact, ulps

__all__ = ["rounding"]

STEPS = 2
"""Exact numbers are a thousand times slower than floats."""


def rounding(case: Case, convention: Convention) -> dict[str, tuple[float, float]]:
    """Measure the first steps of a case in float32.

    Returns
    -------
    dict of str to (float, float)
        The median and the largest error of z and of dx, in ulps of the true value; empty where the convention has
        bounds that were read off the outputs.
    """
    if "measured" in (convention.clip, convention.r_max):
        return {}
    with contextlib.suppress(decimal.DecimalException):  # a convention that divides by zero is not exact
        return _measured(case, convention)
    return {}


def _measured(case: Case, convention: Convention) -> dict[str, tuple[float, float]]:
    model = model_of(case.norm, convention, case.channels)
    errors: dict[str, list[float]] = {"z": [], "dx": []}
    for k, (x, dz) in enumerate(case.steps[:STEPS]):
        batch = call_of(case.norm, exact(x), case.trace.scenario.norm_batch, convention)
        truth = {"z": model.forward(batch, *map(exact, case.parameters(k)))}
        truth["dx"] = backward(model, exact(dz))[0]
        for name, value in truth.items():
            got = case.trace.values[name][k].astype(np.float32)
            errors[name] += ulps(got, value).ravel().tolist()
    return {name: (float(np.median(values)), float(np.max(values))) for name, values in errors.items()}

"""Whether a target's backward is the derivative of its own forward: the Taylor figure of its first step."""

from __future__ import annotations

from typing import Any

import numpy as np

from mabn_ref import gradcheck
from mabn_ref.arrays import Array
from mabn_ref.check.observe import config_of
from mabn_ref.check.scenarios import Scenario, inputs, parameters
from mabn_ref.check.target import Target

__all__ = ["derivative"]


def derivative(target: Target, norm: str, scenario: Scenario, space: tuple[int, ...]) -> str:
    """Check dx of the first step against numerical derivatives; return a sentence.

    Every evaluation is a new layer's first step, so that no moving statistic gets in the way. Batch Renormalization
    and MABN are not meant to be the derivative of forward, though MABN is at its first step, but for r.
    """
    config = config_of(norm, scenario)
    gamma, beta = parameters(0, scenario.channels)
    x, _ = next(inputs(scenario, space))

    def forward(x: Array) -> tuple[Array, Any]:
        layer = target.make(scenario.channels, config)
        if np.iscomplexobj(x):
            raise TypeError("a target takes real numbers")
        return target.forward(layer, np.array(x, dtype=float), gamma, beta, True), layer

    def backward(dz: Array, cache: Any) -> Array:
        return target.backward(forward(x)[1], np.array(dz))[0]

    try:
        found = gradcheck.check(lambda x: (forward(x)[0], None), backward, (x,), names=("x",)).inputs[0]
    except Exception as error:
        return f"its derivative cannot be taken: {type(error).__name__}: {error}"
    not_ = "" if found.verdict == "ok" else "not "
    return (
        f"at its first step backward is {not_}the derivative of forward: Taylor {found.taylor}, "
        f"largest error {found.error:.1e}"
    )

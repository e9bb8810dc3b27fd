"""Two targets side by side."""

from __future__ import annotations

from typing import Any

import numpy as np

from mabn_ref.check.observe import Trace, observe
from mabn_ref.check.scenarios import Scenario

SCENARIO = Scenario(name="", norm_batch=4, steps=4, settings={"decay": 0.75, "eps": 0.1})


def agree(theirs: Any, ours: Any, norm: str, scenario: Scenario, space: tuple[int, ...], rtol: float) -> Trace:
    """Run both; everything that is returned agrees, relative to a channel's largest value. Return theirs."""
    found, expected = (observe(target, norm, scenario, space) for target in (theirs, ours))
    assert found.failure == ""
    assert found.values.keys() == expected.values.keys()
    for name, values in expected.values.items():
        largest = np.max([np.max(np.abs(b), axis=tuple(range(b.ndim - 1))) for b in values], axis=0)
        for a, b in zip(found.values[name], values, strict=True):
            assert np.max(np.abs(a - b) / largest) < rtol, name
    return found

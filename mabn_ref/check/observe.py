"""Run a target over a scenario, survive what it does, and keep what it returned."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.check.scenarios import MODULES, Scenario, inputs, parameters
from mabn_ref.check.target import Target

__all__ = ["Trace", "config_of", "observe", "spaces"]

SPACES: tuple[tuple[int, ...], ...] = ((2, 3), (3,), ())
"""Of ranks 4, 3 and 2."""


@dataclass
class Trace:
    """What a target returned, step by step.

    Attributes
    ----------
    scenario : Scenario
        What it was put through.
    space : tuple of int
        The axes between N and C.
    values : dict of str to list of arrays
        "z", "dx", "dgamma", "dbeta": one array a step; what the layer has not is left out. "inferred": one array.
    states : dict of str to list of arrays
        Moving statistics after each step, by the layer's names.
    failure : str
        Why it stopped early, or "".
    failed_at : int
        The last step that it came to, counted from 1.
    notes : list of str
        What it did that is allowed but unusual, such as another dtype.
    changed : list of str
        What of the state inference changed, by the layer's names.
    """

    scenario: Scenario
    space: tuple[int, ...]
    values: dict[str, list[Array]] = field(default_factory=dict)
    states: dict[str, list[Array]] = field(default_factory=dict)
    failure: str = ""
    failed_at: int = 0
    notes: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    @property
    def finished(self) -> int:
        """The number of steps of which everything is there."""
        return self.failed_at - 1 if self.failure else len(self.values.get("z", []))


class Refused(Exception):
    """What the target returned cannot be used."""


def config_of(norm: str, scenario: Scenario) -> Any:
    """Return the Config that a scenario stands for."""
    fields = MODULES[norm].Config.__dataclass_fields__
    shared = {"norm_batch": scenario.norm_batch} if "norm_batch" in fields else {}
    return MODULES[norm].Config(**shared, **scenario.settings)


def spaces(target: Target, norm: str, scenario: Scenario) -> dict[int, str]:
    """Try ranks 4, 3 and 2; return why each is refused, "" where it is not."""
    reasons = {}
    for space in SPACES:
        one = Scenario(**{**vars(scenario), "space": space, "steps": 1})
        trace = observe(target, norm, one, space)
        reasons[len(space) + 2] = trace.failure
    return reasons


def observe(target: Target, norm: str, scenario: Scenario, space: tuple[int, ...]) -> Trace:
    """Run a target: forward and backward in turn, its state after every step, then inference.

    Parameters
    ----------
    target : Target
    norm : str
        What it is to be, a key of `MODULES`.
    scenario : Scenario
    space : tuple of int
        The axes between N and C.

    Returns
    -------
    Trace
        Also where the target raises, or returns something that cannot be used: up to there.

    Examples
    --------
    >>> from mabn_ref.check.adapters.functions import FunctionsTarget
    >>> from mabn_ref.norms import batch_norm
    >>> scenario = Scenario(name="", norm_batch=4, steps=3)
    >>> trace = observe(FunctionsTarget(batch_norm), "bn", scenario, (2,))
    >>> trace.failure, len(trace.values["dx"]), trace.states["mean"][-1].shape
    ('', 3, (5,))
    """
    trace = Trace(scenario, space)
    with np.errstate(all="ignore"):
        try:
            _run(target, config_of(norm, scenario), trace)
        except Refused as refusal:
            trace.failure = str(refusal)
        except (Exception, SystemExit) as error:
            trace.failure = _said(error)
    # a statistic that comes later, or changes its shape, cannot be followed
    trace.states = {
        name: values
        for name, values in trace.states.items()
        if len(values) >= trace.finished and len({value.shape for value in values}) == 1
    }
    return trace


def _run(target: Target, config: Any, trace: Trace) -> None:
    scenario = trace.scenario
    layer = target.make(scenario.channels, config)
    for step, (x, dz) in enumerate(inputs(scenario, trace.space), 1):
        trace.failed_at = step
        gamma, beta = (array.astype(scenario.dtype) for array in parameters(step - 1, scenario.channels))
        given = x.copy()
        z = _read("z", target.forward(layer, given, gamma.copy(), beta.copy(), dz is not None), x.shape, trace)
        if not np.array_equal(given, x):
            _note(trace, "forward changes its input in place")
        if dz is None:
            trace.values["inferred"] = [z]
            trace.changed = _changed(target, layer, trace)
            return
        trace.values.setdefault("z", []).append(z)
        for name, value, shape in zip(
            ("dx", "dgamma", "dbeta"), target.backward(layer, dz.copy()), (x.shape, *[gamma.shape] * 2), strict=True
        ):
            if value is not None:
                trace.values.setdefault(name, []).append(_read(name, value, shape, trace))
        for name, value in _state(target, layer).items():
            trace.states.setdefault(name, []).append(value)
        if scenario.age and step == scenario.age_after:
            target.age(layer, scenario.age)  # type: ignore[attr-defined]


def _state(target: Target, layer: Any) -> dict[str, Array]:
    return {name: np.array(value) for name, value in target.state(layer).items()}


def _changed(target: Target, layer: Any, trace: Trace) -> list[str]:
    return [
        name
        for name, value in _state(target, layer).items()
        if name in trace.states and not np.array_equal(value, trace.states[name][-1], equal_nan=True)
    ]


def _read(name: str, value: Any, shape: tuple[int, ...], trace: Trace) -> Array:
    array = np.array(value)
    if array.shape != shape:
        raise Refused(f"{name} has shape {array.shape}, expected {shape}")
    if array.dtype.kind != "f":
        raise Refused(f"{name} has dtype {array.dtype}, expected {trace.scenario.dtype}")
    if array.dtype != trace.scenario.dtype:
        _note(trace, f"{name} is {array.dtype} where x is {trace.scenario.dtype}")
    if not np.isfinite(array).all():
        where = tuple(map(int, np.argwhere(~np.isfinite(array))[0]))
        raise Refused(f"{name} is {array[where]} at {list(where)}")
    return array


def _note(trace: Trace, text: str) -> None:
    if text not in trace.notes:
        trace.notes.append(text)


def _said(error: BaseException) -> str:
    """The error, and the line that raised it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({last.filename.rpartition('/')[2]}, line {last.lineno})"

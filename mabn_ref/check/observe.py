"""Run a target over a scenario, survive its errors, and keep what it returned."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.check.scenarios import MODULES, Scenario, constants, inputs, parameters
from mabn_ref.check.target import Target, in_short, last_own_line

SPACES: tuple[tuple[int, ...], ...] = ((2, 3), (3,), (), (2, 1, 3))
"""The axes between N and C for ranks 4, 3, 2 and 5, in order of preference."""


@dataclass
class Trace:
    """What a target returned, step by step, up to where it raised or returned something that cannot be used."""

    scenario: Scenario
    space: tuple[int, ...]  #: the axes between N and C
    #: "z", "dx", "dgamma" and "dbeta", where the layer has them, with one array per step; "inferred" with one array
    values: dict[str, list[Array]] = field(default_factory=dict)
    #: moving statistics after each step, by the layer's names
    states: dict[str, list[Array]] = field(default_factory=dict)
    failure: str = ""  #: why it stopped early, or ""
    failed_at: int = 0  #: the last step that it reached, counted from 1; 0 if that is unknown or it reached none
    notes: list[str] = field(default_factory=list)  #: what it did that is allowed but unusual, such as another dtype
    changed: list[str] = field(default_factory=list)  #: what inference changed in the state, by the layer's names
    skipped: str = ""  #: why the scenario was left out or could not be set up, or ""
    part: str = ""  #: what it did last: "forward", "backward", or "inference"
    not_finite: str = ""  #: the output that it stopped at, NaN or infinite, such as "dx is NaN"; or ""
    raised: str = ""  #: the type of the error that it stopped at, if a ``raise`` or ``assert`` made it; or ""
    frozen: bool = False  #: whether it was given constants for its mean and variance

    @property
    def finished(self) -> int:
        """The number of complete steps."""
        return max(self.failed_at - 1, 0) if self.failure else len(self.values.get("z", []))


class Refused(Exception):
    """What the target returned cannot be used."""


NO_COUNT = "it keeps no count of iterations that can be found and set"
"""Why a scenario late in training is not run."""


def config_of(norm: str, scenario: Scenario) -> Any:
    """Return the Config that a scenario stands for."""
    fields = MODULES[norm].Config.__dataclass_fields__
    shared = {"norm_batch": scenario.norm_batch} if "norm_batch" in fields else {}
    return MODULES[norm].Config(**shared, **scenario.settings)


def observe(target: Target, norm: str, scenario: Scenario, space: tuple[int, ...]) -> Trace:
    """Run a target: forward and backward in turn, its state after every step, then inference.

    Examples
    --------
    >>> from mabn_ref.check.target import FunctionsTarget
    >>> from mabn_ref.norms import batch_norm
    >>> scenario = Scenario(name="", norm_batch=4, steps=3)
    >>> trace = observe(FunctionsTarget(batch_norm), "bn", scenario, (2,))
    >>> trace.failure, len(trace.values["dx"]), trace.states["mean"][-1].shape
    ('', 3, (5,))
    """
    trace = Trace(scenario, space)
    with np.errstate(all="ignore"):
        try:
            _run(target, norm, trace)
        except Refused as refusal:
            trace.failure = str(refusal)
        except (Exception, SystemExit) as error:
            line = last_own_line(error)
            place = f" ({Path(line.filename).name}, line {line.lineno})" if line else ""
            last = traceback.extract_tb(error.__traceback__)[-1].line or ""
            trace.raised = type(error).__name__ if last.startswith(("raise", "assert")) else ""
            trace.failure = f"{type(error).__name__}: {in_short(error)}{place}"
            if isinstance(error, IndexError) and scenario.age and trace.failed_at == scenario.age_after + 1:
                # most likely a position in a ring buffer
                trace.skipped = f"what rises by one per pass is not a count of iterations ({trace.failure})"
    # a statistic that appears later, or changes its shape, cannot be followed
    trace.states = {
        name: values
        for name, values in trace.states.items()
        if len(values) >= trace.finished and len({value.shape for value in values}) == 1
    }
    return trace


def _run(target: Target, norm: str, trace: Trace) -> None:
    scenario = trace.scenario
    layer = target.make(scenario.channels, config_of(norm, scenario))
    if norm == "frozen-bn" and hasattr(target, "freeze"):
        trace.frozen = target.freeze(layer, *constants(scenario))
    for step, (x, dz) in enumerate(inputs(scenario, trace.space), 1):
        trace.failed_at = step
        gamma, beta = (array.astype(scenario.dtype) for array in parameters(step - 1, scenario.channels))
        trace.part = "inference" if dz is None else "forward"
        z = target.forward(layer, x.copy(), gamma.copy(), beta.copy(), dz is not None)
        z = _usable("z", z, x.shape, trace)
        if dz is None:
            trace.values["inferred"] = [z]
            trace.changed = [
                name
                for name, value in target.state(layer).items()
                if name in trace.states and not np.array_equal(value, trace.states[name][-1], equal_nan=True)
            ]
            return
        trace.values.setdefault("z", []).append(z)
        trace.part = "backward"
        for name, value, shape in zip(
            ("dx", "dgamma", "dbeta"), target.backward(layer, dz.copy()), (x.shape, *[gamma.shape] * 2), strict=True
        ):
            if value is not None:
                array = _usable(name, value, shape, trace)
                trace.values.setdefault(name, []).append(array)
        for name, value in target.state(layer).items():
            if (array := np.array(value)).dtype.kind != "O":
                trace.states.setdefault(name, []).append(array)
        aged = scenario.age and step == scenario.age_after
        if aged and target.age(layer, scenario.age) is False:  # type: ignore[attr-defined]
            trace.skipped = NO_COUNT
            return


def _usable(name: str, value: Any, shape: tuple[int, ...], trace: Trace) -> Array:
    array = np.array(value)
    if array.shape != shape:
        raise Refused(f"{name} has shape {array.shape}, expected {shape}")
    if array.dtype.kind != "f":
        raise Refused(f"{name} has dtype {array.dtype}, expected {trace.scenario.dtype}")
    if array.dtype != trace.scenario.dtype:
        note = f"{name} is {array.dtype} where x is {trace.scenario.dtype}"
        if note not in trace.notes:
            trace.notes.append(note + ", at inference" * (trace.part == "inference"))
    if not np.isfinite(array).all():
        where = tuple(map(int, np.argwhere(~np.isfinite(array))[0]))
        trace.not_finite = f"{name} is {'NaN' if np.isnan(array[where]) else array[where]}"
        raise Refused(f"{name} is {array[where]} at {list(where)}")
    return array


@dataclass(frozen=True)
class About:
    """What is known about a target before it runs."""

    given: list[str] | None  #: the fields of the Config that it takes; None: all
    groups: bool | None  #: whether a call may hold several normalisation batches; None: not known
    numbers: list[float]  #: numbers it has that may be hyper-parameters
    defaults: dict[str, float]  #: the values that its constructor would have taken
    ages: bool  #: whether its count of iterations can be set
    refused: dict[int, str]  #: by rank, why inputs of that rank are refused; "" if they are not
    single: bool = False  #: whether it takes only float32
    channels: int | None = None  #: its width, if it has one already
    axis: int | None = None  #: the axis of its channels, if that was found by trying
    tracks: bool = True  #: False if it was told to do without moving statistics
    asked: dict[str, Any] = field(default_factory=dict)  #: what its user made it with, by the fields of the Config
    #: numbers that its user made it with, under names that are not known
    unknown: dict[str, float] = field(default_factory=dict)
    own: dict[str, float] = field(default_factory=dict)  #: what the layer itself keeps, by the fields of the Config
    limits: list[str] = field(default_factory=list)  #: what users should know about its parameters
    coarse: bool = False  #: whether it computes in float32 when given float64, and returns float64
    other_axes: list[int] = field(default_factory=list)  #: other axes with which it also runs
    clear: bool = True  #: whether gamma and beta are those of the channels of `axis` alone
    #: by rank, what goes wrong after forward has accepted an input: such a rank is not refused
    broken: dict[int, str] = field(default_factory=dict)

    def fields(self, norm: str) -> frozenset[str]:
        """The fields of the Config that the target takes, and the fields of a `Convention` that these decide."""
        taken = frozenset(MODULES[norm].Config.__dataclass_fields__ if self.given is None else self.given)
        return taken | ({"guard"} if "layer_scaling" in taken else set())

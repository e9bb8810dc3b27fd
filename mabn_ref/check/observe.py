"""Run a target over a scenario, survive what it does, and keep what it returned."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mabn_ref import gradcheck
from mabn_ref.arrays import Array
from mabn_ref.check.scenarios import MODULES, Scenario, inputs, parameters
from mabn_ref.check.target import Target

__all__ = ["About", "Trace", "config_of", "derivative", "inquire", "observe", "spaces"]

SPACES: tuple[tuple[int, ...], ...] = ((2, 3), (3,), (), (2, 1, 3))
"""Of ranks 4, 3, 2 and 5, in the order in which they are preferred."""


@dataclass
class Trace:
    """What a target returned, step by step; also where it raised or returned what cannot be used: up to there."""

    scenario: Scenario
    space: tuple[int, ...]
    """The axes between N and C."""
    values: dict[str, list[Array]] = field(default_factory=dict)
    """"z", "dx", "dgamma", "dbeta": one array a step; what the layer has not is left out. "inferred": one array."""
    states: dict[str, list[Array]] = field(default_factory=dict)
    """Moving statistics after each step, by the layer's names."""
    failure: str = ""
    """Why it stopped early, or ""."""
    failed_at: int = 0
    """The last step that it came to, counted from 1."""
    notes: list[str] = field(default_factory=list)
    """What it did that is allowed but unusual, such as another dtype."""
    changed: list[str] = field(default_factory=list)
    """What of the state inference changed, by the layer's names."""
    skipped: str = ""
    """Why the scenario could not be set up, or ""."""

    @property
    def finished(self) -> int:
        """The number of steps of which everything is there."""
        return self.failed_at - 1 if self.failure else len(self.values.get("z", []))

    def note(self, text: str) -> None:
        """Add a note, unless it is there."""
        if text not in self.notes:
            self.notes.append(text)


class Refused(Exception):
    """What the target returned cannot be used."""


class NotSetUp(Exception):
    """The scenario is not one that the target can be put through."""


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
            _run(target, config_of(norm, scenario), trace)
        except NotSetUp as why:
            trace.skipped = str(why)
        except Refused as refusal:
            trace.failure = str(refusal)
        except (Exception, SystemExit) as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{last.filename.rpartition('/')[2]}, line {last.lineno}"
            trace.failure = f"{type(error).__name__}: {error} ({place})"
    trace.values = {name: values for name, values in trace.values.items() if values}
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
        for name, value, shape in zip(
            ("dx", "dgamma", "dbeta"), target.backward(layer, dz.copy()), (x.shape, *[gamma.shape] * 2), strict=True
        ):
            if value is not None:
                trace.values.setdefault(name, []).append(_usable(name, value, shape, trace))
        for name, value in target.state(layer).items():
            if (array := np.array(value)).dtype.kind != "O":
                trace.states.setdefault(name, []).append(array)
        aged = scenario.age and step == scenario.age_after
        if aged and target.age(layer, scenario.age) is False:  # type: ignore[attr-defined]
            raise NotSetUp("it keeps no count of iterations that can be found and set")


def _usable(name: str, value: Any, shape: tuple[int, ...], trace: Trace) -> Array:
    array = np.array(value)
    if array.shape != shape:
        raise Refused(f"{name} has shape {array.shape}, expected {shape}")
    if array.dtype.kind != "f":
        raise Refused(f"{name} has dtype {array.dtype}, expected {trace.scenario.dtype}")
    if array.dtype != trace.scenario.dtype:
        trace.note(f"{name} is {array.dtype} where x is {trace.scenario.dtype}")
    if not np.isfinite(array).all():
        where = tuple(map(int, np.argwhere(~np.isfinite(array))[0]))
        raise Refused(f"{name} is {array[where]} at {list(where)}")
    return array


@dataclass(frozen=True)
class About:
    """What is known of a target before it runs."""

    given: list[str] | None
    """The fields of the Config that it takes; None: all."""
    groups: bool | None
    """Whether a call may hold several normalisation batches; None: not known."""
    numbers: list[float]
    """Numbers it has that may be hyper-parameters."""
    defaults: dict[str, float]
    """The values that its constructor would have taken."""
    ages: bool
    """Whether its count of iterations can be set."""
    refused: dict[int, str]
    """Why an input of a rank is refused, by the rank; "" where it is not."""
    single: bool = False
    """Whether it takes float32 alone."""
    channels: int | None = None
    """Its width, if it has one already."""
    axis: int | None = None
    """The axis that its channels are on, where that was tried out."""
    tracks: bool = True
    """Whether it was not told to do without moving statistics."""
    asked: dict[str, float] = field(default_factory=dict)
    """What its user made it with, by the fields of the Config."""

    def fields(self, norm: str) -> frozenset[str]:
        """The fields of the Config that the target takes, and those of a `Convention` that one of them decides."""
        taken = frozenset(MODULES[norm].Config.__dataclass_fields__ if self.given is None else self.given)
        return taken | ({"guard"} if "layer_scaling" in taken else set())


def spaces(target: Target, norm: str, scenario: Scenario) -> dict[int, str]:
    """Try ranks 4, 3, 2 and 5; return why each is refused, "" where it is not."""
    one = {space: replace(scenario, space=space, steps=1) for space in SPACES}
    return {len(space) + 2: observe(target, norm, one[space], space).failure for space in SPACES}


def inquire(target: Target, norm: str, scenario: Scenario, space: tuple[int, ...] = ()) -> About:
    """Try a target on one step of every rank, in float64, and in float32 if it takes none."""
    scenario = replace(scenario, width=getattr(target, "channels", None))
    axes = getattr(target, "axes", (None,))
    tried = {}
    for axis in axes:
        if axis is not None:
            target.axis = axis  # type: ignore[attr-defined]
        tried[axis] = _taken(target, norm, scenario)
        if not all(tried[axis][0][rank] for rank in (3, 4)):
            break  # it takes something with positions, from which the axis is known
    axis = min(axes, key=lambda axis: sum(map(bool, tried[axis][0].values())) if axis in tried else len(SPACES) + 1)
    if axis is not None:
        target.axis = axis  # type: ignore[attr-defined]
    refused, single = tried[axis]
    given: Any = getattr(target, "given", None)
    return About(
        given=None if given is None else sorted(given),
        groups=getattr(target, "groups", None),
        numbers=sorted(set(getattr(target, "numbers", ()))),
        defaults=dict(getattr(target, "defaults", {})),
        ages=hasattr(target, "age"),
        refused=refused,
        single=single,
        channels=scenario.width,
        axis=axis,
        tracks=getattr(target, "tracks", True),
        asked=dict(getattr(target, "asked", {})),
    )


def _taken(target: Target, norm: str, scenario: Scenario) -> tuple[dict[int, str], bool]:
    """Why every rank is refused, and whether that is of float32, as nothing else is taken."""
    refused = spaces(target, norm, scenario)
    if not all(refused.values()):
        return refused, False
    in_single = spaces(target, norm, replace(scenario, dtype="float32"))
    return (refused, False) if all(in_single.values()) else (in_single, True)


def derivative(target: Target, norm: str, scenario: Scenario, space: tuple[int, ...]) -> str:
    """Say whether the gradients of the first step are the derivatives of forward, by numerical derivatives.

    Every evaluation is a new layer's first step, so that no moving statistic gets in the way. Batch Renormalization
    and MABN are not meant to be the derivative of forward, though MABN is at its first step, but for r.
    """
    config = config_of(norm, scenario)
    x, _ = next(inputs(scenario, space))
    given = (x, *parameters(0, scenario.channels))

    def forward(*given: Array) -> tuple[Array, Any]:
        layer = target.make(scenario.channels, config)
        if any(map(np.iscomplexobj, given)):
            raise TypeError("a target takes real numbers")
        x, gamma, beta = (np.array(a, dtype=float) for a in given)
        return target.forward(layer, x, gamma, beta, True), layer

    try:
        gradients = target.backward(forward(*given)[1], np.ones_like(x))
        told = [k for k, gradient in enumerate(gradients) if gradient is not None]

        def some(*chosen: Array) -> tuple[Array, Any]:
            z, _ = forward(*(chosen[told.index(k)] if k in told else a for k, a in enumerate(given)))
            return z, None

        def backward(dz: Array, cache: Any) -> list[Array]:
            found = target.backward(forward(*given)[1], np.array(dz))  # a graph is good for one pass
            return [np.array(found[k]) for k in told]

        names = [("dx", "dgamma", "dbeta")[k] for k in told]
        found = gradcheck.check(some, backward, tuple(given[k] for k in told), names=names).inputs
    except Exception as error:
        return f"its derivative cannot be taken: {type(error).__name__}: {error}"
    said = [
        f"{name} is {'' if one.verdict == 'ok' else 'not '}the derivative of forward (Taylor {one.taylor}, largest "
        f"error {one.error:.1e})"
        for name, one in zip(names, found, strict=True)
    ]
    return f"at its first step {', '.join(said)}"

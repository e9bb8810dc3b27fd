"""Compare what a target returned with a convention, step by step, up to the first difference."""

from __future__ import annotations

import contextlib
import decimal
import functools
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.check.batch_model import Batch
from mabn_ref.check.conventions import Convention, asked_for, from_config
from mabn_ref.check.models import BENDABLE, backward, call_of, model_of
from mabn_ref.check.observe import About, Trace, config_of
from mabn_ref.check.scenarios import ALONE, SETTINGS, constants, inputs, parameters
from mabn_ref.check.target import MOVING, statistic
from mabn_ref.gradcheck import exact, ulps

TENSORS = ("z", "state", "inferred", "dx", "dgamma", "dbeta")
ULPS = {np.dtype(np.float64): 1e4, np.dtype(np.float32): 64.0}
"""How many rounding errors are allowed in the worst-conditioned value of a channel. Some frameworks compute the
variance as E[x^2] - E[x]^2, which loses more by the ratio of the mean square to the variance."""
SLACK = 2e-7
"""The additional relative error allowed: float64 layers keep some of their constants in float32."""
SLACK_OF_AVERAGES = 1e-7, 0.01
"""The additional error allowed in averages, divided by 1 - decay: with decay in float32, 1 - decay has lost the
digits that 1 and decay share. Then the smallest 1 - decay that counts."""


@dataclass(frozen=True)
class Difference:
    """The first place where numbers differ."""

    scenario: str
    step: int  #: counted from 1; the inference comes after the last
    tensor: str  #: "z", "dx", "dgamma", "dbeta", "inferred", or the layer's name of a moving statistic
    index: tuple[int, ...]  #: the worst element
    got: float
    expected: float
    error: float  #: the difference relative to the size of the tensor in its channel
    also: tuple[str, ...] = ()  #: the other scenarios in which this tensor differs first

    def __str__(self) -> str:
        also = f"; also in {', '.join(self.also)}" if self.also else ""
        return (
            f"{self.scenario}, step {self.step}: {self.tensor}{list(self.index)} is {self.got:.9g}, "
            f"expected {self.expected:.9g} (relative {self.error:.1e}){also}"
        )


UNTOLD = About([], None, [], {}, False, {})


class Case:
    """A trace, ready to be compared many times, with what is known about the target: by default, nothing."""

    def __init__(self, norm: str, trace: Trace, about: About = UNTOLD) -> None:
        self.norm, self.trace, self.about = norm, trace, about
        given = about.fields(norm)
        self.asked = asked_for(norm, about.asked, trace.scenario.norm_batch)
        self.given = given | set(self.asked)
        self.config: Any = config_of(norm, trace.scenario)
        if norm not in BENDABLE:
            own = {name: value for name, value in self.asked.items() if hasattr(self.config, name)}
            self.config = replace(self.config, **own)
        told = {name: value for name, value in vars(self.config).items() if name in given or name == "norm_batch"}
        if norm in ALONE:  # a layer that was not told its groups uses the same in all scenarios
            told = {**({"groups": trace.scenario.channels} if norm == "in" else SETTINGS[norm]), **told}
        self.base = vars(from_config(norm, type(self.config)(**told))) | self.asked
        self.steps = list(inputs(trace.scenario, trace.space))
        self.channels = trace.scenario.channels
        drawn = (parameters(k, self.channels) for k in range(len(self.steps)))
        self.parameters = [[a.astype(trace.scenario.dtype).astype(np.float64) for a in pair] for pair in drawn]
        self.roles = roles_of(self)
        self._batches: dict[tuple[Any, ...], list[Batch]] = {}
        self._compared: dict[tuple[Any, ...], Comparison] = {}
        kept = [*trace.values.values(), *(trace.states[name] for name, role in self.roles.items() if role)]
        dtypes = [values[0].dtype for values in kept if values[0].dtype in ULPS]
        dtype = min(
            [*dtypes, *[np.dtype(np.float32)] * about.coarse], key=lambda d: d.itemsize, default=np.dtype(float)
        )
        self.rtol = float(np.finfo(dtype).eps) * ULPS[dtype]

    def model(self, convention: Convention) -> Any:
        """The layer with this convention, for comparison with the target."""
        model = model_of(self.norm, convention, self.channels, self.config)
        if self.trace.frozen:
            model.kept = type(model.kept)(*(a.astype(np.float64) for a in constants(self.trace.scenario)))
        return model

    def replay(self, convention: Convention) -> Iterator[tuple[int, Any, Array]]:
        """Run that layer over the trace: yield step, counted from 0, the layer after its forward pass, and its z."""
        model, scenario = self.model(convention), self.trace.scenario
        batches = self.batches(convention)
        for k, seen in enumerate(self.trace.values.get("z", [])):
            z = model.forward(batches[k], *self.parameters[k], seen)
            if scenario.age and k + 1 == scenario.age_after:
                model.iteration = scenario.age
            yield k, model, z

    @property
    def iterations(self) -> int:
        """The last iteration that was run."""
        scenario = self.trace.scenario
        late = scenario.age - scenario.age_after * scenario.groups if scenario.age else 0
        return late + self.trace.finished * scenario.groups

    def batches(self, c: Convention) -> list[Batch]:
        """Every call's statistics."""
        key = c.shared_by, c.over, c.grouping, c.groups
        if key not in self._batches:
            samples = self.trace.scenario.norm_batch
            self._batches[key] = [
                call_of(self.norm, x.astype(np.float64), samples, c) for x, dz in self.steps if dz is not None
            ]
        return self._batches[key]

    @functools.cached_property
    def tolerances(self) -> list[Array]:
        """The relative error allowed at every step in every channel, (C,)."""
        if self.norm == "online":  # nothing is divided by a sample's own statistics
            return [SLACK + self.rtol * np.full(self.channels, 10.0)] * len(self.steps)
        usual = Convention(groups=from_config(self.norm, self.config).groups)
        conditions = [
            batch.largest(1 + (batch.square / (batch.var + 1e-2 * self.config.eps))[:, None])
            for batch in self.batches(usual)
        ]
        return [SLACK + self.rtol * condition for condition in conditions]


def roles_of(case: Case) -> dict[str, str]:
    """The role of every moving statistic; one that never moves has none if another with its role does."""
    states, roles = case.trace.states, _roles(case)
    moving = {role for name, role in roles.items() if _moves(states[name])}
    return {name: role if _moves(states[name]) or role not in moving else "" for name, role in roles.items()}


def roles_by_name(case: Case) -> dict[str, str]:
    """The role of every moving statistic, by name alone; if no name tells, those that never move."""
    states, roles = case.trace.states, _roles(case)
    called = {name for name in roles if any(word in name.lower() for word in MOVING)}
    still = {name for name in roles if not _moves(states[name])}
    for role in ("mean", "second"):
        own = {name for name, what in roles.items() if what == role}
        left = own & called or own & still or own
        roles |= dict.fromkeys(own - left, "")
    return roles


def _roles(case: Case) -> dict[str, str]:
    """Whether a moving statistic is a mean or a second moment, by its shape and its name."""
    if case.norm in ALONE:
        return {}
    return {
        name: statistic(name) if values[0].shape == (case.channels,) and values[0].dtype.kind == "f" else ""
        for name, values in case.trace.states.items()
    }


def _moves(values: list[Array]) -> bool:
    return any(not np.array_equal(values[0], value) for value in values[1:])


@dataclass
class Look:
    """A tensor of one step: its values, the expected ones, their size, and the error allowed."""

    step: int
    name: str
    got: Array
    expected: Array
    size: Array
    rtol: Array

    @functools.cached_property
    def errors(self) -> Array:
        """Relative errors, infinite where a number is not finite."""
        errors = np.abs(self.got - self.expected) / np.maximum(self.size, 1e-300)
        return np.where(np.isfinite(errors), errors, np.inf)


def first_difference(case: Case, convention: Convention, tensors: Collection[str]) -> Difference | None:
    """Return the first of `tensors`, some of `TENSORS`, that a convention does not reproduce, or None."""
    with np.errstate(all="ignore"):
        found = (_difference(case, look) for look in _looks(case, convention, tensors))
        return next(filter(None, found), None)


def _difference(case: Case, look: Look) -> Difference | None:
    errors = look.errors
    excess = errors / look.rtol
    if excess.max() <= 1:
        return None
    worst = np.unravel_index(np.argmax(excess), excess.shape)
    numbers = float(look.got[worst]), float(look.expected[worst]), float(errors[worst])
    return Difference(case.trace.scenario.name, look.step, look.name, tuple(map(int, worst)), *numbers)


@dataclass(frozen=True)
class Comparison:
    """All steps of a case, compared with a convention."""

    differences: dict[str, Difference]  #: the first difference of every tensor that differs, in order of step
    errors: dict[str, float]  #: the largest relative error of every tensor

    def first(self, tensors: Collection[str] = TENSORS) -> Difference | None:
        """The first difference of some tensors, as `first_difference` finds it."""
        return next((found for tensor, found in self.differences.items() if tensor in tensors), None)


def compared(case: Case, convention: Convention) -> Comparison:
    """Compare every tensor in one run; the case caches the result for the current roles of its tensors."""
    key = convention, *case.roles.items()
    if key not in case._compared:
        case._compared[key] = _compared(case, convention)
    return case._compared[key]


def _compared(case: Case, convention: Convention) -> Comparison:
    differences: dict[str, Difference] = {}
    errors: dict[str, float] = {}
    with np.errstate(all="ignore"):
        for look in _looks(case, convention, TENSORS):
            tensor = look.name if look.name in TENSORS else "state"
            difference = None if tensor in differences else _difference(case, look)
            if difference:
                differences[tensor] = difference
            errors[tensor] = max(errors.get(tensor, 0.0), float(look.errors.max()))
    return Comparison(differences, errors)


def _looks(case: Case, convention: Convention, tensors: Collection[str]) -> Iterator[Look]:
    trace = case.trace
    batches = case.batches(convention)
    back = any(name in tensors for name in ("dx", "dgamma", "dbeta"))
    # a mean of all batches forgets its start, except for the rounding of it
    sizes = np.full(case.channels, 1.0 if convention.decay == "cumulative" else 0.0)
    rtol: Array = np.zeros(case.channels)
    slack, least = SLACK_OF_AVERAGES
    slack /= max(1 - convention.decay, least) if isinstance(convention.decay, float) else 1
    model = None
    for k, model, z in case.replay(convention):
        beta, rtol = case.parameters[k][1], case.tolerances[k]
        if "z" in tensors:
            yield Look(k + 1, "z", trace.values["z"][k], z, _size(z) + np.abs(beta), rtol)
        if "state" in tensors and any(case.roles.values()) and k < trace.finished:
            sizes = np.maximum(sizes, batches[k].largest(batches[k].square[:, None]) + convention.eps)
            yield from _states(case, k, model, sizes, rtol + slack)
        if back and k < trace.finished:
            yield from _gradients(case, k, model, tensors, rtol)
    if "inferred" in tensors and "inferred" in trace.values and model is not None:
        gamma, beta = case.parameters[trace.finished]
        z = model.infer(case.steps[-1][0].astype(np.float64), gamma, beta)
        size = _size(z) + np.abs(beta)
        yield Look(trace.finished + 1, "inferred", trace.values["inferred"][0], z, size, rtol + slack)


def _states(case: Case, k: int, model: Any, sizes: Array, rtol: Array) -> Iterator[Look]:
    state, spread = model.state(), np.sqrt(sizes)
    for role, kinds in (("mean", {"mean": spread}), ("second", {"square": sizes, "root": spread})):
        looks = [
            Look(k + 1, name, case.trace.states[name][k], state[kind], size + np.abs(state[kind]), rtol)
            for name, own in case.roles.items()
            for kind, size in kinds.items()
            if own == role and kind in state
        ]
        if looks:  # of several with one role the nearest: a layer may keep other things too
            yield min(looks, key=lambda look: (look.errors / rtol).max())


def _gradients(case: Case, k: int, model: Any, tensors: Collection[str], rtol: Array) -> Iterator[Look]:
    dz = case.steps[k][1].astype(np.float64)
    found = dict(zip(("dx", "dgamma", "dbeta"), backward(model, dz), strict=True))
    largest, steep = model.sizes()
    summed = np.sum(np.abs(dz), axis=tuple(range(dz.ndim - 1)))
    sizes = {
        "dx": _size(found["dx"]) + _size(dz) * np.abs(case.parameters[k][0]) * steep,
        "dgamma": summed * largest,
        "dbeta": summed,
    }
    for name, value in found.items():
        if name in tensors and name in case.trace.values:
            yield Look(k + 1, name, case.trace.values[name][k], value, sizes[name], rtol)


def _size(a: Array) -> Array:
    return np.asarray(np.abs(a).max(axis=tuple(range(a.ndim - 1))))


EXACT_STEPS = 2
"""Steps in exact arithmetic, which is a thousand times slower than floats."""


def rounding_errors(case: Case, convention: Convention) -> dict[str, tuple[float, float]]:
    """Return the errors of the first steps in float32 against the same convention in exact arithmetic.

    Returns
    -------
    dict of str to (float, float)
        The median and the largest error of z and of dx, in units in the last place of the true value; empty where
        the convention has bounds that were read off the outputs, or there is no bendable model.
    """
    if case.norm not in BENDABLE or "measured" in (convention.clip, convention.r_max):
        return {}
    errors: dict[str, list[float]] = {"z": [], "dx": []}
    model = case.model(convention)
    for name in ("mean", "second"):  # averages of numbers with 50 digits must not start as floats
        if getattr(model, name, None) is not None:
            setattr(model, name, exact(getattr(model, name)))
    with contextlib.suppress(decimal.DecimalException):  # a convention that divides by zero is not exact
        for k, (x, dz) in enumerate(case.steps[:EXACT_STEPS]):
            batch = call_of(case.norm, exact(x), case.trace.scenario.norm_batch, convention)
            truth = {"z": model.forward(batch, *map(exact, case.parameters[k]))}
            truth["dx"] = backward(model, exact(dz))[0]
            for name, value in truth.items():
                errors[name] += ulps(case.trace.values[name][k].astype(np.float32), value).ravel().tolist()
        return {name: (float(np.median(values)), float(np.max(values))) for name, values in errors.items()}
    return {}

"""The scenarios that a layer runs through, as data, and the inputs of each.

A single batch shows nothing of moving averages, clips and warm-up rules, so every scenario is a sequence. The scale
of the inputs drifts, and an occasional spike, up or down, triggers the clip of r. The channels have very different
sizes: in the small ones eps matters, and so does its place in the formula.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.mistakes import derivatives
from mabn_ref.norms import NORMS, batch_renorm, group_norm, rms_norm

MODULES: dict[str, Any] = {name: norm.module for name, norm in NORMS.items() if name != "sync-bn"}
"""What a layer can be checked as. SyncBN in one process is batch norm, so it is checked as "bn"."""
LIKE = {"eval-norm": "bn"}
"""Normalisers that train as another one does."""
ALONE = tuple(name for name, module in MODULES.items() if module in (group_norm, rms_norm))
"""Normalisers in which every sample has its own statistics."""
HELD = tuple(n for n, norm in MODULES.items() if n not in LIKE and norm.__name__.split(".")[-1] in derivatives.HELD)
"""Normalisers whose backward treats some statistics as constants, so it need not be the derivative of forward."""

SEVERAL = "several in a call"
"""The scenario whose calls hold several normalisation batches."""

_FEW = (1, 2, 3, 8, 32)
"""Numbers of samples; the short set has the first two."""
MANY = 257
"""More samples than any chunk or tile of a kernel is likely to hold."""
ALIKE = "all sizes equal"
"""The scenario with as many samples, and positions along every axis, as channels: lengths do not tell axes apart."""
WIDE = 16
"""Enough channels for kernels that take several at a time; the usual 5 or 6 would only be the remainder."""

SCALES = np.array([1.0, 0.03, 0.003, 30.0, 0.3])
CHANNELS = len(SCALES)
_TOGETHER = np.array([1.0, 2.0, 0.6, 1.5, 0.4, 1.2])
"""Sizes of channels that share statistics: similar, or the small ones would not show."""

SETTINGS: dict[str, dict[str, Any]] = {name: {**NORMS[name].settings, **NORMS[name].example} for name in MODULES}
"""The usual fields of the Config."""
SETTINGS["in"] = {"groups": len(_TOGETHER)}  # None is enough for ours, but other constructors need the number
_RAMPS = {
    "r_max": batch_renorm.Ramp(start=4, stop=20, first=1.0, last=3.0),
    "d_max": batch_renorm.Ramp(start=4, stop=16, first=0.0, last=2.0),
}


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One sequence of training steps, and an inference after it."""

    name: str  #: what the report calls it
    norm_batch: int  #: samples that share statistics
    groups: int = 1  #: normalisation batches in a call
    #: the axes between N and C; None: those of the lowest rank of 4, 3 and 2 that the layer takes
    space: tuple[int, ...] | None = None
    steps: int = 30  #: calls
    dtype: str = "float64"
    settings: Mapping[str, Any] = field(default_factory=dict)  #: fields of the Config
    age: int = 0  #: the number of iterations that the layer is told, once, that it has run
    age_after: int = 1  #: the step after which it is told
    #: every sample is normalised alone: the samples have very different sizes, not the channels, of which there are 6
    alone: bool = False
    #: the number of channels, that of a layer that has them already; None: 5, or 6 where samples are alone
    width: int | None = None
    recorded: bool = True  #: whether it is among the test vectors

    @property
    def channels(self) -> int:
        """C."""
        return self.width or (len(_TOGETHER) if self.alone else CHANNELS)

    @property
    def samples(self) -> int:
        """N of a call."""
        return self.norm_batch * self.groups


def scenarios(norm: str, *, norm_batch: int | None = None, groups: int = 1, short: bool = False) -> list[Scenario]:
    r"""Return what a layer is put through.

    Parameters
    ----------
    norm : str
        A key of `MODULES`.
    norm_batch : int, optional
        \|B\|, the only one then; several by default. The samples of a call, where each is alone.
    groups : int
        Normalisation batches in every call.
    short : bool
        A short set, for continuous integration.

    Returns
    -------
    list of Scenario
        The first few are those from which conventions are told.

    Examples
    --------
    >>> [s.name for s in scenarios("bn", norm_batch=2, short=True)][:3]
    ['start', 'small eps', 'several in a call']
    """
    few = 4 if norm_batch is None else norm_batch
    usual, alone = SETTINGS[norm], norm in ALONE  # alone, without memory: few steps are enough
    first = Scenario(name="start", norm_batch=few, groups=groups, settings={**usual, "eps": 1e-2}, alone=alone)
    first = replace(first, steps=10 if alone else 24)
    other: dict[str, Any] = {"eps": 1e-5}
    if norm == "mabn":
        other |= {"warmup": 8, "clip": 5.0}
    small = replace(first, name="small eps", steps=10 if alone else 36, settings={**usual, **other})
    found = [first, small, *_of_its_own(norm, first, small)]
    if "decay" in MODULES[norm].Config.__dataclass_fields__:  # the usual one may be written into a layer
        other = {**small.settings, "decay": 0.7}
        found.append(replace(small, name="decay 0.7", steps=12, settings=other, recorded=False))
    found.append(replace(small, name="float32", dtype="float32"))
    found += [
        replace(small, name=f"rank {len(space) + 2}", space=space, steps=min(12, small.steps))
        for space in ((), (3,), (2, 3))
    ]
    if LIKE.get(norm, norm) == "bn" or norm == "modified-bn":
        found.append(replace(small, name="from iteration 150,000", age=150_000, steps=12, recorded=False))
    shapes = {"rank 5": (2, 1, 3)} | ({} if norm == "in" else {"one pixel": (1, 1)})  # whose own variance is zero
    found += [replace(small, name=name, space=space, steps=6, recorded=False) for name, space in shapes.items()]
    wide = {**small.settings, "groups": WIDE} if norm == "in" else small.settings
    found.append(replace(small, name=f"{WIDE} channels", width=WIDE, steps=4, settings=wide, recorded=False))
    many = "N" if alone or norm == "online" else "|B|"
    if norm_batch is None:
        numbers = _FEW[: 2 if short else None]
        found += [replace(small, name=f"{many} = {b}", norm_batch=b, steps=min(16, small.steps)) for b in numbers]
        found.append(replace(small, name=f"{many} = {MANY}", norm_batch=MANY, steps=3, recorded=False))
        found.append(replace(small, name=ALIKE, norm_batch=small.channels, steps=4, recorded=False))
    if not short:
        steps = 1100 if norm == "mabn" else 400
        found += [] if alone else [replace(small, name=f"{steps} steps", steps=steps)]
        steps = 100 if alone else 400
        found.append(replace(small, name=f"{steps} steps in float32", steps=steps, dtype="float32"))
    return found


def _of_its_own(norm: str, first: Scenario, small: Scenario) -> list[Scenario]:
    """Scenarios for some normalisers only: several batches in a call, schedules, other settings."""
    found = []
    if norm == "gn":
        found.append(replace(small, name="3 groups", settings={**small.settings, "groups": 3}))
    elif norm == "online":
        found.append(replace(small, name="no layer scaling", settings={**small.settings, "layer_scaling": False}))
    elif first.groups == 1 and not first.alone:
        found.append(replace(first, name=SEVERAL, groups=3, steps=12))
    if norm == "brn":
        found += [
            replace(first, name="ramps", settings={**first.settings, **_RAMPS}),
            replace(small, name="from iteration 15,000", age=15_000, steps=12),
            replace(small, name="from iteration 150,000", age=150_000, steps=12),
        ]
    if norm == "mabn":
        # a multiple of all short windows later, so that a ring of the last values goes on where it was
        found.append(replace(small, name="from iteration 720,744", age=720_744, age_after=24, steps=40))
    return found


def parameters(step: int = 0, channels: int = CHANNELS) -> tuple[Array, Array]:
    """Return gamma and beta, (C,), of a step counted from 0: of either sign, and away from 0 and 1.

    From the seventh channel on they are repeated. They move, as in training: a backward pass that averages Psi
    without gamma and multiplies by today's is right as long as gamma stays.
    """
    moved = np.sin(step * np.array([0.5, 0.9, 1.3, 1.7, 2.1, 2.5]))
    gamma, beta = np.array([1.4, -0.7, 0.6, -1.3, 1.7, -0.9]), np.array([0.5, -1.1, 0.2, 0.8, -0.4, 0.3])
    return np.resize(gamma * (1 + 0.3 * moved), channels), np.resize(beta - 0.2 * moved, channels)


def constants(scenario: Scenario) -> tuple[Array, Array]:
    """Return a mean and a variance, (C,), for a layer that takes them for constants: about those of its inputs."""
    sizes = np.resize(SCALES, scenario.channels)
    mean, spread = np.array([0.7, -1.1, 0.4, -0.6, 1.3]), np.array([0.8, 1.3, 1.1, 0.7, 1.6])
    found = sizes * np.resize(mean, sizes.shape), (sizes * np.resize(spread, sizes.shape)) ** 2
    return found[0].astype(scenario.dtype), found[1].astype(scenario.dtype)


def inputs(scenario: Scenario, space: tuple[int, ...]) -> Iterator[tuple[Array, Array]]:
    """Yield x and dz of every step, and last an x for inference, with None.

    Examples
    --------
    >>> steps = list(inputs(Scenario(name="", norm_batch=2, steps=3), (2,)))
    >>> len(steps), steps[0][0].shape, steps[-1][0].shape
    (4, (2, 2, 5), (7, 2, 5))
    """
    rng = np.random.default_rng([scenario.norm_batch, scenario.groups, scenario.steps, len(space)])
    if scenario.alone:
        yield from _inputs_alone(scenario, space, rng)
        return
    channels = scenario.channels
    scales = np.resize(SCALES, channels)
    offset = rng.uniform(-2, 2, channels)
    phase = rng.uniform(0, 2 * np.pi, channels)
    for t in range(scenario.steps):
        drift = np.exp(0.7 * np.sin(phase + t / 9) + 0.2 * rng.standard_normal(channels))
        spike = rng.choice([1.0, 1.0, 1.0, 1.0, 1.0, 6.0, 1 / 6], channels)
        moved = offset * (1 + 0.5 * rng.standard_normal(channels))
        x = scales * drift * spike * (rng.standard_normal((scenario.samples, *space, channels)) + moved)
        yield x.astype(scenario.dtype), rng.standard_normal(x.shape).astype(scenario.dtype)
    x = scales * (rng.standard_normal((7, *space, channels)) + offset)
    yield x.astype(scenario.dtype), None


def _inputs_alone(
    scenario: Scenario, space: tuple[int, ...], rng: np.random.Generator
) -> Iterator[tuple[Array, Array]]:
    """A sample's size is that of none of its neighbours, and another at the next step."""
    channels = scenario.channels
    offset = rng.uniform(-2, 2, channels)
    for t in range(scenario.steps + 1):
        samples = scenario.samples if t < scenario.steps else 7
        size = SCALES[(t + np.arange(samples)) % len(SCALES)].reshape(-1, *[1] * (len(space) + 1))
        moved = offset * (1 + 0.5 * rng.standard_normal(channels))
        x = size * np.resize(_TOGETHER, channels) * (rng.standard_normal((samples, *space, channels)) + moved)
        dz = rng.standard_normal(x.shape).astype(scenario.dtype) if t < scenario.steps else None
        yield x.astype(scenario.dtype), dz

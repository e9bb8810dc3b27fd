"""Find out in one step what a target takes: ranks, axes, precision; and whether its gradients are derivatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mabn_ref import gradcheck
from mabn_ref.arrays import Array
from mabn_ref.check.observe import SPACES, About, Trace, config_of, observe
from mabn_ref.check.scenarios import HELD, Scenario, inputs, parameters
from mabn_ref.check.target import Target


def one_step(target: Target, norm: str, scenario: Scenario) -> dict[int, Trace]:
    """Return the traces of one step of ranks 4, 3, 2 and 5: in float32 if no other precision is accepted."""
    one = replace(scenario, steps=1)
    found = {len(space) + 2: observe(target, norm, replace(one, space=space), space) for space in SPACES}
    if _taken(found) or scenario.dtype == "float32":
        return found
    in_single = one_step(target, norm, replace(scenario, dtype="float32"))
    return in_single if _taken(in_single) else found


def _taken(traces: Mapping[int, Trace]) -> list[Trace]:
    """The ranks that are not refused, the preferred ones first."""
    return [trace for trace in traces.values() if not trace.failure]


def inquire(target: Target, norm: str, scenario: Scenario, space: tuple[int, ...] = ()) -> About:
    """Try a target on one step of every rank, in float64, and in float32 if it takes none."""
    scenario = replace(scenario, width=getattr(target, "channels", None))
    axes: Any = getattr(target, "axes", (None,))
    tried = {axis: one_step(_turned(target, axis), norm, scenario) for axis in axes}
    run = [axis for axis, traces in tried.items() if not all(traces[rank].failure for rank in (3, 4))]
    clear = run if len(run) < 2 else [a for a in run if _per_channel(_turned(target, a), norm, scenario, tried[a])]
    # if several run, the layer moves the axes itself
    axis = (clear or run or sorted(axes, key=lambda axis: -len(_taken(tried[axis]))))[0]
    _turned(target, axis)
    traces = tried[axis]
    single = traces[4].scenario.dtype == "float32"
    given: Any = getattr(target, "given", None)
    told: dict[str, Any] = {name: dict(getattr(target, name, {})) for name in ("defaults", "asked", "unknown", "own")}
    return About(
        given=None if given is None else sorted(given),
        groups=getattr(target, "groups", None),
        numbers=sorted(set(getattr(target, "numbers", ()))),
        ages=hasattr(target, "age"),
        refused={rank: trace.failure for rank, trace in traces.items()},
        single=single,
        channels=scenario.width,
        axis=axis,
        tracks=getattr(target, "tracks", True),
        coarse=not single and any(_coarse(target, norm, scenario, trace.space) for trace in _taken(traces)[:1]),
        other_axes=[other for other in run if other != axis],
        limits=list(getattr(target, "limits", ())),
        clear=len(clear) == 1,
        broken=_broken(norm, traces),
        **told,
    )


def _broken(norm: str, traces: Mapping[int, Trace]) -> dict[int, str]:
    """What goes wrong after forward has accepted an input: an error in a later pass, or NaN. Neither is a refusal."""
    broken = {}
    for rank, trace in traces.items():
        if trace.scenario.norm_batch * np.prod(trace.space) == 1 or (norm == "in" and not trace.space):
            continue  # one value has no variance
        if trace.not_finite:
            broken[rank] = trace.not_finite + " at inference" * (trace.part == "inference")
        elif trace.failure and trace.part in ("backward", "inference"):
            broken[rank] = f"forward works, and {trace.part} fails: {trace.failure}"
    return broken


def _turned(target: Target, axis: int | None) -> Target:
    if axis is not None:
        target.axis = axis  # type: ignore[attr-defined]
    return target


def _first_steps(
    target: Target, norm: str, scenario: Scenario, space: tuple[int, ...], factors: Sequence[tuple[Any, Any, Any]]
) -> list[Array]:
    """The outputs of new layers in their first step, with x, gamma and beta multiplied by some factors."""
    given = next(inputs(scenario, space))[0], *parameters(0, scenario.channels)
    found = []
    with np.errstate(all="ignore"):
        for each in factors:
            x, gamma, beta = ((a * f).astype(scenario.dtype) for a, f in zip(given, each, strict=True))
            layer = target.make(scenario.channels, config_of(norm, scenario))
            found.append(np.array(target.forward(layer, x, gamma, beta, True)))
    return found


def _per_channel(target: Target, norm: str, scenario: Scenario, traces: Mapping[int, Trace]) -> bool:
    """Whether gamma and beta of one channel change the output in that channel alone."""
    first = _taken(traces)[0]
    scenario = replace(scenario, dtype=first.scenario.dtype)
    one = 1 + np.eye(scenario.channels)[0]
    before, after = _first_steps(target, norm, scenario, first.space, [(1, 1, 1), (1, one, one)])
    there = np.any(before != after, axis=tuple(range(before.ndim - 1)))
    return bool(there[0] and not there[1:].any())


NUDGE = 3e-8
"""A change that float32 does not show, or shows as a jump."""


def _coarse(target: Target, norm: str, scenario: Scenario, space: tuple[int, ...]) -> bool:
    """Whether the output, in float64, does not move in proportion to very small changes of the input."""
    scenario = replace(scenario, dtype="float64")
    x = next(inputs(scenario, space))[0]
    direction = np.random.default_rng(1).uniform(-1, 1, x.shape)
    try:
        start, *nudged = _first_steps(
            target, norm, scenario, space, [(1 + k * NUDGE * direction, 1, 1) for k in range(5)]
        )
    except Exception:
        return False
    if start.dtype != np.float64:
        return False  # its dtype says so
    moved = [z - start for z in nudged]
    size = np.max(np.abs(moved[-1]))
    curved = max(float(np.max(np.abs(d - k * moved[0]))) for k, d in enumerate(moved, 1))
    return bool(1e-2 * size < curved and size < 1e-4 * np.max(np.abs(start)))


def derivative(target: Target, norm: str, scenario: Scenario, space: tuple[int, ...]) -> str:
    """Say whether the gradients of the first step are the derivatives of forward, taken numerically.

    Every evaluation is the first step of a new layer, so that no moving statistic gets in the way. The gradients of
    `HELD` are not meant to be derivatives of forward, though MABN's are at its first step, apart from r.
    """
    config = config_of(norm, scenario)
    single = scenario.dtype == "float32" or _coarse(target, norm, scenario, space)
    kept = np.float32 if single else np.float64
    x, _ = next(inputs(scenario, space))
    given = tuple(a.astype(kept) for a in (x, *parameters(0, scenario.channels)))

    def forward(*given: Array) -> tuple[Array, Any]:
        layer = target.make(scenario.channels, config)
        if any(map(np.iscomplexobj, given)):
            raise TypeError("a target takes real numbers")
        x, gamma, beta = (np.array(a, dtype=scenario.dtype) for a in given)
        return np.asarray(target.forward(layer, x, gamma, beta, True)).astype(kept), layer

    try:
        gradients = target.backward(forward(*given)[1], np.ones(x.shape, scenario.dtype))
        told = [k for k, gradient in enumerate(gradients) if gradient is not None]

        def some(*chosen: Array) -> tuple[Array, Any]:
            z, _ = forward(*(chosen[told.index(k)] if k in told else a for k, a in enumerate(given)))
            return z, None

        def backward(dz: Array, cache: Any) -> list[Array]:
            found = target.backward(forward(*given)[1], np.array(dz, scenario.dtype))  # one pass uses a graph up
            return [np.array(found[k]).astype(kept) for k in told]

        names = [("dx", "dgamma", "dbeta")[k] for k in told]
        checked = gradcheck.check(some, backward, tuple(given[k] for k in told), names=names)
    except Exception as error:
        return f"its derivative cannot be taken: {type(error).__name__}: {error}"
    if checked.violations:
        return f"its derivative cannot be taken with new layers: {'; '.join(checked.violations)}"
    found = checked.inputs
    said = [
        f"{name} is {'' if one.verdict == 'ok' else 'not '}the derivative of forward (Taylor {one.taylor}, largest "
        f"error {one.error:.1e})"
        for name, one in zip(names, found, strict=True)
    ]
    held = norm in HELD and any(one.verdict != "ok" for one in found)
    words = f"at its first step{', as far as float32 shows,' if single else ''} {', '.join(said)}"
    return words + "; it need not be, as backward treats some statistics as constants" * held

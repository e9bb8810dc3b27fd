"""Learning rate as a function of the optimiser step, counted from 0."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mabn_ref.nn.checks import check_number, check_whole

__all__ = ["cosine", "steps"]


def cosine(step: int, *, steps: int, lr: float, warmup: int) -> float:
    """Rise linearly to `lr` over the first `warmup` steps, then fall to 0 along half a cosine.

    Parameters
    ----------
    step : int
        The step, 0 <= step <= steps; the rate is 0 at `steps`, after the last one.
    steps : int
        Steps of the whole run, warm-up included; at least 1.
    lr : float
        The highest rate, reached by the last step of the warm-up and held by the first after it.
    warmup : int
        Steps of the warm-up, 0 <= warmup < steps.

    Returns
    -------
    float
        The rate of this step.

    Raises
    ------
    TypeError
        If an argument is no number, or a count no integer.
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> [round(cosine(step, steps=6, lr=1.0, warmup=2), 3) for step in range(7)]
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146, 0.0]
    """
    check_whole("steps", steps, 1)
    check_number("lr", lr)
    _check_warmup(step, warmup)
    if warmup >= steps:
        raise ValueError(f"warmup is {warmup}, expected fewer than steps={steps}")
    if step > steps:
        raise ValueError(f"step is {step}, expected at most steps={steps}")
    if step < warmup:
        return float(lr) * ((step + 1) / warmup)
    return float(lr) * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def steps(step: int, *, milestones: Sequence[int], factor: float, lr: float, warmup: int) -> float:
    """Rise linearly to `lr` over the first `warmup` steps; then multiply by `factor` at every milestone.

    Parameters
    ----------
    step : int
        The step, counted from 0.
    milestones : sequence of int
        The first step of each lower rate, increasing.
    factor : float
        What each milestone multiplies the rate by, in [0, 1).
    lr : float
        The highest rate.
    warmup : int
        Steps of the warm-up, at least 0.

    Returns
    -------
    float
        The rate of this step.

    Raises
    ------
    TypeError
        If an argument is no number, or a count no integer.
    ValueError
        If an argument is out of range or the milestones do not increase.

    Examples
    --------
    >>> [steps(step, milestones=[3, 5], factor=0.5, lr=1.0, warmup=2) for step in range(6)]
    [0.5, 1.0, 1.0, 0.5, 0.5, 0.25]
    """
    check_number("lr", lr)
    check_number("factor", factor, below=1.0)
    _check_warmup(step, warmup)
    for milestone in milestones:
        check_whole("milestones", milestone, 1)
    if any(later <= earlier for earlier, later in zip(milestones, milestones[1:], strict=False)):
        raise ValueError(f"milestones is {list(milestones)!r}, expected increasing steps")
    ramp = (step + 1) / warmup if step < warmup else 1.0
    return float(lr) * ramp * float(factor) ** sum(step >= milestone for milestone in milestones)


def _check_warmup(step: int, warmup: int) -> None:
    check_whole("step", step, 0)
    check_whole("warmup", warmup, 0)

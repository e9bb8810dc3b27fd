"""Stochastic gradient descent with momentum and weight decay for the parameters of a `network`; learning rates.

A rate is a function of the optimiser step, counted from 0: it rises linearly to `lr` over the first `warmup` steps,
the last of which has the highest rate, and falls afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

from mabn_ref.arrays import Array, check_at_least, check_shaped, namespace, shown

Params: TypeAlias = Sequence[dict[str, Array]]
"""One dict of named arrays per layer; empty where a layer has no parameters."""


def init(params: Params) -> list[dict[str, Array]]:
    """Return the velocity to start from: zeros with the names, shapes and dtypes of the parameters."""
    return [{name: namespace(p).zeros_like(p) for name, p in layer.items()} for layer in params]


def step(
    params: Params, grads: Params, velocity: Params, *, lr: float, momentum: float, weight_decay: float
) -> tuple[list[dict[str, Array]], list[dict[str, Array]]]:
    """Return the parameters and the velocity after one step, as new lists; nothing is changed in place.

    v = momentum * v + (g + weight_decay * p),  p = p - lr * v, for every parameter, gamma and beta too (as in the
    paper). Implements :eq:`sgd`. As in PyTorch, the learning rate multiplies the velocity where it is used and is not
    accumulated in it. The lists are parallel: the same names, shapes and dtypes. `momentum` is in [0, 1).

    Examples
    --------
    >>> import numpy as np
    >>> params, grads = [{"w": np.array([1.0])}], [{"w": np.array([0.5])}]
    >>> params, velocity = step(params, grads, init(params), lr=0.1, momentum=0.9, weight_decay=0.0)
    >>> params, velocity = step(params, grads, velocity, lr=0.1, momentum=0.9, weight_decay=0.0)
    >>> velocity[0]["w"], params[0]["w"]
    (array([0.95]), array([0.855]))
    """
    check_at_least("lr", lr, 0)
    check_at_least("momentum", momentum, 0, below=1.0)
    check_at_least("weight_decay", weight_decay, 0)
    _check_parallel("grads", grads, params)
    _check_parallel("velocity", velocity, params)
    # A NumPy scalar would turn float32 into float64.
    lr, momentum, weight_decay = float(lr), float(momentum), float(weight_decay)
    new_params, new_velocity = [], []
    for layer, grad, old in zip(params, grads, velocity, strict=True):
        v = {name: momentum * old[name] + (grad[name] + weight_decay * p) for name, p in layer.items()}  # eq: sgd
        new_velocity.append(v)
        new_params.append({name: p - lr * v[name] for name, p in layer.items()})  # eq: sgd
    return new_params, new_velocity


def cosine_rate(step: int, *, steps: int, lr: float, warmup: int) -> float:
    """Return the rate at `step`, 0 <= step <= steps, falling from `lr` to 0 along half a cosine.

    `steps` counts the whole run, warm-up included, and is more than `warmup`. The first step after the warm-up has
    the highest rate too; the rate is 0 at `steps`, after the last one.

    Examples
    --------
    >>> [round(cosine_rate(step, steps=6, lr=1.0, warmup=2), 3) for step in range(7)]
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146, 0.0]
    """
    check_at_least("steps", steps, 1, whole=True)
    check_at_least("lr", lr, 0)
    check_at_least("step", step, 0, whole=True)
    check_at_least("warmup", warmup, 0, whole=True)
    if warmup >= steps:
        raise ValueError(f"warmup is {warmup}, expected fewer than steps={steps}")
    if step > steps:
        raise ValueError(f"step is {step}, expected at most steps={steps}")
    if step < warmup:
        return float(lr) * ((step + 1) / warmup)
    return float(lr) * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def milestone_rate(step: int, *, milestones: Sequence[int], factor: float, lr: float, warmup: int) -> float:
    """Return the rate at `step`, multiplied by `factor`, in [0, 1), at every milestone.

    Milestones increase: each is the first step of a lower rate.

    Examples
    --------
    >>> [milestone_rate(step, milestones=[3, 5], factor=0.5, lr=1.0, warmup=2) for step in range(6)]
    [0.5, 1.0, 1.0, 0.5, 0.5, 0.25]
    """
    check_at_least("lr", lr, 0)
    check_at_least("factor", factor, 0, below=1.0)
    check_at_least("step", step, 0, whole=True)
    check_at_least("warmup", warmup, 0, whole=True)
    for milestone in milestones:
        check_at_least("milestones", milestone, 1, whole=True)
    if any(later <= earlier for earlier, later in zip(milestones, milestones[1:], strict=False)):
        raise ValueError(f"milestones is [{', '.join(map(shown, milestones))}], expected increasing steps")
    ramp = (step + 1) / warmup if step < warmup else 1.0
    return float(lr) * ramp * float(factor) ** sum(step >= milestone for milestone in milestones)


def _check_parallel(name: str, trees: Params, params: Params) -> None:
    if len(trees) != len(params):
        raise ValueError(f"{name} has {len(trees)} layers, expected {len(params)}, those of params")
    for i, (tree, layer) in enumerate(zip(trees, params, strict=True)):
        if tree.keys() != layer.keys():
            raise ValueError(f"{name}[{i}] has the names {sorted(tree)}, expected {sorted(layer)}, those of params")
        for key, p in layer.items():
            beside = {"like": p, "like_name": "the parameter", "real": True}
            check_shaped(f"{name}[{i}][{key!r}]", tree[key], tuple(p.shape), ", the shape in params", **beside)

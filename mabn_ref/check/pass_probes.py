"""Probes of single passes: what they do to the arrays of their caller, and what gradients they give."""

from __future__ import annotations

from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.check.probing import NotOffered, Probing, arrays, offered, twins

STEP = 3e-3
"""The step of central differences: harmless in single precision, and exact where inference is a straight line."""
STEPS = STEP, -STEP
CLOSE = 2e-2
"""The relative difference allowed if one side is a numerical derivative. Faults differ by 1 and more."""


def input_kept(p: Probing) -> str:
    """Say which arrays of its caller, and which of those it has returned, the layer changes."""
    layer, found = p.new(), []
    x, dz = p.xs[0].copy(), p.dzs[0].copy()
    z = p.target.forward(layer, x, p.gammas[0].copy(), p.betas[0].copy(), True)
    found += ["x in training"] * _changed(x, p.xs[0])
    left = x.copy()
    dx = p.target.backward(layer, dz)[0]
    found += ["x in backward"] * _changed(x, left)
    found += ["dz in backward, which a residual block also passes to its other branch"] * _changed(dz, p.dzs[0])
    returned = [(name, a, np.array(a)) for name, a in (("z", z), ("dx", dx))]
    p.step(layer, 1)
    found += [f"the {name} it returned, during the next step" for name, a, before in returned if _changed(a, before)]
    x = p.xs[1].copy()
    z = p.target.forward(layer, x, p.gammas[1].copy(), p.betas[1].copy(), False)
    found += ["x in inference"] * _changed(x, p.xs[1])
    before = np.array(z)
    p.infer(layer, 2)
    return ", ".join(found + ["the z it returned, during the next inference"] * _changed(z, before))


def _changed(a: Array, before: Array) -> bool:
    return not np.array_equal(a, before, equal_nan=True)


def inference_gradient(p: Probing) -> str:
    """Compare dx, dgamma and dbeta at inference with central differences."""
    layer = p.new()
    p.step(layer, 0)
    given, dz = (p.xs[1], p.gammas[1], p.betas[1]), p.dzs[1]
    found = p.target.inference_gradient(layer, *(a.copy() for a in given), dz)
    if found[0] is None:
        return "no gradient reaches x"
    for k, (name, gradient) in enumerate(zip(("x", "gamma", "beta"), found, strict=True)):
        if gradient is None:
            continue
        size = np.sqrt(np.sum(np.square(gradient)))
        for signs in np.where(p.dzs[[0, 2]] < 0, -1.0, 1.0):
            v = signs.reshape(-1)[: gradient.size].reshape(gradient.shape)
            ends = []
            for h in STEPS:
                moved = [(a + h * v).astype(p.dtype) if at == k else a.copy() for at, a in enumerate(given)]
                ends.append(np.array(p.target.forward(layer, *moved, False), float))
            slope = np.sum(dz * (ends[0] - ends[1])) / (STEPS[0] - STEPS[1])
            got, allowed = np.sum(gradient * v), CLOSE * max(size, abs(slope), 1e-3)
            if abs(got - slope) > allowed:
                here = np.array(p.target.forward(layer, *(a.copy() for a in given), False), float)
                if abs(np.sum(dz * (ends[0] + ends[1] - 2 * here))) / STEP > allowed:
                    raise NotOffered("its output has a kink within a step of the differences")
                held = "; the statistics are detached: the gradient of an output value reaches only that input value"
                return f"d{name}: a slope of {got:.4g}, not {slope:.4g}{held * (not k and _held(p, layer))}"
    return ""


def _held(p: Probing, layer: Any) -> bool:
    """Whether at inference a value of the output depends on others of x, but its gradient reaches only its own."""
    one = np.zeros_like(p.dzs[1])
    one.flat[0] = 1.0
    dx = p.target.inference_gradient(layer, p.xs[1].copy(), p.gammas[1], p.betas[1], one)[0]
    moved = 2 * p.xs[1]
    moved.flat[0] = p.xs[1].flat[0]
    ends = (p.target.forward(layer, x.copy(), p.gammas[1], p.betas[1], False) for x in (p.xs[1], moved))
    before, after = (np.array(z).flat[0] for z in ends)
    return bool(before != after) and dx is not None and not np.any(dx.ravel()[1:])


def two_forwards(p: Probing) -> str:
    """Compare two forward passes and then their backward passes with one step after the other."""
    twins(p)
    one, other = p.new(), p.new()
    expected = [a for k in (0, 1) for a in p.step(other, k, by=0)[1:]]
    held = []
    for k in (0, 1):
        p.train(one, k, by=0)
        held.append(p.target.hold(one))
    found = [a for k in (0, 1) for a in arrays(p.target.backward_of(one, held[k], p.dzs[k].copy()))]
    words = p.apart(found, expected)
    return f"the first pass's gradient is {words}" if words else ""


def second_derivative(p: Probing) -> str:
    """Compare the derivative of dx with central differences of dx."""
    x, v, w = p.xs[0], p.dzs[1], np.sign(p.xs[2]) + (p.xs[2] == 0)
    found = p.target.second_derivative(p.new(), x, p.gammas[0], p.betas[0], p.dzs[0], v)
    ends = []
    for side in (1, -1):
        layer = p.new()
        p.target.forward(layer, (x + side * STEP * w).astype(p.dtype), p.gammas[0], p.betas[0], True)
        ends.append(np.array(p.target.backward(layer, p.dzs[0].copy())[0], float))
    slope = np.sum((ends[0] - ends[1]) * v) / (2 * STEP)
    got, largest = np.sum(found * w), np.sum(np.abs(v)) / p.xs.shape[1]
    right = abs(got - slope) < CLOSE * max(largest, abs(slope))
    return "" if right else f"{got:.4g}, where differences give {slope:.4g}"


def graph(p: Probing) -> str:
    """Name the statistics from which gradients reach an earlier batch."""
    layer = p.new()
    p.train(layer, 0)
    first = p.target.hold(layer)
    p.train(layer, 1, by=0)
    return ", ".join(p.target.reaching_back(layer, first))


def input_without_gradient(p: Probing) -> str:
    """Compare a step on an x that needs no gradient with one on an x that does."""
    twins(p)
    layer, other = p.new(), p.new()
    found = p.target.without_input_gradient(layer, *p.first_step())
    if words := p.apart(found, p.step(other, 0)[-len(found) :]):
        return f"one of dgamma and dbeta is {words}"
    words = p.apart([p.infer(layer, 1)], [p.infer(other, 1)])
    return f"inference after it returns {words}" if words else ""


def frozen_parameters(p: Probing) -> str:
    """Compare the gradients with gamma, beta or both frozen with those without."""
    other = twins(p)[1]
    x, gamma, beta, dz = p.xs[1], p.gammas[1], p.betas[1], p.dzs[1]
    p.train(other, 1)
    expected = p.target.backward(other, dz.copy())
    names = [name for name, a in zip(("dgamma", "dbeta"), expected[1:], strict=True) if a is not None]
    for frozen in [names, *([name] for name in names)]:
        layer = twins(p)[0]
        found = p.target.with_frozen(layer, frozen, x.copy(), gamma.copy(), beta.copy(), dz.copy())
        pairs = [(a, b) for a, b in zip(found, expected, strict=True) if a is not None]
        if words := p.apart(*(arrays(side) for side in zip(*pairs, strict=True))):
            return f"with {' and '.join(frozen)} not needed, a gradient is {words}"
    return ""


def layout(p: Probing) -> str:
    """Compare a step on arrays in another memory layout with one on the usual."""
    twins(p)
    if len(p.shape) < 3:
        raise NotOffered("an input without positions has only one layout")
    with offered():
        found = p.target.in_other_layout(p.new(), *p.first_step())
    words = p.apart(found, p.step(p.new(), 0))
    return f"one of z, dx, dgamma and dbeta is {words}" if words else ""


def overwritten(p: Probing) -> str:
    """If backward needs what was overwritten, it must raise an error, as ``save_for_backward`` makes it do."""
    twins(p)
    expected = p.target.overwritten(p.new(), "", *p.first_step())
    for name in ("z", "x"):
        try:
            found = p.target.overwritten(p.new(), name, *p.first_step())
        except Exception:  # an error is not a wrong number
            continue
        if words := p.apart(found, expected):
            return f"after {name} was overwritten, one of dx, dgamma and dbeta is {words}"
    return ""


def second_backward(p: Probing) -> str:
    """Compare two backward passes through one graph."""
    layer = p.new()
    p.train(layer, 0)
    with offered():
        first, second = p.target.backward_twice(layer, p.dzs[0].copy())
    words = p.apart(second, first)
    return f"one of dx, dgamma and dbeta is {words}" if words else ""

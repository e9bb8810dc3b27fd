"""A backward pass as a forward pass of its own, so that its derivative, the double backward, can be checked.

It is a function of dout and of the inputs, which returns all gradients. Its backward pass is the double backward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.gradcheck.result import Result


def as_forward(forward: Callable[..., Any], backward: Callable[..., Any]) -> Callable[..., Any]:
    """Return what computes the gradients, flat and joined, from dout and the inputs."""

    def gradients(dout: Array, *inputs: Array) -> tuple[Array, Any]:
        _, cache = forward(*inputs)
        returned = backward(dout, cache)
        each = returned if isinstance(returned, (tuple, list)) else (returned,)
        return np.concatenate([np.asarray(g).ravel() for g in each]), (dout, cache)

    return gradients


def as_backward(double_backward: Callable[..., Any], inputs: Sequence[Array]) -> Callable[..., Any]:
    """Return what takes the cotangents of all gradients, flat and joined, as the backward pass of `as_forward`."""
    ends = np.cumsum([x.size for x in inputs])[:-1]

    def backward(cotangent: Array, cache: Any) -> Any:
        parts = zip(np.split(cotangent, ends), inputs, strict=True)
        return double_backward(tuple(part.reshape(x.shape) for part, x in parts), *cache)

    return backward


def joined(first: Result, second: Result) -> Result:
    """Return both results in one, in which what was impure in the second is said of the passes by their own names."""
    violations = [
        said.replace("backward", "double_backward") if "backward" in said else said.replace("forward", "backward")
        for said in second.violations
    ]
    return replace(first, inputs=(*first.inputs, *second.inputs), violations=tuple(violations))

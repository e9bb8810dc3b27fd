"""Calling the two passes under test: what they are given and return is looked at before any number is believed.

Bad input is an error that names it. A pass that changes what it was given, or that answers differently the second
time, is a finding, returned as a list of sentences.
"""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array

__all__ = ["Rehearsal", "read_inputs", "read_names", "rehearse", "run_forward"]


class Rehearsal(NamedTuple):
    """What both passes returned for three cotangents, and what is impure about them."""

    out: Array
    cotangents: list[Array]
    gradients: list[tuple[Array, ...]]
    violations: tuple[str, ...]


def _check_numbers(name: str, x: Array) -> None:
    if x.dtype not in (np.float32, np.float64, np.object_):
        raise TypeError(f"{name} has dtype {x.dtype}, expected float32, float64 or exact numbers")
    if not x.size:
        raise ValueError(f"{name} has shape {x.shape}, expected at least one element")
    finite = np.isfinite(x.astype(np.float64))
    if not finite.all():
        where = tuple(map(int, np.argwhere(~finite)[0]))
        raise ValueError(f"{name} is {x[where]} at {list(where)}, expected finite numbers")


def read_inputs(inputs: Sequence[Any]) -> tuple[Array, ...]:
    """Copy the inputs, so that a pass that changes them changes ours."""
    if not isinstance(inputs, (tuple, list)):
        raise TypeError(f"inputs is a {type(inputs).__name__}, expected a tuple of arrays")
    if not inputs:
        raise ValueError("inputs is empty, expected at least one array")
    arrays = tuple(np.array(x) for x in inputs)
    for k, x in enumerate(arrays):
        _check_numbers(f"inputs[{k}]", x)
    return arrays


def read_names(names: Sequence[str] | None, forward: Callable[..., Any], count: int) -> tuple[str, ...]:
    """Return the names given, or else those of the parameters of `forward`."""
    if names is None:
        try:
            names = list(inspect.signature(forward).parameters)
        except (TypeError, ValueError):  # built-in functions have no signature
            names = []
        return tuple(names) if len(names) == count else tuple(f"inputs[{k}]" for k in range(count))
    if len(names) != count:
        raise ValueError(f"names has {len(names)} entries {tuple(names)}, expected {count}, one for each input")
    return tuple(names)


def run_forward(forward: Callable[..., Any], inputs: Sequence[Array]) -> tuple[Array, Any]:
    """Call `forward` and refuse anything but a pair (out, cache) with finite floating-point numbers in out."""
    pair = forward(*inputs)
    if not isinstance(pair, tuple) or len(pair) != 2:
        what = f"a tuple of {len(pair)}" if isinstance(pair, tuple) else f"a {type(pair).__name__}"
        raise TypeError(f"forward returned {what}, expected the pair (out, cache)")
    out = np.asarray(pair[0])
    _check_numbers("forward's out", out)
    return out, pair[1]


def _run_backward(
    backward: Callable[..., Any], dout: Array, cache: Any, inputs: Sequence[Array], names: Sequence[str]
) -> tuple[Array, ...]:
    """Call `backward` and refuse anything but one finite gradient for each input, of that input's shape."""
    returned = backward(dout, cache)
    gradients = [np.array(g) for g in (returned if isinstance(returned, (tuple, list)) else [returned])]
    if len(gradients) != len(inputs):
        raise ValueError(
            f"backward returned {len(gradients)} gradients, expected {len(inputs)}, those of {', '.join(names)}"
        )
    for name, g, x in zip(names, gradients, inputs, strict=True):
        if g.shape != x.shape:
            raise ValueError(f"backward's gradient of {name} has shape {g.shape}, expected {x.shape}")
        _check_numbers(f"backward's gradient of {name}", g)
    return tuple(gradients)


def _leaves(tree: Any) -> Iterator[Array]:
    if isinstance(tree, (np.ndarray, numbers.Number)):
        yield np.array(tree)
    elif isinstance(tree, (tuple, list)):
        for branch in tree:
            yield from _leaves(branch)
    elif isinstance(tree, dict):
        yield from _leaves(list(tree.values()))


def _same(before: Sequence[Array], leaves: Iterator[Array]) -> bool:
    after = list(leaves)
    return len(before) == len(after) and all(
        a.shape == b.shape and (bool((a == b).all()) if a.dtype == object else a.tobytes() == b.tobytes())
        for a, b in zip(before, after, strict=True)
    )


@contextmanager
def _watched(found: list[str], who: str, **given: Any) -> Iterator[None]:
    """Note in `found` what changes of the things given, while the body runs."""
    before = {what: list(_leaves(value)) for what, value in given.items()}
    yield
    found.extend(f"{who} changed {what}" for what, value in given.items() if not _same(before[what], _leaves(value)))


def rehearse(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    inputs: Sequence[Array],
    names: Sequence[str],
    state: Any,
    draw: Callable[[Array], Array],
) -> Rehearsal:
    """Call both passes, twice each, and note what they change of what they are given, and what differs.

    `draw` makes a cotangent for an output; there are three.
    """
    found: list[str] = []
    with _watched(found, "forward", inputs=inputs, state=state):
        out, cache = run_forward(forward, inputs)
    cotangents = [draw(out) for _ in range(3)]
    if not found:
        first = list(_leaves(out))
        with _watched(found, "a second forward", out=out, cache=cache):
            again, _ = run_forward(forward, inputs)
        if not _same(first, _leaves(again)):
            found.append("forward returned other numbers on a second call")
    if found:
        return Rehearsal(out, cotangents, [], tuple(found))
    with _watched(found, "backward", inputs=inputs, cache=cache, dout=cotangents[0], state=state):
        gradients = [_run_backward(backward, cotangents[0], cache, inputs, names)]
    if not found:
        gradients += [_run_backward(backward, c, cache, inputs, names) for c in cotangents[1:]]
        repeated = _run_backward(backward, cotangents[0], cache, inputs, names)
        if not _same(gradients[0], iter(repeated)):
            found.append("backward returned other numbers on a second call")
    return Rehearsal(out, cotangents, gradients, tuple(found))

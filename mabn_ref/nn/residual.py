"""Residual blocks in a flat list of layers: three markers, and one array that is held from the first to the last.

A block computes f(x) + s(x), :eq:`residual-forward`: its own convolutions beside the input itself, or beside a 1x1
convolution of it where shapes differ. In the list::

    Keep, conv, norm, relu, conv, norm, Add, relu                              s(x) = x
    Keep, conv, norm, relu, conv, norm, Exchange, conv 1x1, norm, Add, relu    a projection

Code that goes through the list carries ``x`` and what is ``held``, and every marker changes the two. Backward goes
through the markers in reverse: where forward copied, gradients are added, and where it added, they are copied,
:eq:`residual-backward`. Blocks do not nest.

>>> x, held = forward(Keep("keep1"), 2.0, None)
>>> x = 3 * x  # f
>>> x, held = forward(Add("add1"), x, held)
>>> d, held = backward(Add("add1"), 1.0, None)
>>> d = 3 * d  # back through f
>>> x, backward(Keep("keep1"), d, held)[0]
(8.0, 4.0)
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from mabn_ref.arrays import Array


class Keep(NamedTuple):
    """Hold the input of a block, and pass it on as well."""

    name: str


class Exchange(NamedTuple):
    """Swap the current array and the held one: the layers that follow are on the other branch."""

    name: str


class Add(NamedTuple):
    """Add the held array, which ends the block."""

    name: str


Marker: TypeAlias = Keep | Exchange | Add


def route(layer: Marker, now: Any, held: Any) -> tuple[Any, Any]:
    """Return what goes on and what is held after a marker, be it arrays, sizes or numbers of channels.

    A Keep inside a block is a ValueError, and so is another marker outside one.
    """
    if (held is None) != isinstance(layer, Keep):
        expected = "an Add for the previous Keep first" if isinstance(layer, Keep) else "a Keep before it"
        raise ValueError(f"{layer.name} is {type(layer).__name__}, expected {expected}: blocks do not nest")
    match layer:
        case Keep():
            return now, now
        case Exchange():
            return held, now
        case Add():
            return now, None


def forward(layer: Marker, x: Array, held: Array | None) -> tuple[Array, Array | None]:
    """Return x and what is held after a marker. Branches of different shapes are a ValueError."""
    on, kept = route(layer, x, held)
    if isinstance(layer, Add):
        shape, other = (tuple(getattr(branch, "shape", ())) for branch in (x, held))
        if shape != other:
            raise ValueError(f"{layer.name}: the branches have shapes {shape} and {other}, expected one shape")
        on = x + held  # eq: residual-forward
    return on, kept


def backward(layer: Marker, d: Array, held: Array | None) -> tuple[Array, Array | None]:
    """Return the gradient before a marker, and the one held for the other branch: :eq:`residual-backward`."""
    match layer:
        case Add():
            return d, d  # eq: residual-backward
        case Exchange():
            return held, d
        case Keep():
            return d + held, None  # eq: residual-backward

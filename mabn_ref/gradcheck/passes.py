"""Calls of the two passes under test: their arguments and results are checked before any number is used.

Bad input is an error that names it. A pass that changes its arguments, or that answers differently the second time,
is a finding, returned as a list of sentences. A backward that is not linear in dout is a wrong gradient.
"""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from mabn_ref.arrays import Array, shown
from mabn_ref.gradcheck.exact import to_float
from mabn_ref.gradcheck.result import InputResult

Backward: TypeAlias = Callable[[Array], tuple[Array, ...]]

FACTORS = (-1.0, 2.0**-20, -(2.0**-13), 2.0**-7, -(2.0**7), 2.0**13, -(2.0**20))
"""What the first cotangent is multiplied by, without rounding: about a millionth to a million."""

ODD = (3.0, 5.0, 7.0)
"""Multiples that are rounded in another way than itself, as its parts are."""

NOISE = 32  #: and by how many times what that does to a gradient those of two parts may be off


@dataclass(frozen=True)
class Pair:
    """The two functions under test, and the names of them and their arguments in messages.

    If it is the `second` pair, in the check of `double_backward`, they are backward and double_backward: inputs and
    cache begin with the dout of backward, and the first argument of double_backward is dgradients.
    """

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    second: bool = False

    @property
    def names(self) -> tuple[str, str]:
        """The names of the two."""
        return ("backward", "double_backward") if self.second else ("forward", "backward")

    @property
    def cotangent(self) -> str:
        """The name of the second one's first argument."""
        return "dgradients" if self.second else "dout"

    def given(self, inputs: Sequence[Array], cache: Any = ()) -> dict[str, Any]:
        """The other arguments of the two, by the names that the caller knows."""
        if self.second:
            return {"dout": inputs[0], "inputs": inputs[1:], "cache": cache[1:]}
        return {"inputs": inputs, "cache": cache}


class Rehearsal(NamedTuple):
    """What both passes returned for the cotangents, `backward` for more of them, and what is impure about them."""

    out: Array
    cotangents: list[Array]
    gradients: list[tuple[Array, ...]]
    backward: Backward
    violations: tuple[str, ...]


def _check_plain(name: str, x: Any) -> None:
    """Refuse subclasses, whose operators may mean anything; a memmap's do not."""
    if isinstance(x, np.ndarray) and type(x) not in (np.ndarray, np.memmap):
        advice = ": fill in or leave out what is masked first" if isinstance(x, np.ma.MaskedArray) else ""
        raise TypeError(f"{name} is a {type(x).__name__}, expected a plain array{advice}")


def _check_numbers(name: str, x: Array) -> None:
    if x.dtype not in (np.float32, np.float64, np.object_):
        raise TypeError(f"{name} has dtype {x.dtype}, expected float32, float64 or exact numbers")
    if not x.size:
        raise ValueError(f"{name} has shape {x.shape}, expected at least one element")
    finite = np.isfinite(x.astype(np.float64))
    if not finite.all():
        where = tuple(map(int, np.argwhere(~finite)[0]))
        raise ValueError(f"{name} is {x[where]} at {list(where)}, expected finite numbers")


def read_inputs(inputs: Sequence[Any], names: Sequence[str]) -> tuple[Array, ...]:
    """Copy the inputs and refuse bad ones; a pass that changes its inputs then changes only the copies."""
    for name, x in zip(names, inputs, strict=True):
        _check_plain(name, x)
    arrays = tuple(np.array(x) for x in inputs)
    for k, x in enumerate(arrays):
        _check_numbers(f"inputs[{k}]", x)
    return arrays


def read_names(names: Sequence[str] | None, forward: Callable[..., Any], inputs: Sequence[Any]) -> tuple[str, ...]:
    """Return the given names, or else those of the parameters of `forward` that take the inputs.

    Examples
    --------
    >>> read_names(None, lambda x, gamma, eps=1e-5: ..., (1.0, 2.0))
    ('x', 'gamma')
    """
    if not isinstance(inputs, (tuple, list)):
        raise TypeError(f"inputs is a {type(inputs).__name__}, expected a tuple of arrays")
    if not inputs:
        raise ValueError("inputs is empty, expected at least one array")
    count = len(inputs)
    if names is None:
        try:
            names = list(inspect.signature(forward).bind(*inputs).arguments)
        except (TypeError, ValueError):  # built-in functions have no signature; others do not take the inputs
            names = []
        return tuple(names) if len(names) == count else tuple(f"inputs[{k}]" for k in range(count))
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise TypeError(f"names is {shown(names)}, expected a sequence of names, one for each input")
    if len(names) != count:
        raise ValueError(f"names has {len(names)} entries {tuple(names)}, expected {count}, one for each input")
    return tuple(names)


def run_forward(pair: Pair, inputs: Sequence[Array]) -> tuple[Array, Any]:
    """Call `forward` and refuse anything but a pair (out, cache) with finite floating-point numbers in out."""
    name = pair.names[0]
    returned = pair.forward(*inputs)
    if not isinstance(returned, tuple) or len(returned) != 2:
        what = f"a tuple of {len(returned)}" if isinstance(returned, tuple) else f"a {type(returned).__name__}"
        raise TypeError(f"{name} returned {what}, expected the pair (out, cache)")
    _check_plain(f"{name}'s out", returned[0])
    out = np.asarray(returned[0])
    _check_numbers(f"{name}'s out", out)
    return out, returned[1]


def _run_backward(
    pair: Pair, dout: Array, cache: Any, inputs: Sequence[Array], names: Sequence[str]
) -> tuple[Array, ...]:
    """Call `backward` and refuse anything but one gradient for each input."""
    who = pair.names[1]
    returned = pair.backward(dout, cache)
    claimed = returned if isinstance(returned, (tuple, list)) else [returned]
    if len(claimed) != len(inputs):
        what = "None" if returned is None else f"{len(claimed)} gradients"
        raise ValueError(f"{who} returned {what}, expected {len(inputs)}, those of {', '.join(names)}")
    for name, g, x in zip(names, claimed, inputs, strict=True):
        if g is None:
            raise TypeError(f"{who}'s gradient of {name} is None, expected an array of shape {x.shape}")
        _check_plain(f"{who}'s gradient of {name}", g)
    return tuple(map(np.asarray, claimed))


def _check_gradients(who: str, gradients: Sequence[Array], inputs: Sequence[Array], names: Sequence[str]) -> None:
    for name, g, x in zip(names, gradients, inputs, strict=True):
        if g.shape != x.shape:
            raise ValueError(f"{who}'s gradient of {name} has shape {g.shape}, expected {x.shape}")
        _check_numbers(f"{who}'s gradient of {name}", g)


def _contents(tree: Any) -> list[Any]:
    """Copies of all arrays and numbers in `tree`, which compare equal only if they are the same bit for bit."""
    if isinstance(tree, (np.ndarray, numbers.Number)):
        array = np.array(tree)
        return [(array.shape, array.tolist() if array.dtype == object else array.tobytes())]
    if isinstance(tree, dict):
        tree = list(tree.values())
    return [leaf for branch in tree for leaf in _contents(branch)] if isinstance(tree, (tuple, list)) else []


@contextmanager
def _watched(found: list[str], who: str, **given: Any) -> Iterator[None]:
    """Note in `found` which of the given things change while the body runs."""
    before = {what: _contents(value) for what, value in given.items()}
    yield
    found.extend(f"{who} changed {what}" for what, value in given.items() if _contents(value) != before[what])


def rehearse(
    pair: Pair,
    inputs: Sequence[Array],
    names: Sequence[str],
    state: Any,
    draw: Callable[[Array], list[Array]],
) -> Rehearsal:
    """Call both passes, twice each, and note which of their arguments they change, and what differs.

    `draw` makes the cotangents for an output.
    """
    found: list[str] = []
    forward, backward = pair.names
    with _watched(found, forward, **pair.given(inputs), state=state):
        out, cache = run_forward(pair, inputs)
    cotangents = draw(out)
    if not found:
        first = _contents(out)
        with _watched(found, f"a second {forward}", out=out, cache=cache):
            again, _ = run_forward(pair, inputs)
            # other numbers, which forward may refuse, reveal a buffer that calls share
            with np.errstate(all="ignore"), suppress(Exception):
                pair.forward(*(x * 0.75 for x in inputs))
        if _contents(again) != first:
            found.append(f"{forward} returned different numbers on a second call")

    def pull(dout: Array) -> tuple[Array, ...]:
        return tuple(map(np.array, _run_backward(pair, dout, cache, inputs, names)))

    if found:
        return Rehearsal(out, cotangents, [], pull, tuple(found))
    with _watched(found, backward, **pair.given(inputs, cache), **{pair.cotangent: cotangents[0]}, state=state):
        returned = _run_backward(pair, cotangents[0], cache, inputs, names)
        gradients = [tuple(map(np.array, returned))]
    _check_gradients(backward, gradients[0], inputs, names)
    if not found:
        with _watched(found, f"a second {backward}", gradients=returned):
            for cotangent in cotangents[1:]:
                gradients.append(pull(cotangent))
                _check_gradients(backward, gradients[-1], inputs, names)
        if _contents(pull(cotangents[0])) != _contents(gradients[0]):
            found.append(f"{backward} returned different numbers on a second call")
    if not found:
        run_forward(pair, inputs)
        if _contents(pull(cotangents[0])) != _contents(gradients[0]):
            found.append(f"{backward} uses the last call of {forward}, not the cache that it is given")
    return Rehearsal(out, cotangents, gradients, pull, tuple(found))


def check_linearity(
    pair: Pair, rehearsed: Rehearsal, found: Sequence[InputResult], rtol: float, slack: Sequence[Array]
) -> list[InputResult]:
    """Return what was found, with the verdict "wrong" where a gradient is not linear in dout.

    A backward pass that clips dout, drops small values or keeps only their signs may be right for cotangents near
    one; one that counts what is not 0 may be right for cotangents without zeros. For dout times a power of two a
    linear pass returns, up to rounding, its gradients times the same power, and for two parts of dout gradients that
    add up to its own. `slack` is what rounding may add to each element of each gradient.
    """
    results = list(found)
    for gradients, tolerated, factor, words in _other_gradients(rehearsed, rtol, slack):
        for i, gradient in enumerate(gradients):
            first = rehearsed.gradients[0][i]
            off = _off(first, gradient, factor, tolerated[i])
            if results[i].verdict == "wrong" or not off.any():
                continue
            expected, got = to_float(first), to_float(gradient) / factor
            where = tuple(map(int, np.unravel_index(np.argmax(off), off.shape)))
            results[i] = replace(
                results[i],
                verdict="wrong",
                index=where,
                error=float(off[where] / np.max(np.abs(expected), initial=np.finfo(float).tiny)),
                analytic=float(got[where]),
                numeric=float(expected[where]),
                step=float("nan"),
                reason=f"{pair.names[1]} is not linear in {pair.cotangent}: these are "
                f"{words.format(pair.cotangent)}, and its gradient for {pair.cotangent}",
            )
    return results


def _other_gradients(
    rehearsed: Rehearsal, rtol: float, slack: Sequence[Array]
) -> Iterator[tuple[Sequence[Array], Sequence[Array], float, str]]:
    """Gradients that a linear backward returns, up to what is tolerated, as the first times the factor; and words."""
    dout, first, dtype = rehearsed.cotangents[0], rehearsed.gradients[0], rehearsed.out.dtype

    def pull(other: Array) -> tuple[Array, ...]:
        return rehearsed.backward(np.asarray(other, dtype=dtype))

    def tolerated(factor: float, noise: Sequence[float]) -> list[Array]:
        sizes = (np.abs(to_float(gradient)) for gradient in first)
        more = max(1.0, 1 / abs(factor))
        return [rtol * size + s * more + NOISE * n for size, s, n in zip(sizes, slack, noise, strict=True)]

    noise = [0.0] * len(first)
    for factor in FACTORS:
        words = f"its gradient for {factor:.3g} times {{0}}, divided by {factor:.3g}"
        yield pull(dout * factor), tolerated(factor, noise), factor, words
    for odd in ODD:
        for i, gradient in enumerate(pull(dout * odd)):
            noise[i] = max(noise[i], float(np.max(np.abs(to_float(gradient - first[i] * odd))) / odd))
    even = np.arange(dout.size).reshape(dout.shape) % 2 == 0
    parts = zip(pull(np.where(even, dout, 0 * dout)), pull(np.where(even, 0 * dout, dout)), strict=True)
    words = "the sum of its gradients for {0} with every other element 0 and for the rest of it"
    yield [one + other for one, other in parts], tolerated(1.0, noise), 1.0, words


def _off(first: Array, gradient: Array, factor: float, tolerated: Array) -> Array:
    """How far each element is off if rounding, overflow and underflow do not explain it; otherwise 0."""
    if gradient.dtype == object:
        least, most = 0.0, np.inf
    else:
        limits = np.finfo(gradient.dtype)
        least, most = float(limits.tiny / limits.eps), float(limits.max) / 2**24
    off = to_float(abs(gradient - first * factor)) / abs(factor)
    size, got = np.abs(to_float(first)), np.abs(to_float(gradient))
    counts = ~(off <= tolerated) & (size * abs(factor) <= most)
    counts &= (size * abs(factor) >= least) | (got >= least)
    if not np.isfinite(got).all():  # what overflows on the way says nothing
        counts &= abs(factor) <= 1
    return np.where(counts, np.nan_to_num(off, nan=np.inf), 0.0)

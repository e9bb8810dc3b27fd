"""The check itself: one call for any pair of passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from mabn_ref.arrays import Array, check_at_least, shown
from mabn_ref.gradcheck import passes, probes, verdict
from mabn_ref.gradcheck.claim import Claim
from mabn_ref.gradcheck.compare import compare
from mabn_ref.gradcheck.exact import DIGITS, exact, to_float
from mabn_ref.gradcheck.result import Result

NUDGE = 2.0**12  #: inputs are moved by this many times their rounding, to see what rounding does to the output


def check(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    inputs: Sequence[Any],
    *,
    names: Sequence[str] | None = None,
    state: Any = None,
    rtol: float | None = None,
    seed: int = 0,
    double_backward: Callable[..., Any] | None = None,
) -> Result:
    """Compare the gradients that `backward` returns with derivatives of `forward` taken numerically.

    The derivatives are those of <c, forward(inputs)> for random cotangents c: never ones and never the output, for
    which a normaliser's gradient vanishes and every mistake passes. The elements of three cotangents are near one in
    size, those of a fourth span six decades. Backward has to be linear: in multiples of the first from a millionth to
    a million, and in two parts of it, with every other element 0. Inputs of up to 64 elements are checked element by
    element, larger ones along three random directions. Up to eight more directions cover elements whose derivatives
    would drown in those three, grouped by size. Outputs with a kink are left out, and the rest is checked; at the
    kink itself the gradient has to lie between the slopes on its two sides. Float32 inputs are differentiated in
    float64.

    Parameters
    ----------
    forward : callable
        ``forward(*inputs) -> (out, cache)``, with out an array or a number. It is also called with float64 inputs
        if the caller's are float32, and with a complex one, which it may refuse.
    backward : callable
        ``backward(dout, cache) -> gradients``, one for each input, in order; a single one need not be in a tuple.
        dout has the shape and dtype of out.
    inputs : sequence of arrays of float32 or float64, or of `Exact` numbers
        What to differentiate by. Everything else (labels, state, configuration) the two functions have to close over.
    names : sequence of str, optional
        The inputs' names; by default those of the parameters of `forward`.
    state : optional
        Anything the functions close over that must not change: arrays and numbers in tuples, lists and dicts.
    rtol : float, optional
        Tolerated error relative to the size of the derivative, the sum of the sizes of what each output contributes
        to it; 0 or more. By default 1e-7 (1e-4 where an input is float32, 5e-3 for a forward that stays float32,
        1e-25 for exact numbers). Errors that the rounding of inputs and outputs can explain are forgiven as well, and
        the result says so, but never more than 1e-2 of the input's largest derivative, unless that cannot be told
        from 0. The same goes for rounding that is measured inside the two passes.
    seed : int
        Seed of cotangents and directions, 0 or more.
    double_backward : callable, optional
        ``double_backward(dgradients, dout, cache) -> gradients``: the backward pass of `backward`, which is then
        checked too. dgradients is a tuple with a gradient for each of those that backward returned. It returns the
        gradients for dout and for each input of forward; in the result these are "dout of backward" and so on.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range; if an input, the output or a gradient is not a plain,
        finite, non-empty array of one of these dtypes; if the number or the shapes of the gradients, or the number of
        `names`, differ from the inputs'; if `forward` does not return a pair, or is not finite near the inputs.

    Examples
    --------
    >>> def forward(x):
    ...     y = np.tanh(x)
    ...     return y, y
    >>> x = np.array([0.1, -0.5, 2.0])
    >>> check(forward, lambda dout, y: dout * (1 - y**2), (x,)).verdict
    'ok'
    >>> check(forward, lambda dout, y: dout * (1 - y), (x,))
    gradient check: wrong (rtol 1e-07, seed 0)
      x: wrong; worst error by central differences 4.6e-01, by complex step 4.9e-01; Taylor 2.9e-01 (order 1.00)
        at x[1] backward says -2.14748457, differences say -1.15509511 (step 1.2e-04)
    """
    functions: dict[str, Any] = {"forward": forward, "backward": backward}
    functions |= {} if double_backward is None else {"double_backward": double_backward}
    for name, function in functions.items():
        if not callable(function):
            raise TypeError(f"{name} is {shown(function)}, expected a function")
    check_at_least("rtol", 0.0 if rtol is None else rtol, 0.0)
    check_at_least("seed", seed, 0, whole=True)
    names = passes.read_names(names, forward, inputs)
    arrays = passes.read_inputs(inputs, names)
    first, dout = _check_pair(passes.Pair(forward, backward), arrays, names, state, rtol, seed)
    if double_backward is None or first.violations:
        return first
    pair = _passes_of_backward(forward, backward, double_backward, arrays)
    names = [f"{name} of backward" for name in ("dout", *names)]
    try:
        second, _ = _check_pair(pair, (dout, *arrays), names, state, rtol, seed)
    except Exception as error:
        error.add_note("in the check of double_backward, in which backward is differentiated")
        raise
    return replace(first, inputs=(*first.inputs, *second.inputs), violations=second.violations)


def _check_pair(
    pair: passes.Pair, arrays: tuple[Array, ...], names: Sequence[str], state: Any, rtol: float | None, seed: int
) -> tuple[Result, Array]:
    """Check one backward pass, with arguments that have been checked; return its first cotangent, too."""
    rng = np.random.default_rng(seed)
    rehearsed = passes.rehearse(pair, arrays, names, state, lambda out: _cotangents(rng, out))
    if rehearsed.violations:
        return Result((), rehearsed.violations, float("nan"), seed), rehearsed.cotangents[0]
    at = tuple(x.astype(np.float64) if x.dtype == np.float32 else x for x in arrays)
    try:
        center, _ = passes.run_forward(pair, at)
    except Exception as error:
        error.add_note(f"{pair.names[0]} raised this for its inputs in float64, with which it is differentiated")
        raise
    units = [probes.units(x) for x in at]
    far = max(float(np.max(np.abs(to_float(x)) / unit)) for x, unit in zip(at, units, strict=True))
    eps = _eps(center) if center.dtype == object else max(map(_eps, (center, *arrays)))
    least = {np.dtype(object): 1e-25, np.dtype(np.float64): 1e-7, np.dtype(np.float32): 5e-3}[center.dtype]
    tolerance = max(least, 1e3 * eps) if rtol is None else rtol
    cotangents = np.stack([c.ravel() for c in rehearsed.cotangents])
    found = []
    with np.errstate(all="ignore"):
        inherited = cache(lambda: _inherited(pair.forward, at, _flat(center)))
        swing = cache(lambda: _swing(pair.forward, at, _flat(center)))
        for i, name in enumerate(names):
            claim = Claim(
                name=name,
                functions=pair.names,
                function=_of_input(pair.forward, at, i),
                pull=_of_cotangent(rehearsed.backward, rehearsed.out, i),
                pull_at=_of_cotangent_at(pair, at, i, center),
                x=at[i],
                units=units[i].ravel(),
                center=_flat(center),
                cotangents=cotangents,
                gradients=np.stack([gradients[i].ravel() for gradients in rehearsed.gradients]),
                rtol=tolerance,
                inherited=inherited,
                swing=swing,
                eps=_eps(center),
                coarser=eps / _eps(center),
                conditioning=max(far, 1.0),
            )
            found.append(compare(claim, rng))
        if all(result.verdict != "wrong" for result in found):
            size = verdict.length(to_float(abs(cotangents[0])) * claim.rounding())
            slack = [verdict.SLACK * eps / _eps(center) * size / unit for unit in units]
            found = passes.check_linearity(pair, rehearsed, found, tolerance, slack)
    return Result(tuple(found), (), tolerance, seed), rehearsed.cotangents[0]


def _passes_of_backward(
    forward: Callable[..., Any], backward: Callable[..., Any], double_backward: Callable[..., Any], inputs: Any
) -> passes.Pair:
    """`backward` as a forward pass, from dout and the inputs to all gradients, flat and joined; and its backward."""
    ends = np.cumsum([x.size for x in inputs])[:-1]

    def gradients(dout: Array, *arrays: Array) -> tuple[Array, Any]:
        _, cache = forward(*arrays)
        returned = backward(dout, cache)
        each = returned if isinstance(returned, (tuple, list)) else (returned,)
        return np.concatenate([np.asarray(g).ravel() for g in each]), (dout, cache)

    def pull(cotangent: Array, dout_and_cache: Any) -> Any:
        parts = zip(np.split(cotangent, ends), inputs, strict=True)
        return double_backward(tuple(part.reshape(x.shape) for part, x in parts), *dout_and_cache)

    return passes.Pair(gradients, pull, second=True)


def _inherited(forward: Callable[..., Any], at: Sequence[Array], center: Array) -> Array:
    """How far each output may be off by the rounding of all inputs.

    It is measured with larger moves and scaled down, so that it counts only where forward follows its inputs.
    """
    eps = _eps(center)
    off = np.zeros(center.shape)
    rng = np.random.default_rng(0)
    for _ in range(2):
        nudged = (x * (1 + NUDGE * eps * rng.choice([-1.0, 1.0], x.shape)) for x in at)
        with suppress(Exception):  # a neighbour outside of forward's domain says nothing
            off = np.fmax(off, to_float(abs(_flat(forward(*nudged)[0]) - center)) / NUDGE)
    return np.where(np.isfinite(off), off, 0.0)


def _swing(forward: Callable[..., Any], at: Sequence[Array], center: Array) -> Array:
    """How far each output moves if all inputs are set to 0, halved or negated; infinite if unknown.

    A constant that forward adds is not part of it. The 1 that a saturated tanh has reached is.
    """
    far = np.full(center.shape, np.nan)
    for part in (0.0, 0.5, -1.0):
        with suppress(Exception):
            far = np.fmax(far, to_float(abs(_flat(forward(*(part * x for x in at))[0]) - center)))
    return np.where(np.isnan(far), np.inf, far)


def _of_input(forward: Callable[..., Any], at: Sequence[Array], i: int) -> Callable[[Array], Array]:
    """The flattened output as a function of input `i` alone."""
    return lambda x: _flat(forward(*at[:i], x, *at[i + 1 :])[0])


def _of_cotangent(backward: passes.Backward, out: Array, i: int) -> Callable[[Array], Array]:
    """The flattened gradient of input `i` as a function of the flattened cotangent alone."""
    return lambda c: backward(c.reshape(out.shape).astype(out.dtype))[i].ravel()


def _of_cotangent_at(pair: passes.Pair, at: Sequence[Array], i: int, out: Array) -> Callable[[Array, Array], Array]:
    """The same, with another value of input `i`."""

    def pull_at(c: Array, x: Array) -> Array:
        _, cache = pair.forward(*at[:i], x, *at[i + 1 :])
        returned = pair.backward(c.reshape(out.shape).astype(out.dtype), cache)
        return np.asarray(returned[i] if isinstance(returned, (tuple, list)) else returned).ravel()

    return pull_at


def _flat(out: Any) -> Array:
    flat = np.asarray(out).ravel()
    return to_float(flat) if flat.dtype == np.float32 else flat


def _eps(x: Array) -> float:
    return 10.0 ** (1 - DIGITS) if x.dtype == object else float(np.finfo(x.dtype).eps)


def _cotangents(rng: np.random.Generator, out: Array) -> list[Array]:
    drawn = [probes.bounded(rng, out.shape) for _ in range(3)] + [probes.scattered(rng, out.shape)]
    return [exact(c) if out.dtype == object else c.astype(out.dtype) for c in drawn]

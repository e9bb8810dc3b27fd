"""The check itself: one call for any pair of passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.gradcheck import calls, probes
from mabn_ref.gradcheck.compare import Claim, compare
from mabn_ref.gradcheck.exact import DIGITS, exact, to_float
from mabn_ref.gradcheck.result import Result

__all__ = ["check"]


def check(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    inputs: Sequence[Any],
    *,
    names: Sequence[str] | None = None,
    state: Any = None,
    rtol: float | None = None,
    seed: int = 0,
) -> Result:
    """Compare the gradients that `backward` returns with derivatives of `forward` taken numerically.

    The derivatives are those of <c, forward(inputs)> for three random cotangents c: never ones and never the output,
    for which a normaliser's gradient vanishes and every mistake passes. Inputs of up to 64 elements are checked
    element by element, larger ones along three random directions. Float32 inputs are differentiated in float64.

    Parameters
    ----------
    forward : callable
        ``forward(*inputs) -> (out, cache)``, with out an array or a number. It is also called with float64 inputs
        where the caller's are float32, and with a complex one, which it may refuse.
    backward : callable
        ``backward(dout, cache) -> gradients``, one for each input, in order; a single one need not be in a tuple.
        dout has the shape and dtype of out.
    inputs : sequence of arrays of float32 or float64, or of `Exact` numbers
        What to differentiate by. Everything else (labels, state, configuration) is closed over by the two functions.
    names : sequence of str, optional
        The inputs' names; those of the parameters of `forward` by default.
    state : optional
        Anything the functions close over that must not change: arrays and numbers in tuples, lists and dicts.
    rtol : float, optional
        Tolerance of an error relative to the input's largest derivative, both per spread of the input's channel. By
        default 1e-7 (5e-3 for a forward that stays float32, 1e-25 for exact numbers), or as much as rounding may give
        for the inputs' dtype and offset, at most 1e-2.
    seed : int
        Seed of cotangents and directions.

    Returns
    -------
    Result
        Verdict, worst errors by each method, worst element and Taylor remainder, for each input.

    Raises
    ------
    TypeError
        If an input, the output or a gradient has another dtype, or `forward` does not return a pair.
    ValueError
        If there are no inputs, names or gradients are not as many, a gradient's shape is not its input's, an input,
        output or gradient is empty or not finite, or `forward` is not finite next to the inputs.

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
      x: wrong; worst error by central differences 4.6e-01, by complex step 4.6e-01; Taylor 2.4e-01 (order 1.00)
        at x[1] backward says 1.11943345, differences say 0.602124046 (step 9.8e-04)
    """
    arrays = calls.read_inputs(inputs)
    names = calls.read_names(names, forward, len(arrays))
    rng = np.random.default_rng(seed)
    rehearsed = calls.rehearse(forward, backward, arrays, names, state, lambda out: _cotangent(rng, out))
    if rehearsed.violations:
        return Result((), rehearsed.violations, float("nan"), seed)
    at = tuple(x.astype(np.float64) if x.dtype == np.float32 else x for x in arrays)
    try:
        center, _ = calls.run_forward(forward, at)
    except Exception as error:
        error.add_note("forward raised this for its inputs in float64, in which they are differentiated")
        raise
    spreads = [probes.spread(x) for x in at]
    far = max(float(np.max(np.abs(to_float(x)) / spread)) for x, spread in zip(at, spreads, strict=True))
    rounding = 1e3 * max(far, 1.0) * (_eps(center) if center.dtype == object else max(map(_eps, (center, *arrays))))
    least = {np.dtype(object): 1e-25, np.dtype(np.float64): 1e-7, np.dtype(np.float32): 5e-3}[center.dtype]
    found = []
    with np.errstate(all="ignore"):
        for i, name in enumerate(names):
            claim = Claim(
                name=name,
                function=_of_input(forward, at, i),
                x=at[i],
                units=spreads[i].ravel(),
                center=_flat(center),
                cotangents=np.stack([c.ravel() for c in rehearsed.cotangents]),
                gradients=np.stack([gradients[i].ravel() for gradients in rehearsed.gradients]),
                rtol=min(max(least, rounding), 1e-2) if rtol is None else rtol,
                rounding=rounding,
                eps=_eps(center),
                conditioning=max(far, 1.0),
            )
            found.append(compare(claim, rng))
    return Result(tuple(found), (), claim.rtol, seed)


def _of_input(forward: Callable[..., Any], at: Sequence[Array], i: int) -> Callable[[Array], Array]:
    """The flattened output as a function of input `i` alone."""
    return lambda x: _flat(forward(*at[:i], x, *at[i + 1 :])[0])


def _flat(out: Any) -> Array:
    flat = np.asarray(out).ravel()
    return to_float(flat) if flat.dtype == np.float32 else flat


def _eps(x: Array) -> float:
    return 10.0 ** (1 - DIGITS) if x.dtype == object else float(np.finfo(x.dtype).eps)


def _cotangent(rng: np.random.Generator, out: Array) -> Array:
    drawn = probes.bounded(rng, out.shape)
    return exact(drawn) if out.dtype == object else drawn.astype(out.dtype)

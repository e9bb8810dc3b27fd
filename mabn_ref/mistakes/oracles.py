"""Four ways to find a pass wrong, none of which relies on the pass itself.

``forward``
    The output, and that of inference, against the definition in `plain`, call by call, from the implementation's own
    state.
``gradient``
    Backward against numerical derivatives of forward (`mabn_ref.gradcheck`). Where backward by design is not that
    derivative, against what it is the derivative of: for Batch Renormalization, forward with r and d held.
``one-call derivative``
    MABN's backward against numerical derivatives of one call, r held at its number. With a window in which every
    earlier Psi is zero, (20) is that derivative: the earlier batches are numbers to this call. And the Psi that
    enters the window against its definition, (1/M) dL(a y)/da at a = 1.
``recurrence``
    Several calls, forward and backward in turn, all outputs, gradients and states against `plain` from the start.

``gradient`` accepts a wrong forward that comes with its own derivative; ``forward`` accepts any backward. That is why
there are four.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mabn_ref import gradcheck
from mabn_ref.arrays import Array
from mabn_ref.mistakes import plain
from mabn_ref.mistakes.derivatives import held_output, passes, state_before_last
from mabn_ref.mistakes.one_call import as_one_call
from mabn_ref.mistakes.random_inputs import Calls
from mabn_ref.mistakes.random_layer_inputs import Call, Steps

RTOL = 1e-9  #: tolerance against a definition, relative to the size of the quantity in its channel


@dataclass(frozen=True)
class Verdict:
    """What an oracle says."""

    accepted: bool  #: whether it found nothing
    error: float  #: the worst relative error; infinite where a shape is wrong or a number is not finite
    evidence: str  #: where that is


def _compared(what: str, got: Any, expected: Any, scale: Any) -> Verdict:
    """The verdict on one quantity, whose terms are as large as `scale`."""
    if np.shape(got) != np.shape(expected):
        return Verdict(False, float("inf"), f"{what} has shape {np.shape(got)}, expected {np.shape(expected)}")
    errors = np.abs(got - expected) / np.where(np.asarray(scale) > 0, scale, 1.0)
    errors = np.where(np.isfinite(errors), errors, np.inf)
    at = np.unravel_index(np.argmax(errors), errors.shape)
    error, where = float(errors[at]), f"{what}{list(map(int, at))}"
    said = f"{where} is {got[at]:.9g}, expected {expected[at]:.9g}" if error else "all equal"
    return Verdict(error <= RTOL, error, said)


def _worst(found: list[Verdict]) -> Verdict:
    return max(found, key=lambda verdict: verdict.error)


def _size(a: Array) -> Array:
    """The largest number of each channel."""
    return np.max(np.abs(a), axis=tuple(range(a.ndim - 1)))


def _spread(a: Array) -> Array:
    return np.ptp(a.reshape(-1, a.shape[-1]), axis=0)


def forward(subject: str, implementation: Any, inputs: Calls | Call) -> Verdict:
    """Compare the outputs of forward and of inference with their definitions.

    `implementation` is anything with the functions of the module that is named `subject`, of `mabn_ref.norms` or
    `mabn_ref.nn`; `inputs` are float64, of a draw of `mabn_ref.mistakes.random_inputs` for that module.

    Examples
    --------
    >>> from mabn_ref.mistakes import named, wrong
    >>> mistake = named("bn-no-eps")
    >>> inputs = mistake.draw(np.random.default_rng(0))
    >>> [forward("batch_norm", layer, inputs).accepted for layer in (wrong(mistake), mistake.subject)]
    [False, True]
    """
    implementation = as_one_call(subject, implementation)
    if isinstance(inputs, Call):
        out, _ = implementation.forward(*inputs.inputs, **inputs.options)
        expected = plain.LAYERS[subject](*inputs.inputs, **inputs.options)
        return _compared("out", out, expected, np.max(np.abs(expected)))
    config, gamma, beta = inputs.config, inputs.gamma, inputs.beta
    state, found = implementation.init(len(gamma), config, dtype=gamma.dtype), []
    for k, x in enumerate(inputs.xs, 1):
        expected = _definition(subject, inputs, state).forward(x, gamma, beta)
        z, _, state = implementation.forward(x, gamma, beta, state, config)
        found.append(_compared(f"z of call {k}", z, expected, _size(expected) + np.abs(beta)))
    return _worst([*found, _inferred(subject, implementation, inputs, state)])


def _inferred(subject: str, implementation: Any, inputs: Calls, state: Any) -> Verdict:
    """The verdict on inference after all calls.

    The definition infers from the implementation's own state: EvalNorm magnifies its rounding in samples that hardly
    vary.
    """
    arguments = inputs.xs[-1], inputs.gamma, inputs.beta
    expected = _definition(subject, inputs, state).infer(*arguments)
    z = implementation.infer(*arguments, state, inputs.config)
    return _compared("inferred z", z, expected, _size(expected) + np.abs(inputs.beta))


def _definition(subject: str, inputs: Calls, state: Any) -> Any:
    """The definition, going on from a state of the implementation."""
    definition = plain.NORMALISERS[subject](len(inputs.gamma), inputs.config)
    samples = len(inputs.xs[0])
    definition.load(state, samples // (getattr(inputs.config, "norm_batch", None) or samples))
    return definition


def recurrence(subject: str, implementation: Any, inputs: Calls | Steps) -> Verdict:
    """Compare a run, everything it returns and every state, with the run of the definitions.

    Examples
    --------
    >>> from mabn_ref.mistakes import named, wrong
    >>> mistake = named("bn-weights-swapped")
    >>> print(recurrence("batch_norm", wrong(mistake), mistake.draw(np.random.default_rng(0))).evidence)
    state.mean after call 1[0] is -1.85066461, expected -0.380978919
    """
    if isinstance(inputs, Steps):
        return _recurrence_of_steps(implementation, inputs)
    implementation = as_one_call(subject, implementation)
    config, gamma, beta = inputs.config, inputs.gamma, inputs.beta
    state = implementation.init(len(gamma), config, dtype=gamma.dtype)
    right, found = plain.NORMALISERS[subject](len(gamma), config), []
    for k, (x, dz) in enumerate(zip(inputs.xs, inputs.dzs, strict=True), 1):
        expected = [right.forward(x, gamma, beta), *right.backward(dz)]
        z, cache, state = implementation.forward(x, gamma, beta, state, config)
        *gradients, state = implementation.backward(dz, cache, state)
        scales = _scales(x, dz, expected[0], expected[1], right.state(), inputs) | right.sizes
        for what, ours, theirs in zip(("z", "dx", "dgamma", "dbeta"), (z, *gradients), expected, strict=True):
            found.append(_compared(f"{what} of call {k}", ours, theirs, scales[what]))
        for name, value in right.state().items():
            ours = np.asarray(getattr(state, name))
            found.append(_compared(f"state.{name} after call {k}", ours, value, scales[name]))
    return _worst([*found, _inferred(subject, implementation, inputs, state)])


def _recurrence_of_steps(implementation: Any, inputs: Steps) -> Verdict:
    found = []
    params, velocity = inputs.params, implementation.init(inputs.params)
    definition = plain.sgd(inputs.params, inputs.grads, **inputs.options)
    for k, (grads, expected) in enumerate(zip(inputs.grads, definition, strict=True), 1):
        params, velocity = implementation.step(params, grads, velocity, **inputs.options)
        for what, ours, theirs in zip(("parameter", "velocity"), (params, velocity), expected, strict=True):
            for layer, those in zip(ours, theirs, strict=True):
                for name, value in those.items():
                    size = np.max(np.abs(value))
                    found.append(_compared(f"{what} {name} of step {k}", layer[name], value, size))
    return _worst(found)


def _scales(x: Array, dz: Array, z: Array, dx: Array, state: dict[str, Any], inputs: Calls) -> dict[str, Any]:
    """How large each quantity of a channel is, or would be if its terms did not cancel."""
    normalised = _size(z - inputs.beta)
    summed = np.sum(np.abs(dz), axis=tuple(range(dz.ndim - 1)))
    slope = np.divide(_spread(z), _spread(x), out=np.zeros(len(inputs.gamma)), where=_spread(x) > 0)
    scales = {
        "z": _size(z) + np.abs(inputs.beta),
        "dx": _size(dx) + _size(dz) * slope,
        "dgamma": summed * normalised / np.abs(inputs.gamma),
        "dbeta": summed,
        "iteration": 1.0,
    }
    if "mean" in state:
        # Where sigma is what is averaged, var is what is left of its square without eps.
        averaged = getattr(inputs.config, "ema_of", "var")
        scales["var"] = state["var"] + (inputs.config.eps if averaged == "sigma" else 0.0)
        scales["mean"] = np.abs(state["mean"]) + np.sqrt(scales["var"])
    if "chi2" in state:
        scales["chi2"] = state["chi2"]
    if "psi_window" in state:
        scales["chi2_window"] = _size(state["chi2_window"])
        scales["psi_window"] = _size(state["psi_window"]) + _size(dz) * normalised
    return scales


def gradient(subject: str, implementation: Any, inputs: Calls | Call) -> Verdict:
    """Compare backward with numerical derivatives of forward, in the last call; for BRN with r and d held.

    MABN's backward is not a derivative of its forward, and has `one_call_derivative`.

    Examples
    --------
    >>> from mabn_ref.mistakes import named, wrong
    >>> inputs = named("bn-no-eps").draw(np.random.default_rng(0))
    >>> [gradient("batch_norm", wrong(named(name)), inputs).accepted for name in ("bn-no-eps", "bn-backward-no-eps")]
    [True, False]
    """
    forward, backward, arrays = passes(subject, implementation, inputs)
    # cotangents and directions are others for other inputs
    result = gradcheck.check(forward, backward, arrays, seed=zlib.crc32(arrays[0].tobytes()))
    accepted = result.verdict in ("ok", "not differentiable here")
    if not result.inputs:
        return Verdict(accepted, float("inf"), "; ".join(result.violations))
    return Verdict(accepted, result.worst.error, str(result.worst))


def one_call_derivative(subject: str, implementation: Any, inputs: Calls) -> Verdict:
    """Compare MABN's backward, with earlier Psi zero, and its Psi with numerical derivatives of one call.

    It looks at one normalisation batch, the first of the inputs' last call, after all the other calls.

    Examples
    --------
    >>> from mabn_ref.mistakes import named, wrong
    >>> mistake = named("mabn-psi-of-this-batch")
    >>> inputs = mistake.draw(np.random.default_rng(0))
    >>> [one_call_derivative("mabn", layer, inputs).accepted for layer in (wrong(mistake), mistake.subject)]
    [False, True]
    """
    verdict = gradient(subject, implementation, inputs)
    if not verdict.accepted:
        return verdict
    one, gamma, beta = slice(inputs.config.norm_batch), inputs.gamma, inputs.beta
    x, dz = inputs.xs[-1][one], inputs.dzs[-1][one]
    state = state_before_last(implementation, inputs)
    _, held, after = implementation.forward(x, gamma, beta, state, inputs.config)

    def loss(y: Array) -> Array:
        """The loss of one channel is linear in y, so that its difference over any step is its derivative."""
        return (dz * held_output(y, held, x, gamma, beta)).reshape(-1, len(gamma)).sum(axis=0)

    psi = (loss(1.5 * held.y) - loss(0.5 * held.y)) / held.y.shape[1]
    entered = np.asarray(implementation.backward(dz, held, after)[3].psi_window[-1])
    found = _compared("state.psi_window[-1]", entered, psi, np.abs(psi) + _size(dz * inputs.gamma))
    return verdict if found.accepted else found


ORACLES: dict[str, Callable[[str, Any, Any], Verdict]] = {
    "forward": forward,
    "gradient": gradient,
    "one-call derivative": one_call_derivative,
    "recurrence": recurrence,
}
"""The oracles, by the names that mistakes give."""

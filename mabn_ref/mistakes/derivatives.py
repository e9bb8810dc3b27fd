"""The function whose derivative each backward pass must be, ready for `mabn_ref.gradcheck.check`.

For layers, batch norm, modified batch norm and group norm it is forward itself. For Batch Renormalization it is
forward with r and d held at their numbers. For MABN it is one call with r held and the earlier batches of both
windows as numbers: with every earlier Psi zero, (20) is the derivative. For Online Normalization it is one sample
with both control variables zero. For others their definitions say it (`HELD`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mabn_ref.arrays import Array
from mabn_ref.gradcheck import exact
from mabn_ref.mistakes.one_call import as_one_call
from mabn_ref.mistakes.plain import NORMALISERS
from mabn_ref.mistakes.random_inputs import Calls
from mabn_ref.mistakes.random_layer_inputs import Call

HELD = {name: kind.held for name, kind in NORMALISERS.items() if kind.held} | {"moving_statistics": "batch's"}
"""Of what each backward pass is the derivative, where that is not all of forward, as its definition has it; there is
none of moving statistics."""


def passes(
    subject: str, implementation: Any, inputs: Calls | Call
) -> tuple[Callable[..., tuple[Array, Any]], Callable[..., Any], tuple[Array, ...]]:
    """Return forward, backward and inputs of one call: a layer's, or the last of a normaliser's.

    `subject` is the module's name, such as "batch_norm", and `implementation` the module or a version of it. Where
    backward depends on earlier batches, the call is of one normalisation batch. If the implementation is right,
    backward is the derivative of forward with respect to all inputs.

    Examples
    --------
    >>> import numpy as np
    >>> from mabn_ref.gradcheck import check
    >>> from mabn_ref.mistakes.random_inputs import calls
    >>> from mabn_ref.norms import batch_renorm
    >>> inputs = calls(batch_renorm)(np.random.default_rng(0))
    >>> check(*passes("batch_renorm", batch_renorm, inputs)).verdict
    'ok'
    """
    implementation = as_one_call(subject, implementation)
    if isinstance(inputs, Call):

        def layer(*arrays: Array) -> tuple[Array, Any]:
            out: tuple[Array, Any] = implementation.forward(*arrays, **inputs.options)
            return out

        return layer, implementation.backward, inputs.inputs
    x, gamma, beta, config = inputs.xs[-1], inputs.gamma, inputs.beta, inputs.config
    state = state_before_last(implementation, inputs)
    earlier = [name for name in ("psi_window", "u", "v") if hasattr(state, name)]
    if earlier:
        x = x[: getattr(config, "norm_batch", 1)]
        state = state._replace(**{name: 0 * getattr(state, name) for name in earlier})
    _, held, after = implementation.forward(x, gamma, beta, state, config)

    def one_call(x: Array, gamma: Array, beta: Array) -> tuple[Array, Any]:
        z, cache, _ = implementation.forward(x, gamma, beta, state, config)
        return (held_output(cache.y, held, x, gamma, beta) if hasattr(held, "r") else z), cache

    def back(dz: Array, cache: Any) -> tuple[Array, ...]:
        return tuple(implementation.backward(dz, cache, after)[:3])

    return one_call, back, (x, gamma, beta)


def state_before_last(implementation: Any, inputs: Calls) -> Any:
    """Return the state after all calls but the last."""
    state = implementation.init(len(inputs.gamma), inputs.config, dtype=float)
    if inputs.gamma.dtype == object:
        state = exactly(state)
    for x in inputs.xs[:-1]:
        _, _, state = implementation.forward(x, inputs.gamma, inputs.beta, state, inputs.config)
    return state


def held_output(y: Array, held: Any, x: Array, gamma: Array, beta: Array) -> Array:
    """Return the output for this y and the r and d of the cache `held`, whatever x is."""
    z = held.r.reshape(len(y), 1, -1) * y
    if hasattr(held, "d"):
        z = z + held.d.reshape(len(y), 1, -1)
    return (gamma * z + beta).reshape(x.shape)


def exactly(tree: Any) -> Any:
    """Turn the float arrays of inputs or of a state into arrays of exact numbers."""
    if isinstance(tree, tuple | list):
        values = [exactly(value) for value in tree]
        return type(tree)(*values) if hasattr(tree, "_fields") else type(tree)(values)
    if isinstance(tree, dict):
        return {name: exactly(value) for name, value in tree.items()}
    return exact(tree) if getattr(getattr(tree, "dtype", None), "kind", "") == "f" else tree

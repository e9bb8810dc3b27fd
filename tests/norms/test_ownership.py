"""Nothing that a caller does to his arrays between forward and backward changes what backward returns."""

from __future__ import annotations

import dataclasses
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from mabn_ref.norms import NORMS, batch_norm, eval_norm, mabn_variants, moving_statistics, online_norm


def case(module: Any, options: Any) -> tuple[Any, dict[str, Any]]:
    """A module and settings with which two normalisation batches make a call, where it has such."""
    fields = {field.name for field in dataclasses.fields(module.Config)}
    return module, ({"norm_batch": 2} if "norm_batch" in fields else {}) | dict(options)


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    norm.module.__name__.rpartition(".")[2]: case(norm.module, {**norm.example, **norm.settings})
    for norm in reversed(NORMS.values())
} | {
    "one group": (batch_norm, {}),
    "eval_norm, estimated": case(eval_norm, {"estimated": True}),
    "mabn_variants": case(mabn_variants, {"window": 3, "warmup": 3, "partial_window": "batch"}),
    "moving_statistics": case(moving_statistics, {"forward": "sma", "backward": "ema", "window": 3}),
    "online_norm, unscaled": (online_norm, {"layer_scaling": False}),
}
each = pytest.mark.parametrize("name", CASES)


def arrays(*things: Any) -> list[np.ndarray]:
    """Every array of tuples and lists of them."""
    found: list[np.ndarray] = []
    for thing in things:
        if isinstance(thing, np.ndarray):
            found.append(thing)
        elif isinstance(thing, tuple | list):
            found += arrays(*thing)
    return found


def copies(state: Any) -> Any:
    return type(state)(*(np.copy(s) if isinstance(s, np.ndarray) else s for s in state))


def draw(module: Any, options: dict[str, Any]) -> tuple[Any, list[np.ndarray], Any]:
    """A configuration, x and dz of two calls, gamma and beta, and a state that has seen something."""
    rng, config = np.random.default_rng(0), module.Config(**options)
    x, dz, x2, dz2 = rng.standard_normal((4, 6, 3, 4)) + 1
    gamma, beta = rng.uniform(0.5, 2, 4), rng.standard_normal(4)
    _, cache, state = module.forward(x2, gamma, beta, module.init(4, config, dtype=float), config)
    return config, [x, dz, x2, dz2, gamma, beta], module.backward(dz2, cache, state)[3]


def spoil(*things: Any) -> None:
    for array in arrays(*things):
        array[...] = np.random.default_rng(1).standard_normal(array.shape) * 7


@each
@pytest.mark.parametrize("back", ["backward", "backward_graph"])
def test_what_is_overwritten_after_forward_changes_no_gradient(name: str, back: str) -> None:
    """Forward twice, backward twice, every array of the caller's overwritten as soon as he may."""
    module, options = CASES[name]
    if not hasattr(module, back):
        back = "backward"  # Online Normalization has no graph
    results = []
    for disturbed in (False, True):
        config, (x, dz, x2, dz2, gamma, beta), old = draw(module, options)
        z, first, state = module.forward(x, gamma, beta, old, config)
        x, gamma_, beta_ = x.copy(), gamma.copy(), beta.copy()
        if disturbed:
            spoil(z, old)
        z2, second, state = module.forward(x2, gamma, beta, state, config)
        if disturbed:
            spoil(x, x2, gamma, beta, z2)
        *grads, state = getattr(module, back)(dz, first, state)
        kept = [g.copy() for g in grads]
        if disturbed:
            spoil(dz, grads)
        *others, state = getattr(module, back)(dz2, second, state)
        results.append([*kept, *others, *arrays(state), module.infer(x2 * 0 + 2, gamma_, beta_, state, config)])
    for right, ours in zip(*results, strict=True):
        np.testing.assert_array_equal(ours, right)


@each
def test_a_cache_shares_no_memory_with_what_the_caller_holds(name: str) -> None:
    module, options = CASES[name]
    config, (x, dz, _, _, gamma, beta), old = draw(module, options)
    z, cache, state = module.forward(x, gamma, beta, old, config)
    before = [a.copy() for a in arrays(tuple(cache))]
    dx, dgamma, dbeta, after = module.backward(dz, cache, state)
    for kept in arrays(tuple(cache)):
        for held in arrays(x, z, gamma, beta, old, state, dz, dx, dgamma, dbeta, after):
            assert not np.shares_memory(kept, held)
    for kept, was in zip(arrays(tuple(cache)), before, strict=True):
        np.testing.assert_array_equal(kept, was)
    results = arrays(dx, dgamma, dbeta, z, state)
    for one, other in permutations(range(len(results)), 2):
        assert not np.shares_memory(results[one], results[other])


@each
def test_the_new_state_shares_no_memory_with_the_old_one_or_within_itself(name: str) -> None:
    module, options = CASES[name]
    config, (x, _, _, _, gamma, beta), old = draw(module, options)
    _, _, state = module.forward(x, gamma, beta, old, config)
    assert not any(np.shares_memory(a, b) for a in arrays(state) for b in arrays(old))
    start = arrays(module.init(4, config, dtype=float))
    assert not any(np.shares_memory(a, b) for a, b in permutations(start, 2))


@each
def test_inputs_are_never_changed(name: str) -> None:
    """Read-only arrays go in everywhere."""
    module, options = CASES[name]
    config, given, old = draw(module, options)
    for array in arrays(given, old):
        array.flags.writeable = False
    x, dz, _, _, gamma, beta = given
    _, cache, state = module.forward(x, gamma, beta, old, config)
    for array in arrays(tuple(cache), state):
        array.flags.writeable = False
    for call in (module.backward, getattr(module, "backward_graph", module.backward)):
        call(dz, cache, state)
    module.gradient_statistics(dz, cache)
    module.infer(x, gamma, beta, state, config)
    if hasattr(module, "affine") and not getattr(config, "layer_scaling", False):
        module.affine(gamma, beta, state, config)


@each
def test_both_orders_of_two_calls_agree(name: str) -> None:
    """Forward, forward, backward, backward is forward, backward, forward, backward."""
    module, options = CASES[name]
    config, (x, dz, x2, dz2, gamma, beta), start = draw(module, options)
    _, first, state = module.forward(x, gamma, beta, start, config)
    _, second, state = module.forward(x2, gamma, beta, state, config)
    *grads, state = module.backward(dz, first, state)
    *more, state = module.backward(dz2, second, state)
    together = [*grads, *more, *state]
    _, first, state = module.forward(x, gamma, beta, start, config)
    *grads, state = module.backward(dz, first, state)
    _, second, state = module.forward(x2, gamma, beta, state, config)
    *more, state = module.backward(dz2, second, state)
    for ours, right in zip(together, [*grads, *more, *state], strict=True):
        np.testing.assert_array_equal(ours, right)

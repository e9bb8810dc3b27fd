"""The oracles: they reject every mistake and no right pass, and what one is blind to, another sees."""

from __future__ import annotations

import zlib
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mabn_ref import gradcheck
from mabn_ref.mistakes import MISTAKES, Mistake, named, wrong
from mabn_ref.mistakes.oracles import ORACLES, forward, gradient, one_call_derivative, recurrence
from mabn_ref.mistakes.random_inputs import RIGHT_DRAWS, Calls, calls
from mabn_ref.mistakes.tally import right_passes, tally_right, tally_wrong
from mabn_ref.nn import linear, optimiser
from mabn_ref.norms import (
    NORMS,
    batch_norm,
    batch_renorm,
    eval_norm,
    mabn,
    modified_batch_norm,
)
from tests.strategies import many


def short(value: Any) -> str:
    return getattr(value, "__name__", str(value)).rpartition(".")[2]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_its_oracle_rejects_every_mistake(mistake: Mistake) -> None:
    draws = many(2, 5)
    tally = tally_wrong(mistake, draws)
    assert tally.as_hoped == draws, tally
    assert tally.closest > 1e-5, "close to what rounding gives"


@pytest.mark.parametrize(("module", "oracle"), right_passes(), ids=short)
def test_every_right_pass_is_accepted(module: ModuleType, oracle: str) -> None:
    draws = many(8, 25)
    tally = tally_right(module, oracle, draws)
    assert tally.as_hoped == draws, tally


BY_DESIGN = [norm.module for norm in NORMS.values() if "backward_iteration" in norm.module.State._fields]
"""Their backward averages over batches: it is not the derivative of their forward."""


@pytest.mark.parametrize(
    "name",
    [m.name for m in MISTAKES if m.subject not in (*BY_DESIGN, optimiser) and m.oracle != "gradient"],
)
def test_a_gradient_cannot_see_a_forward_that_comes_with_its_own_derivative(name: str) -> None:
    mistake = named(name)
    for seed in range(many(1, 3)):
        inputs = mistake.draw(np.random.default_rng(seed))
        verdict = gradient(mistake.subject_name, wrong(mistake), inputs)
        assert verdict.accepted, verdict


def test_a_cotangent_of_ones_would_not_see_a_missing_psi() -> None:
    """Why the oracles draw theirs: with ones BN's dx is 0, with or without Psi. eq: bn-backward"""
    inputs = draw_right(batch_norm, 0)
    state = batch_norm.init(len(inputs.gamma), inputs.config, dtype=np.float64)
    _, cache, state = batch_norm.forward(inputs.xs[0], inputs.gamma, inputs.beta, state, inputs.config)
    missing, ones = wrong(named("bn-no-psi")), np.ones(inputs.xs[0].shape)
    dx, right = missing.backward(ones, cache, state)[0], batch_norm.backward(ones, cache, state)[0]
    assert np.max(np.abs(dx - right)) < 1e-12 * np.max(np.abs(inputs.gamma / cache.sigma))
    assert not gradient("batch_norm", missing, inputs).accepted


def test_brn_through_r_and_d_is_the_derivative_of_forward_and_plain_brn_is_not() -> None:
    """eq: brn-backward"""
    settings = {"groups": 1, "r_max": 50.0, "d_max": 50.0, "decay": 0.9}
    differentiated = wrong(named("brn-r-and-d-differentiated"))
    for seed in range(5):
        inputs = calls(batch_renorm, **settings)(np.random.default_rng(seed))
        verdicts = [naive_check(module, inputs).verdict for module in (differentiated, batch_renorm)]
        assert verdicts == ["ok", "wrong"]


@pytest.mark.parametrize("groups", [1, 3])
def test_the_derivative_of_one_call_is_the_derivative_of_forward_and_plain_mabn_is_not(groups: int) -> None:
    """eq: mabn-backward"""
    settings = {"groups": groups, "clip": 1.0, "window": 4, "warmup": 0, "count": 5}
    alone = wrong(named("mabn-derivative-of-one-call"))
    for seed in range(5):
        inputs = calls(mabn, **settings)(np.random.default_rng(seed))
        assert [naive_check(module, inputs).verdict for module in (alone, mabn)] == ["ok", "wrong"]


def naive_check(module: Any, inputs: Calls) -> gradcheck.Result:
    """Backward against differences of forward as they are, after a run in which Psi has not been zero."""
    state = module.init(len(inputs.gamma), inputs.config, dtype=np.float64)
    for x, dz in zip(inputs.xs[:-1], inputs.dzs[:-1], strict=True):
        _, cache, state = module.forward(x, inputs.gamma, inputs.beta, state, inputs.config)
        state = module.backward(dz, cache, state)[3]

    def passes(x: Any, gamma: Any, beta: Any) -> Any:
        return module.forward(x, gamma, beta, state, inputs.config)[:2]

    *_, after = module.forward(inputs.xs[-1], inputs.gamma, inputs.beta, state, inputs.config)
    return gradcheck.check(
        passes, lambda dz, cache: module.backward(dz, cache, after)[:3], (inputs.xs[-1], inputs.gamma, inputs.beta)
    )


def scaled(function: Any, place: int | str, factor: float) -> Any:
    """The function with one of its results, or one field of the state it returns last, a little off."""

    def off(*arguments: Any, **keywords: Any) -> Any:
        results = function(*arguments, **keywords)
        if not isinstance(results, tuple):
            return results * factor
        if isinstance(place, str):
            value = getattr(results[-1], place)
            changed = value + 1 if isinstance(value, int) else np.asarray(value) * factor
            return *results[:-1], results[-1]._replace(**{place: changed})
        return *results[:place], results[place] * factor, *results[place + 1 :]

    return off


OUTPUTS = [("forward", 0), ("infer", 0), ("backward", 0), ("backward", 1), ("backward", 2)]
STATES = {
    batch_norm: ("mean", "var"),
    batch_renorm: ("mean", "var", "iteration"),
    modified_batch_norm: ("chi2",),
    mabn: ("chi2", "chi2_window", "iteration"),
}
QUANTITIES = [(module, *output) for module in STATES for output in OUTPUTS]
QUANTITIES += [(module, "forward", field) for module, fields in STATES.items() for field in fields]
QUANTITIES += [(mabn, "backward", "psi_window")]


@pytest.mark.parametrize(("module", "function", "place"), QUANTITIES, ids=short)
def test_the_recurrence_sees_a_millionth_in_anything_returned(
    module: ModuleType, function: str, place: int | str
) -> None:
    subject = module.__name__.rpartition(".")[2]
    settings = {"window": 3} if module is mabn else {}
    inputs = calls(module, eps=1e-5, **settings)(np.random.default_rng(3))
    for factor, accepted in ((1 + 1e-6, False), (1 + 1e-12, True)):
        if place == "iteration" and accepted:
            continue
        changed = scaled(getattr(module, function), place, factor)
        verdict = recurrence(subject, SimpleNamespace(**{**vars(module), function: changed}), inputs)
        assert verdict.accepted is accepted, verdict


def test_what_a_state_owes_to_rounding_is_not_held_against_inference() -> None:
    """Its b is off by 5e-13, and the samples vary so little that the output is off by 4e-9."""
    rng = np.random.default_rng([zlib.crc32(b"eval_norm"), 865])
    assert recurrence("eval_norm", eval_norm, RIGHT_DRAWS[eval_norm](rng)).accepted


def draw_right(module: ModuleType, seed: int) -> Any:
    return RIGHT_DRAWS[module](np.random.default_rng(seed))


@pytest.mark.parametrize("function", ["forward", "infer"])
@pytest.mark.parametrize("module", STATES, ids=short)
def test_forward_sees_a_millionth_in_either_output(module: ModuleType, function: str) -> None:
    changed = SimpleNamespace(**{**vars(module), function: scaled(getattr(module, function), 0, 1 + 1e-6)})
    assert not forward(module.__name__.rpartition(".")[2], changed, draw_right(module, 0)).accepted


@pytest.mark.parametrize(
    ("oracle", "module"),
    [(gradient, batch_norm), (gradient, batch_renorm), (gradient, modified_batch_norm), (one_call_derivative, mabn)],
    ids=short,
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_derivatives_see_a_millionth_in_any_gradient(oracle: Any, module: ModuleType, place: int) -> None:
    changed = SimpleNamespace(**{**vars(module), "backward": scaled(module.backward, place, 1 + 1e-6)})
    verdict = oracle(module.__name__.rpartition(".")[2], changed, draw_right(module, 0))
    assert not verdict.accepted
    assert ("dx", "gamma", "beta")[place].lstrip("d") in verdict.evidence.split(":")[0]


def test_the_one_call_derivative_sees_a_psi_that_enters_the_window_wrong() -> None:
    """eq: bn-gradient-statistics"""
    changed = SimpleNamespace(**{**vars(mabn), "backward": scaled(mabn.backward, "psi_window", 1 + 1e-6)})
    verdict = one_call_derivative("mabn", changed, draw_right(mabn, 0))
    assert not verdict.accepted
    assert "psi_window" in verdict.evidence


@pytest.mark.parametrize("module", [linear, optimiser], ids=short)
def test_nan_and_wrong_shapes_are_rejected_with_the_reason(module: ModuleType) -> None:
    inputs = draw_right(module, 0)
    if module is linear:
        nan = SimpleNamespace(forward=lambda *a: (linear.forward(*a)[0] * np.nan, None))
        short = SimpleNamespace(forward=lambda *a: (linear.forward(*a)[0][1:], None))
        verdicts = [ORACLES["forward"]("linear", implementation, inputs) for implementation in (nan, short)]
    else:

        def step(*trees: Any, **options: Any) -> Any:
            params, velocity = optimiser.step(*trees, **options)
            return params, [{name: v * np.nan for name, v in layer.items()} for layer in velocity]

        verdicts = [recurrence("sgd", SimpleNamespace(init=optimiser.init, step=step), inputs)]
    assert not any(verdict.accepted for verdict in verdicts)
    assert all(verdict.error == float("inf") for verdict in verdicts)
    assert "is nan, expected" in verdicts[0].evidence
    assert module is optimiser or "has shape" in verdicts[1].evidence


def test_an_impure_pass_is_rejected() -> None:
    def backward(dz: Any, cache: Any, state: Any) -> Any:
        results = batch_norm.backward(dz, cache, state)
        dz *= 2
        return results

    verdict = gradient(
        "batch_norm", SimpleNamespace(**{**vars(batch_norm), "backward": backward}), draw_right(batch_norm, 0)
    )
    assert not verdict.accepted
    assert "dout" in verdict.evidence

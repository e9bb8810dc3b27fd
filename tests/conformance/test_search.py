"""What a target is called: its mistakes, and several things at once."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mabn_ref.conformance.adapters.functions import FunctionsTarget
from mabn_ref.conformance.compare import Case
from mabn_ref.conformance.confusion import applicable
from mabn_ref.conformance.observe import observe
from mabn_ref.conformance.scenarios import MODULES, scenarios
from mabn_ref.conformance.search import Explanation, explain
from mabn_ref.mistakes import Mistake, named, wrong

PORTED = list(applicable())


def explained(norm: str, functions: Any) -> Explanation:
    """What the first scenarios show, cut short."""
    steps = 12 if norm == "mabn" else 8
    told = [s for s in scenarios(norm, norm_batch=4, short=True) if s.name in ("start", "several in a call", "ramps")]
    if norm == "mabn":
        told.append(scenarios(norm, norm_batch=4)[1])
    traces = [observe(FunctionsTarget(functions), norm, replace(s, steps=steps), (2,)) for s in told]
    cases = [Case(norm, trace) for trace in traces]
    return explain(cases, frozenset(vars(cases[0].config)), ())[0]


def names(explanation: Explanation) -> set[str]:
    assert not explanation.unexplained, explanation.unexplained
    return {choice.mistake for _, choice in explanation.choices if choice.mistake}


def both(*mistakes: Mistake) -> SimpleNamespace:
    """An implementation with several mistakes, none of which replaces what another does."""
    code = {name: function for mistake in mistakes for name, function in mistake.code.items()}
    assert len(code) == sum(len(mistake.code) for mistake in mistakes)
    return SimpleNamespace(**{**vars(wrong(mistakes[0])), **code})


@pytest.mark.parametrize("norm", MODULES)
def test_a_right_implementation_is_called_nothing(norm: str) -> None:
    found = explained(norm, MODULES[norm])
    assert not found.choices
    assert not found.unexplained


@pytest.mark.parametrize(("norm", "mistake"), PORTED, ids=[mistake.name for _, mistake in PORTED])
def test_every_mistake_is_called_by_its_name_and_by_no_other(norm: str, mistake: Mistake) -> None:
    found = explained(norm, wrong(mistake))
    assert names(found) == {mistake.name}
    assert [c.words for _, c in found.choices if not c.mistake and not c.accepted] == []


@pytest.mark.parametrize(
    ("norm", "pair"),
    [
        ("bn", ("bn-running-var-over-samples", "bn-no-g")),
        ("bn", ("bn-eps-twice", "bn-infer-no-eps")),
        ("bn", ("bn-variance-starts-at-zero", "bn-parameter-means")),
        ("brn", ("brn-r-of-variance", "brn-r-forgotten-in-backward")),
        ("brn", ("brn-read-after-update", "brn-dgamma-before-corrections")),
        ("mabn", ("mabn-weights-swapped", "mabn-psi-of-this-batch")),
        ("mabn", ("mabn-ema-of-window", "mabn-infer-window")),
        ("mabn", ("mabn-zeros-counted", "mabn-dgamma-before-r")),
    ],
)
def test_several_at_once_are_all_named(norm: str, pair: tuple[str, str]) -> None:
    assert names(explained(norm, both(*map(named, pair)))) == set(pair)


def test_a_wrong_backward_is_told_from_a_wrong_forward() -> None:
    shown = {}
    for name in ("bn-unbiased-variance", "bn-no-psi", "bn-weights-swapped"):
        shown[name] = [tensor for tensor, _ in explained("bn", wrong(named(name))).choices]
    assert shown == {"bn-unbiased-variance": ["z"], "bn-no-psi": ["dx"], "bn-weights-swapped": ["state"]}


def test_what_nothing_reproduces_is_where_it_first_differs() -> None:
    module = MODULES["modified-bn"]

    def forward(x: Any, gamma: Any, beta: Any, state: Any, config: Any) -> Any:
        z, cache, after = module.forward(x, gamma, beta, state, config)
        return np.where(state.chi2 > 1, 1.0, 1.001) * z, cache, after

    found = explained("modified-bn", SimpleNamespace(**{**vars(module), "forward": forward}))
    assert [difference.tensor for difference in found.unexplained] == ["z"]
    assert found.unexplained[0].step == 1
    assert 1e-4 < found.unexplained[0].error < 2e-3

"""Everything that is no mistake but may differ is told by its numbers too."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mabn_ref.conformance.choices import Choice
from mabn_ref.conformance.compare import Case
from mabn_ref.conformance.conventions import Convention, from_config
from mabn_ref.conformance.families import backward, call_of, model_of
from mabn_ref.conformance.hyper import hyper_choices
from mabn_ref.conformance.observe import observe
from mabn_ref.conformance.sample_choices import ALL_CHOICES
from mabn_ref.conformance.scenarios import MODULES, scenarios
from mabn_ref.conformance.search import explain

GIVEN = frozenset({"eps", "decay", "window", "clip", "r_max", "d_max", "norm_batch", "warmup", "groups"}) | {
    "decay_forward",
    "decay_backward",
}
BESIDE: dict[tuple[str, tuple[str, Any]], dict[str, Any]] = {
    ("mabn", ("centred", "yes")): {},
    ("bn", ("fed", "biased")): {"variance": "unbiased"},
    ("gn", ("infer_by", "sample")): {"over": "batch"},
    ("ln", ("infer_by", "sample")): {"over": "batch"},
    ("in", ("infer_by", "sample")): {"over": "batch"},
    ("brn", ("fed", "biased")): {"variance": "unbiased"},
    ("brn", ("moving_eps", "none")): {"average_of": "square"},
    ("bn", ("dx", "formula (4)")): {"eps_at": "outside"},
    ("brn", ("dx", "formula (4)")): {"eps_at": "outside"},
    ("modified-bn", ("dx", "formula (4)")): {"eps_at": "outside"},
}
"""What a choice needs beside it to show."""
DEFAULTS = {("fed_by", "batch"), ("infer_eps", "inside")}
OTHER = [
    (norm, choice)
    for choice in ALL_CHOICES
    if not choice.mistake and choice.changes[0] not in DEFAULTS
    for norm in choice.norms
]


class Bent:
    """The bendable layer as a target."""

    def __init__(self, norm: str, choice: Choice, preset: dict[str, Any] | None = None) -> None:
        self.norm, self.choice, self.preset = norm, choice, preset or {}

    def make(self, channels: int, config: Any) -> dict[str, Any]:
        values = vars(from_config(self.norm, config)) | self.preset
        values |= {name: value(values) if callable(value) else value for name, value in self.choice.changes}
        convention = Convention(**values)
        return {"model": model_of(self.norm, convention, channels), "samples": getattr(config, "norm_batch", 1)}

    def forward(self, layer: Any, x: Any, gamma: Any, beta: Any, training: bool) -> Any:
        model = layer["model"]
        if not training:
            return model.infer(x, gamma, beta)
        return model.forward(call_of(self.norm, x, layer["samples"], model.c), gamma, beta)

    def backward(self, layer: Any, dz: Any) -> Any:
        return backward(layer["model"], dz)

    def state(self, layer: Any) -> dict[str, Any]:
        state = layer["model"].state()
        if not state:
            return {}
        return {"mean": state["mean"] if self.norm in ("bn", "brn") else np.array(0), "var": state["square"]}


def found(norm: str, target: Bent) -> list[Choice]:
    told = [s for s in scenarios(norm, norm_batch=4, short=True) if s.name in ("start", "several in a call")]
    if norm == "mabn":
        told.append(scenarios(norm, norm_batch=4)[1])
    cases = [Case(norm, observe(target, norm, replace(s, steps=10 if norm == "mabn" else 7), (2,))) for s in told]  # type: ignore[arg-type]
    best = explain(cases, GIVEN, ())[0]
    assert not best.unexplained, best.unexplained
    return [choice for _, choice in best.choices]


@pytest.mark.parametrize(("norm", "choice"), OTHER, ids=[f"{n}-{c.changes[0]}" for n, c in OTHER])
def test_a_choice_is_found_or_is_somebodys_convention(norm: str, choice: Choice) -> None:
    words = [c.words for c in found(norm, Bent(norm, choice, BESIDE.get((norm, choice.changes[0]))))]
    if (norm, choice.changes[0]) in BESIDE:
        assert choice.words in words
        assert len(words) <= 2
        return
    assert words in ([choice.words], []), words
    if not words:  # then a preset has it
        assert choice.accepted


def test_a_number_that_is_given_and_not_kept_is_no_convention() -> None:
    kept = {c.words: c.accepted for c in hyper_choices("bn", frozenset({"eps"}), (1e-3, 0.25))}
    assert kept["eps is 0.001, whatever it is given."] is False
    assert kept["decay is 0.75."] is True
    assert MODULES["bn"].Config().eps == 1e-5


def test_a_warm_up_may_be_counted_from_the_first_iteration() -> None:
    longer = next(c for c in hyper_choices("mabn", GIVEN, ()) if "lasts warmup iterations" in c.words)
    assert [c.words for c in found("mabn", Bent("mabn", longer))] == [longer.words]
    assert longer.accepted
    assert longer.words not in [c.words for c in hyper_choices("mabn", frozenset({"window"}), ())]

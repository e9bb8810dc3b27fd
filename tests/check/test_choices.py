"""Whatever may differ is told by its numbers: layers of edited sources, each called by its name."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from mabn_ref.check.choices import CHOICES, LATE
from mabn_ref.check.scenarios import LIKE
from mabn_ref.norms import batch_norm
from tests.check.confusion import applicable
from tests.check.edited import LAYERS, SEVERAL, edited, tracking
from tests.check.judging import GIVEN, judged, told

IDS = [f"{norm}-{name}-{getattr(value, '__name__', value)}" for norm, name, value in LAYERS]


@pytest.mark.parametrize(("norm", "field", "value"), LAYERS, ids=IDS)
def test_what_a_layer_does_otherwise_is_said_and_judged(norm: str, field: str, value: Any) -> None:
    layer = LAYERS[norm, field, value]
    report = judged(norm, layer.target(norm), told(norm), given=GIVEN - set(layer.untaken), space=layer.space)
    choice = next(c for c in CHOICES if c.changes[0] == (field, value) and {norm, LIKE.get(norm)} & set(c.norms))
    assert not report.differences, str(report)
    said = [finding.mistake or finding.words for finding in report.findings]
    name = choice.mistake or choice.words.partition("{")[0]
    rest = [word for word in said if not word.startswith(name)]
    assert len(rest) == len(said) - 1, said
    assert len(rest) == len(layer.beside), said
    assert all(any(word.startswith(one) for word in rest) for one in layer.beside), said
    assert report.conforms is layer.conforms


@pytest.mark.parametrize(("norm", "field", "value"), [key for key, layer in LAYERS.items() if layer.untaken])
def test_a_convention_other_than_what_the_layer_was_given_is_wrong(norm: str, field: str, value: Any) -> None:
    report = judged(norm, LAYERS[norm, field, value].target(norm), told(norm), given=GIVEN)
    assert [finding.accepted for finding in report.findings] == [False], str(report)
    assert not report.differences
    assert not report.conforms


@pytest.mark.parametrize("name", SEVERAL)
def test_several_things_are_said(name: str) -> None:
    norm, layer = SEVERAL[name]
    report = judged(norm, layer.target(norm), told(norm))
    assert not report.differences, str(report)
    said = [finding.mistake or finding.words for finding in report.findings]
    assert len(said) == len(layer.beside), said
    assert all(any(word.startswith(one) for word in said) for one in layer.beside), said
    assert report.conforms is layer.conforms


def test_instance_norm_may_have_the_weights_of_its_averages_exchanged() -> None:
    layer = replace(LAYERS["in", "infer_by", "moving"], wrap=partial(tracking, kept=0.1))
    report = judged("in", layer.target("in"), told("in"))
    assert report.mistakes == ["bn-weights-swapped"]
    assert not report.differences


def test_every_choice_has_a_layer() -> None:
    """The catalogue's own are called by their names in test_search."""
    catalogue = {(norm, mistake.name) for norm, mistake in applicable()}
    offered = {(norm, c.changes[0]) for c in CHOICES for norm in c.norms if (norm, c.mistake) not in catalogue}
    late = {
        (norm, ("stops", LATE)) for norm in ("bn", "brn", "modified-bn", "mabn")
    }  # in test_takes, as it takes age
    missing = offered - {(norm, (name, value)) for norm, name, value in LAYERS}
    assert missing == {("brn", ("average_of", "root"))} | late


def test_an_edit_occurs_once() -> None:
    for old in ("no such line", "state"):
        with pytest.raises(AssertionError, match=f"'{old}' occurs .* times in mabn_ref.norms.batch_norm"):
            edited(batch_norm, ((old, ""),))

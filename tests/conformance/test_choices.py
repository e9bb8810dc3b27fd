"""Whatever may differ is told by its numbers: layers of edited sources, each called by the name of what was edited."""

from __future__ import annotations

from typing import Any

import pytest

from mabn_ref.conformance.confusion import applicable
from mabn_ref.conformance.sample_choices import ALL_CHOICES
from tests.conformance.edited import LAYERS, edited
from tests.conformance.judging import GIVEN, judged, told

IDS = [f"{norm}-{name}-{value}" for norm, name, value in LAYERS]


@pytest.mark.parametrize(("norm", "name", "value"), LAYERS, ids=IDS)
def test_what_a_layer_does_otherwise_is_said_and_judged(norm: str, name: str, value: Any) -> None:
    layer = LAYERS[norm, name, value]
    report = judged(norm, layer.target(norm), told(norm), given=GIVEN - set(layer.untaken))
    choice = next(c for c in ALL_CHOICES if c.changes[0] == (name, value) and norm in c.norms)
    assert not report.differences, str(report)
    said = [finding.mistake or finding.words for finding in report.findings]
    assert (choice.mistake or choice.words[:30]) in [word if choice.mistake else word[:30] for word in said], said
    rest = [word for word in said if word != choice.mistake and word[:30] != choice.words[:30]]
    assert len(rest) == len(layer.beside), said
    assert all(any(word.startswith(one) for word in rest) for one in layer.beside), said
    assert report.conforms is layer.conforms

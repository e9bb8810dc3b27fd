"""Every field of a Config says what it means and what it may be, and the pages show it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from mabn_ref.norms import NORMS, checks, mabn_variants

CONFIGS: dict[str, Any] = {
    config.__module__: config
    for config in [norm.module.Config for norm in NORMS.values()] + [mabn_variants.Config, checks.Ramp]
}


@pytest.mark.parametrize("name", CONFIGS)
def test_every_field_has_a_note_and_a_range(name: str) -> None:
    for field in dataclasses.fields(CONFIGS[name]):
        assert field.metadata["note"], field.name
        assert not field.metadata["note"].endswith("."), f"{field.name}: the page adds the full stop"
        assert checks.expected(field) != "str", field.name

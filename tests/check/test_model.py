"""The bendable layer, bent in no way, is the one of `mabn_ref.norms`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mabn_ref.check.choices import CHOICES
from mabn_ref.check.conventions import PRESETS, Convention, from_config
from mabn_ref.check.observe import observe
from mabn_ref.check.scenarios import ALONE, MODULES, Scenario, scenarios
from mabn_ref.check.target import FunctionsTarget
from mabn_ref.check.tolerance import Case, compared
from mabn_ref.mistakes import MISTAKES
from mabn_ref.norms import batch_renorm, mabn_variants
from tests.check.edited import Stubborn


def errors(norm: str, scenario: Scenario) -> dict[str, float]:
    case = Case(norm, observe(FunctionsTarget(MODULES[norm]), norm, scenario, (2,)))
    return compared(case, from_config(norm, case.config)).errors


@pytest.mark.parametrize("norm", MODULES)
def test_it_is_ours_in_every_scenario(norm: str) -> None:
    """eq: bn-normalise, bn-backward, brn-forward, brn-backward, modified-normalise, modified-backward, mabn-forward,
    mabn-backward, gn-statistics, gn-normalise, gn-backward, affine-backward, online-normalise, online-mean,
    online-variance, online-control-v, online-control-u, online-backward, layer-scaling, layer-scaling-backward"""
    for scenario in scenarios(norm, norm_batch=4, short=True):
        if not scenario.age:
            found = errors(norm, scenario)
            kept = set() if norm in ALONE else {"state"}
            assert set(found) == {"z", "inferred", "dx", "dgamma", "dbeta"} | kept
            limit = 1e-12 if scenario.dtype == "float64" else 2e-5
            assert max(found.values()) < limit, (scenario.name, found)


def convention_of(config: mabn_variants.Config) -> Convention:
    """The convention of MABN, and of what the paper leaves open."""
    return replace(
        from_config("mabn", config),
        partial=config.partial_window,
        fed_by=config.ema_of,
        fed_per=config.ema_per.replace("_", "-"),
        read=config.ema_read,
        start=config.ema_start,
    )


@pytest.mark.parametrize(
    ("settings", "left_open"),
    [
        ({"warmup": 2, "renorm_from": 4}, {"ema_per": "call", "ema_start": "first"}),
        ({}, {"ema_of": "window", "ema_read": "after", "partial_window": "batch"}),
        ({"window": 1, "clip": 1.2}, {}),
    ],
)
@pytest.mark.parametrize("groups", [1, 3])
def test_it_has_every_choice_of_mabn(settings: dict[str, Any], left_open: dict[str, Any], groups: int) -> None:
    """eq: mabn-forward, mabn-renormalise, mabn-backward, ema-forward, sma-backward"""
    every = {"window": 3, "decay": 0.8, **settings}
    scenario = Scenario(name="", norm_batch=2, groups=groups, steps=8, settings=every)
    case = Case("mabn", observe(Stubborn(mabn_variants, left_open), "mabn", scenario, (2,)))
    config = mabn_variants.Config(**vars(case.config) | left_open)
    assert max(compared(case, convention_of(config)).errors.values()) < 1e-12


def test_it_has_both_averages_of_batch_renormalization() -> None:
    """eq: brn-corrections, ema-forward"""
    for ema_of in ("sigma", "var"):
        settings = {"ema_of": ema_of, "r_max": 1.5, "d_max": 0.5, "decay": 0.8}
        assert max(errors("brn", Scenario(name="", norm_batch=4, steps=8, settings=settings)).values()) < 1e-12


def test_choices_name_fields_and_mistakes_that_there_are() -> None:
    fields = {name for choice in CHOICES for name, _ in choice.changes}
    assert fields <= set(vars(Convention()))
    assert {c.mistake for c in CHOICES} - {""} <= {mistake.name for mistake in MISTAKES}
    assert all(choice.words for choice in CHOICES)
    assert all(set(preset.changes) <= set(vars(Convention())) for norm in PRESETS for preset in PRESETS[norm])


def test_presets_of_mabn_are_those_of_its_config() -> None:
    variants = mabn_variants.Config
    for preset, config in zip(
        PRESETS["mabn"], (variants.paper(), variants.megvii(), variants.megvii_grouped()), strict=True
    ):
        theirs, ours = vars(convention_of(config)), vars(convention_of(variants()))
        assert ours | preset.changes == theirs | {"window": 16}
    assert from_config("brn", batch_renorm.Config(ema_of="var")).average_of == PRESETS["brn"][1].changes["average_of"]
    assert np.isfinite(Convention().eps)

"""From the plain values of a run to a normaliser's own configuration."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mabn_ref.nn import dynamic_erf, dynamic_tanh
from mabn_ref.nn.layers import Curve, Norm
from mabn_ref.nn.networks import NETWORKS, small_network
from mabn_ref.norms import (
    batch_norm,
    batch_renorm,
    eval_norm,
    group_norm,
    mabn,
    modified_batch_norm,
    moving_statistics,
)
from mabn_ref.norms.devices import Devices
from mabn_ref.train import loop
from mabn_ref.train.config import build, recipe


@pytest.mark.parametrize(("norm_batch", "window"), [(2, 16), (1, 32), (32, 1)])
def test_mabn_renormalises_after_100_gradient_batches_over_a_window_of_one(norm_batch: int, window: int) -> None:
    module, config = build(recipe("mabn", norm_batch=norm_batch), steps=500)
    assert module is mabn
    assert config == mabn.Config(norm_batch=norm_batch, window=window, renorm_from=100 * window + 1)


def test_a_device_counts_its_own_normalisation_batches() -> None:
    """Window and ramps are in the iterations of one device; the window is as long as on one device."""
    module, config = build(recipe("mabn", devices=8), steps=500)
    assert module == Devices(mabn, 8)
    assert config == mabn.Config(norm_batch=2, window=16, renorm_from=201)
    _, one_each = build(recipe("brn", devices=16), steps=160_000)
    assert [one_each.r_max.at(iteration) for iteration in (5_000, 22_500, 40_000)] == [1, 2, 3]


@pytest.mark.parametrize(("norm", "curve"), [("dyt", dynamic_tanh), ("derf", dynamic_erf)])
def test_a_curve_goes_where_the_normaliser_was_and_asks_for_nothing(norm: str, curve: Any) -> None:
    module, config = build(recipe(norm, norm_batch=1, devices=4), steps=500)
    assert module is curve
    assert config is None
    for network in NETWORKS.values():
        layers = {layer.name: layer for layer in network(module, config, width=4)}
        normalised = {layer.name: layer for layer in network(batch_norm, batch_norm.Config(), width=4)}
        assert list(layers) == list(normalised)
        assert {name for name, layer in layers.items() if isinstance(layer, Curve) and layer.module is curve} == {
            name for name, layer in normalised.items() if isinstance(layer, Norm)
        }
    with pytest.raises(ValueError, match=f"norm_batch is 2 with norm='{norm}', expected 1"):
        recipe(norm, norm_batch=2)


def test_a_normaliser_of_somebody_elses_need_not_be_hashable() -> None:
    own = SimpleNamespace(forward=None)
    assert [layer.module for layer in small_network(own, None) if isinstance(layer, Norm)] == [own] * 7


def test_a_run_with_a_curve_learns_its_slopes() -> None:
    sizes = {"train_size": 64, "test_size": 20, "width": 4, "epochs": 1, "network": "resnet8", "augment": False}
    setup = loop.prepare(recipe("dyt", norm_batch=1, **sizes))
    before = loop.begin(setup)
    *_, after = loop.run(setup, before)
    slopes = [i for i, layer in enumerate(setup.layers) if isinstance(layer, Curve)]
    assert len(slopes) == 9
    for i in slopes:
        assert before.params[i]["alpha"] != after.params[i]["alpha"]


def test_a_window_and_no_wait_can_be_asked_for() -> None:
    _, config = build(recipe("mabn", window=64, renorm_after=0), steps=500)
    assert (config.window, config.renorm_from) == (64, 1)


def test_batch_renormalization_squeezes_ioffes_schedule_into_the_run() -> None:
    # 10,000 gradient batches of 16 normalisation batches: 160k iterations, as many as Ioffe's.
    module, config = build(recipe("brn", norm_batch=2), steps=10_000)
    assert module is batch_renorm
    assert (config.norm_batch, config.decay) == (2, 0.99)
    assert [config.r_max.at(iteration) for iteration in (1, 5_000, 22_500, 40_000, 160_000)] == [1, 1, 2, 3, 3]
    assert [config.d_max.at(iteration) for iteration in (1, 5_000, 15_000, 25_000, 160_000)] == [0, 0, 2.5, 5, 5]


def test_a_run_too_short_for_a_schedule_still_has_one() -> None:
    _, config = build(recipe("brn", norm_batch=32), steps=1)
    assert (config.r_max.at(1), config.d_max.at(1)) == (3.0, 5.0)


def test_the_two_without_a_schedule() -> None:
    assert build(recipe("bn", norm_batch=4, decay=0.7), steps=1) == (
        batch_norm,
        batch_norm.Config(norm_batch=4, decay=0.7),
    )
    assert build(recipe("modified-bn", decay=0.7), steps=1) == (
        modified_batch_norm,
        modified_batch_norm.Config(norm_batch=2, decay=0.7),
    )


def test_ioffes_schedule_can_be_stretched_and_left_out() -> None:
    _, slow = build(recipe("brn", norm_batch=2, ramp=2.0), steps=10_000)
    assert [slow.r_max.at(iteration) for iteration in (10_000, 45_000, 80_000)] == [1, 2, 3]
    _, at_once = build(recipe("brn", norm_batch=2, ramp=0.0), steps=10_000)
    assert (at_once.r_max.at(1), at_once.d_max.at(1)) == (3.0, 5.0)


def test_the_sample_normalisers_and_the_general_one() -> None:
    for name, groups in (("gn", 8), ("ln", 1), ("in", None)):
        assert build(recipe(name, norm_batch=1), steps=1) == (
            group_norm,
            group_norm.Config(groups=groups),
        )
    assert build(recipe("gn", norm_batch=1, groups=4), steps=1)[1].groups == 4
    settings = {"form": "vanilla", "forward_average": "ema", "backward_average": "sma", "clip": 4.0, "d_max": 2.0}
    assert build(recipe("moving", **settings), steps=1) == (
        moving_statistics,
        moving_statistics.Config(
            norm_batch=2, form="vanilla", forward="ema", backward="sma", r_max=4.0, d_max=2.0, renorm_from=1601
        ),
    )


@pytest.mark.parametrize("estimated", [False, True])
def test_eval_norm_has_the_rule_of_thumb_or_estimates(estimated: bool) -> None:
    assert build(recipe("eval-norm", estimated=estimated), steps=1) == (
        eval_norm,
        eval_norm.Config(norm_batch=2, decay=0.98, estimated=estimated),
    )

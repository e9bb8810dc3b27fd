"""Every pass on the device against the same pass on the host, in float64 to ten digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mabn_ref import norms
from mabn_ref.nn import (
    centralize,
    conv2d,
    global_average_pool,
    linear,
    optimiser,
    relu,
    softmax_cross_entropy,
    standardize,
)
from mabn_ref.train.devices import to_device, to_host
from tests.gpu.stand_in import FUNCTIONS
from tests.strategies import parameters, sample

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("batch_norm", {}),
    ("batch_norm", {"norm_batch": 2}),
    ("batch_renorm", {"norm_batch": 2, "r_max": 1.1, "d_max": 0.2}),
    ("batch_renorm", {"norm_batch": 2, "ema_of": "var"}),
    ("modified_batch_norm", {"norm_batch": 2}),
    ("mabn", {"norm_batch": 2, "window": 16}),
    ("mabn", {"norm_batch": 2, "window": 3, "clip": 1.1, "warmup": 5, "renorm_from": 9}),
    ("mabn_variants", {"norm_batch": 2, "window": 3, "clip": 1.1, "ema_of": "window", "renorm_from": 9}),
    ("mabn_variants", {"norm_batch": 2, "window": 40, "partial_window": "batch", "ema_read": "after"}),
    ("mabn_variants", {"norm_batch": 2, "window": 8, "ema_per": "call", "ema_start": "first"}),
    ("group_norm", {"groups": 1}),
    ("moving_statistics", {"norm_batch": 2, "forward": "ema", "backward": "sma", "window": 3}),
    ("moving_statistics", {"norm_batch": 2, "forward": "sma", "backward": "ema", "form": "modified"}),
    ("sync_batch_norm", {}),
    ("online_norm", {"decay_forward": 0.9, "decay_backward": 0.8}),
    ("online_norm", {"decay_forward": 0.9, "decay_backward": 0.8, "layer_scaling": False}),
    ("frozen_batch_norm", {}),
    ("rms_norm", {"axes": "channels"}),
    ("rms_norm", {"axes": "positions"}),
    ("power_norm", {"norm_batch": 2, "decay_backward": 0.8}),
    ("unified_norm", {"norm_batch": 2, "window": 3, "outliers": True}),
    ("eval_norm", {"norm_batch": 2}),
    ("eval_norm", {"norm_batch": 2, "estimated": True}),
]


def same(theirs: Any, ours: Any) -> None:
    """Equal to 1e-10 of the largest entry, and of the same dtype; trees of states and lists entry by entry."""
    if isinstance(ours, (tuple, list)):
        assert len(theirs) == len(ours)
        for a, b in zip(theirs, ours, strict=True):
            same(a, b)
    elif isinstance(ours, dict):
        assert theirs.keys() == ours.keys()
        same(list(theirs.values()), list(ours.values()))
    elif isinstance(ours, int):
        assert theirs == ours
    else:
        back, ours = to_host(theirs), np.asarray(ours)
        assert not isinstance(theirs, np.ndarray), "the result is on the host"
        assert back.dtype == ours.dtype
        np.testing.assert_allclose(back, ours, rtol=1e-10, atol=1e-10 * max(np.abs(ours).max(), 1e-300))


@pytest.mark.parametrize(("name", "settings"), VARIANTS)
@pytest.mark.parametrize("shape", [(8, 5), (8, 4, 4, 6)])
def test_normalisers(xp: Any, name: str, settings: dict[str, Any], shape: tuple[int, ...]) -> None:
    module, rng = getattr(norms, name), np.random.default_rng(3)
    config = module.Config(**settings)
    gamma, beta = parameters(rng, shape[-1])
    state = module.init(shape[-1], config, dtype=np.float64)
    there = module.init(shape[-1], config, dtype=xp.float64, xp=xp)
    same(there, state)
    scale, shift = to_device([gamma, beta], xp)
    for _ in range(4):
        x, dz = sample(rng, shape), rng.standard_normal(shape)
        x_, dz_ = to_device([x, dz], xp)
        z, cache, state = module.forward(x, gamma, beta, state, config)
        z_, cache_, there = module.forward(x_, scale, shift, there, config)
        same(z_, z)
        same(module.statistics(x_, config), module.statistics(x, config))
        same(module.gradient_statistics(dz_, cache_), module.gradient_statistics(dz, cache))
        if hasattr(module, "backward_graph"):
            same(module.backward_graph(dz_, cache_, there), module.backward_graph(dz, cache, state))
        *grads, state = module.backward(dz, cache, state)
        *grads_, there = module.backward(dz_, cache_, there)
        same(grads_, grads)
        same(there, state)
    same(module.infer(x_, scale, shift, there, config), module.infer(x, gamma, beta, state, config))
    if hasattr(module, "affine") and not getattr(config, "layer_scaling", False):  # else inference is not affine
        same(module.affine(scale, shift, there, config), module.affine(gamma, beta, state, config))


@pytest.mark.parametrize(
    ("side", "channels_out", "kernel", "stride", "padding"),
    [(9, 4, (3, 3), 1, 1), (9, 4, (3, 3), 2, 1), (4, 40, (3, 3), 1, 1), (7, 3, (2, 5), 3, 4), (6, 5, (1, 1), 1, 0)],
)
def test_convolution(
    xp: Any, side: int, channels_out: int, kernel: tuple[int, int], stride: int, padding: int
) -> None:
    rng = np.random.default_rng(4)
    x, w = rng.standard_normal((3, side, side, 4)), rng.standard_normal((*kernel, 4, channels_out))
    out, cache = conv2d.forward(x, w, stride=stride, padding=padding)
    out_, cache_ = conv2d.forward(*to_device([x, w], xp), stride=stride, padding=padding)
    same(out_, out)
    dout = rng.standard_normal(out.shape)
    same(conv2d.backward(to_device(dout, xp), cache_), conv2d.backward(dout, cache))


@pytest.mark.parametrize(
    ("module", "shapes"),
    [
        (centralize, [(3, 3, 4, 5)]),
        (standardize, [(3, 3, 4, 5)]),
        (relu, [(4, 3, 3, 5)]),
        (global_average_pool, [(4, 3, 2, 5)]),
        (linear, [(6, 4), (4, 3), (3,)]),
    ],
)
def test_other_layers(xp: Any, module: Any, shapes: list[tuple[int, ...]]) -> None:
    rng = np.random.default_rng(5)
    inputs = [rng.standard_normal(shape) for shape in shapes]
    out, cache = module.forward(*inputs)
    out_, cache_ = module.forward(*to_device(inputs, xp))
    same(out_, out)
    dout = rng.standard_normal(out.shape)
    same(module.backward(to_device(dout, xp), cache_), module.backward(dout, cache))


def test_loss(xp: Any) -> None:
    rng = np.random.default_rng(6)
    logits, labels = 5 * rng.standard_normal((7, 4)), rng.integers(0, 4, 7)
    loss, cache = softmax_cross_entropy.forward(logits, labels)
    loss_, cache_ = softmax_cross_entropy.forward(*to_device([logits, labels], xp))
    same(loss_, loss)
    same(softmax_cross_entropy.backward(1.5, cache_), softmax_cross_entropy.backward(1.5, cache))


def test_sgd(xp: Any) -> None:
    rng = np.random.default_rng(7)
    params, grads = ([{"w": rng.standard_normal((3, 4))}, {}, {"b": rng.standard_normal(4)}] for _ in range(2))
    velocity = optimiser.init(params)
    params_, grads_ = to_device(params, xp), to_device(grads, xp)
    velocity_ = optimiser.init(params_)
    for _ in range(3):
        params, velocity = optimiser.step(params, grads, velocity, lr=0.1, momentum=0.9, weight_decay=0.01)
        params_, velocity_ = optimiser.step(params_, grads_, velocity_, lr=0.1, momentum=0.9, weight_decay=0.01)
    same([params_, velocity_], [params, velocity])


def test_no_normaliser_is_forgotten() -> None:
    modules = {norm.module.__name__.rpartition(".")[2] for norm in norms.NORMS.values()}
    assert {name for name, _ in VARIANTS} == modules | {"mabn_variants"}


def test_a_result_on_the_host_is_noticed(xp: Any) -> None:
    with pytest.raises(AssertionError, match="on the host"):
        same(np.ones(2), np.ones(2))
    with pytest.raises(AssertionError, match="Not equal"):
        same(to_device(np.array([1.0, 1 + 1e-9]), xp), np.ones(2))


def test_cupy_has_what_the_stand_in_offers() -> None:
    """Needs CuPy, but no device: it imports without a driver."""
    cupy = pytest.importorskip("cupy", reason='cupy is not installed: pip install "mabn_ref[cupy12x]"')
    assert [name for name in FUNCTIONS if not hasattr(cupy, name)] == []
    assert hasattr(cupy.lib.stride_tricks, "as_strided")
    assert cupy.ndarray.__module__ == "cupy"

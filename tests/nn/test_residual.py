"""Residual blocks: the gradient of a whole network, and everything else that goes through the list of layers."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from mabn_ref.nn import network, networks, residual, softmax_cross_entropy
from mabn_ref.nn.folding import Folded, fold, infer_folded, operations
from mabn_ref.nn.network import Conv, Norm
from mabn_ref.nn.residual import Add, Exchange, Keep
from mabn_ref.norms import batch_norm, group_norm, mabn, modified_batch_norm
from mabn_ref.paper.recorder import recorded

BN = batch_norm.Config(norm_batch=2)
LABELS = np.array([0, 2, 1, 2])


def made(module: Any = batch_norm, config: Any = BN, **options: Any) -> tuple[Any, Any, Any, Any]:
    """A residual network away from gamma = 1 and beta = 0, in float64, and images.

    With two channels a centred 1x1 filter would have a scale alone, which the normaliser after it takes out again.
    """
    rng = np.random.default_rng(0)
    layers = networks.residual_network(module, config, width=3, classes=3, **options)
    params, states = network.init(layers, rng, dtype=np.float64)
    params = [{key: p + 0.2 * rng.standard_normal(p.shape) for key, p in layer.items()} for layer in params]
    return layers, params, states, rng.standard_normal((4, 16, 16, 3))


@pytest.mark.parametrize(
    ("module", "config", "options"),
    [
        (batch_norm, BN, {}),
        (modified_batch_norm, modified_batch_norm.Config(norm_batch=2), {"centralized": True}),
        (group_norm, group_norm.Config(groups=3), {"standardized": True, "depth": 14}),
    ],
)
def test_the_whole_backward_pass_is_the_derivative(module: Any, config: Any, options: dict[str, Any]) -> None:
    """eq: residual-backward"""
    layers, params, states, x = made(module, config, **options)

    def loss(changed: Any) -> float:
        logits, _, _ = network.forward(layers, changed, states, x)
        return float(softmax_cross_entropy.forward(logits, LABELS)[0])

    logits, caches, after = network.forward(layers, params, states, x)
    _, cache = softmax_cross_entropy.forward(logits, LABELS)
    grads, _ = network.backward(layers, softmax_cross_entropy.backward(1.0, cache), caches, after)
    assert [list(grad) for grad in grads] == [list(layer) for layer in params]
    rng, errors = np.random.default_rng(1), {}
    for i, layer in enumerate(params):
        for key, p in layer.items():
            direction = rng.standard_normal(p.shape)
            direction *= 1e-6 / np.linalg.norm(direction)
            ahead, back = (
                loss([*params[:i], {**layer, key: p + sign * direction}, *params[i + 1 :]]) for sign in (1, -1)
            )
            slope = float(np.sum(grads[i][key] * direction))
            size = 1e-6 * np.linalg.norm(grads[i][key])
            errors[layers[i].name, key] = abs((ahead - back) / 2 - slope) / size
    assert len(errors) == (3 * 9 + 2 if "depth" not in options else 3 * 15 + 2)
    assert max(errors.values()) < 1e-7, max(errors.items(), key=lambda item: item[1])


def test_a_block_is_f_of_x_plus_its_shortcut() -> None:
    """eq: residual-forward"""
    weights = np.random.default_rng(0).standard_normal((2, 1, 1, 3, 3))
    f, s = (Conv(name, 3, 3, kernel=1, padding=0) for name in ("f", "s"))
    x = np.random.default_rng(1).standard_normal((2, 4, 4, 3))
    for layers, params, expected in (
        ([Keep("k"), f, Add("a")], [{}, {"w": weights[0]}, {}], x @ weights[0, 0] + x),
        (
            [Keep("k"), f, Exchange("e"), s, Add("a")],
            [{}, {"w": weights[0]}, {}, {"w": weights[1]}, {}],
            x @ weights[0, 0] + x @ weights[1, 0],
        ),
    ):
        states = [None] * len(layers)
        kept = x.copy()
        logits, caches, _ = network.forward(layers, params, states, x)
        np.testing.assert_allclose(logits, expected, rtol=1e-13)
        np.testing.assert_allclose(network.infer(layers, params, states, x), expected, rtol=1e-13)
        dout = np.random.default_rng(2).standard_normal(x.shape)
        before = dout.copy()
        grads, _ = network.backward(layers, dout, caches, states)
        for i in (i for i, layer in enumerate(layers) if isinstance(layer, Conv)):
            np.testing.assert_allclose(grads[i]["w"][0, 0], np.tensordot(x, dout, ((0, 1, 2), (0, 1, 2))), rtol=1e-12)
        assert np.array_equal(x, kept)
        assert np.array_equal(dout, before)


@pytest.mark.parametrize(
    ("module", "config"), [(batch_norm, BN), (mabn, mabn.Config(norm_batch=2)), (group_norm, group_norm.Config())]
)
def test_folding_changes_nothing_but_rounding(module: Any, config: Any) -> None:
    """eq: fold"""
    if module is group_norm:
        config = group_norm.Config(groups=3)
    layers, params, states, x = made(module, config, centralized=True)
    for _ in range(3):
        _, _, states = network.forward(layers, params, states, x)
    steps = fold(layers, params, states)
    assert sum(isinstance(step, Folded) for step in steps) == (0 if module is group_norm else 9)
    expected = network.infer(layers, params, states, x)
    np.testing.assert_allclose(infer_folded(steps, x), expected, rtol=1e-11, atol=1e-13)


def test_operations_by_hand() -> None:
    layers = networks.residual_network(batch_norm, BN, width=1, classes=2)
    counted = operations(layers, 8)  # maps of 4, 2 and 1 pixels a side
    of_convolutions = 3 * 9 * 16 + 2 * 9 * 16 + (1 * 2 + 2 * 2) * 9 * 4 + (2 * 4 + 4 * 4) * 9 * 1 + 1 * 2 * 4 + 2 * 4
    assert counted.convolutions == 2 * of_convolutions
    assert counted.normalisers == 2 * (3 * 16 + 3 * 2 * 4 + 3 * 4 * 1)
    assert counted.others == (3 * 16 + 2 * 2 * 4 + 2 * 4) + (16 + 2 * 4 + 4) + 4 + 2 * 4 * 2


def test_recording_and_reports_follow() -> None:
    layers, params, states, x = made()
    seen: list[str] = []
    assert network.first_non_finite(layers, params, states, x) is None
    place = next(i for i, layer in enumerate(layers) if layer.name == "project4")
    broken = [*params[:place], {"w": np.inf * params[place]["w"]}, *params[place + 1 :]]
    with np.errstate(all="ignore"):
        assert network.first_non_finite(layers, broken, states, x) == "project4"
    names = [layer.name for layer in layers if isinstance(layer, Norm)]
    watched = recorded(layers, lambda name, *_: seen.append(name))
    logits, caches, after = network.forward(watched, params, states, x)
    network.backward(watched, np.ones_like(logits), caches, after)
    assert seen == names[::-1]
    assert names == ["norm1", "norm2", "norm3", "norm4", "norm5", "norm_project4", "norm6", "norm7", "norm_project6"]


@pytest.mark.parametrize(
    ("markers", "message"),
    [
        ([Keep("k"), Keep("l"), Add("a")], "l is Keep, expected an Add for the previous Keep first"),
        ([Add("a")], "a is Add, expected a Keep before it"),
        ([Exchange("e")], "e is Exchange, expected a Keep before it"),
        ([Keep("k")], "the last Keep of layers has no Add"),
        ([Keep("k"), Conv("c", 2, 3), Add("a")], "a adds 3 and 2 channels, expected the same number"),
        ([Keep("k"), Conv("c", 2, 3), Exchange("e"), Conv("d", 3, 3), Add("a")], "d takes 3 channels, expected 2"),
    ],
)
def test_lists_that_are_not_blocks_are_refused(markers: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        network.init([Conv("first", 3, 2), *markers], np.random.default_rng(0))


def test_branches_of_two_sizes_are_not_broadcast() -> None:
    layers = [Keep("k"), Conv("c", 1, 1, stride=2, kernel=1, padding=0), Add("a")]
    params, states = network.init(layers, np.random.default_rng(0), dtype=np.float64)
    with pytest.raises(ValueError, match=re.escape("a: the branches have shapes (1, 1, 1, 1) and (1, 2, 2, 1)")):
        network.forward(layers, params, states, np.ones((1, 2, 2, 1)))


def test_the_networks_that_have_names() -> None:
    for name, convolutions in {"plain": 7, "resnet8": 9, "resnet14": 15, "resnet20": 21}.items():
        layers = networks.NETWORKS[name](batch_norm, BN, width=2)
        assert sum(isinstance(layer, Conv) for layer in layers) == convolutions
        network.init(layers, np.random.default_rng(0))
    strides = [layer.stride for layer in networks.residual_network(batch_norm, BN) if isinstance(layer, Conv)]
    assert strides == [2, 1, 1, 2, 1, 2, 2, 1, 2]
    for name, value in [("depth", 7), ("depth", 9), ("depth", 2), ("classes", 0), ("width", 0)]:
        with pytest.raises(ValueError, match=f"{name} is {value}, expected"):
            networks.residual_network(batch_norm, BN, **{name: value})
    with pytest.raises(TypeError, match=r"config is a batch_norm\.Config, expected a mabn\.Config"):
        networks.residual_network(mabn, BN)
    with pytest.raises(TypeError, match="rng is 0, expected a numpy Generator"):
        network.init([network.ReLU("relu")], 0)


def test_what_a_marker_does_is_undone_by_its_adjoint() -> None:
    """eq: residual-backward: <forward(x), d> = <x, backward(d)>, of a block with f(x) = 3 x and s(x) = 5 x"""

    def block(x: float) -> float:
        now, held = residual.forward(Keep("k"), x, None)
        now, held = residual.forward(Exchange("e"), 3 * now, held)
        return float(residual.forward(Add("a"), 5 * now, held)[0])

    def back(d: float) -> float:
        now, held = residual.backward(Add("a"), d, None)
        now, held = residual.backward(Exchange("e"), 5 * now, held)
        return float(residual.backward(Keep("k"), 3 * now, held)[0])

    assert (block(2.0), back(7.0)) == (16.0, 56.0)

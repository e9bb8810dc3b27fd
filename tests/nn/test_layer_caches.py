"""Nothing that a caller does to his arrays between forward and backward changes what a layer's backward returns."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from mabn_ref.nn import network, networks, optimiser
from mabn_ref.norms import batch_norm, mabn, online_norm
from tests.nn.layers import LAYERS, as_list, each


def spoil(*arrays: Any) -> None:
    for array in arrays:
        if isinstance(array, np.ndarray):
            array[...] = 1 if array.dtype.kind == "i" else 1 - 7 * array


@each
def test_what_is_overwritten_after_forward_changes_no_gradient(name: str) -> None:
    module, inputs, options = LAYERS[name]
    results = []
    for disturbed in (False, True):
        given = [a.copy() for a in inputs]
        out, first = module.forward(*given, **options)
        dout, wrong = np.random.default_rng(1).standard_normal(np.shape(out)), np.copy(out)
        if disturbed:
            spoil(out, *given)
        other = [a[::-1].copy() for a in inputs]
        _, second = module.forward(*other, **options)
        if disturbed:
            spoil(*other)
        grads = as_list(module.backward(dout, first))
        kept = [g.copy() for g in grads]
        if disturbed:
            spoil(*grads, dout)
        results.append([*kept, *as_list(module.backward(wrong, second))])
    for right, ours in zip(*results, strict=True):
        np.testing.assert_array_equal(ours, right)


@each
def test_a_cache_shares_no_memory_with_what_the_caller_holds(name: str) -> None:
    module, inputs, options = LAYERS[name]
    out, cache = module.forward(*inputs, **options)
    dout = np.ones(np.shape(out))
    held = [*inputs, *as_list(out), dout, *as_list(module.backward(dout, cache))]
    kept = [a for a in cache if isinstance(a, np.ndarray)]
    assert not any(np.shares_memory(a, b) for a, b in product(kept, held) if isinstance(b, np.ndarray))


@each
def test_inputs_and_caches_are_never_changed(name: str) -> None:
    module, inputs, options = LAYERS[name]
    given = [a.copy() for a in inputs]
    for array in given:
        array.flags.writeable = False
    out, cache = module.forward(*given, **options)
    for array in cache:
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
    dout = np.ones(np.shape(out))
    dout.flags.writeable = False
    module.backward(dout, cache)


@pytest.mark.parametrize(
    ("own", "other"), [(a, b) for a, b in product(LAYERS, LAYERS) if LAYERS[a][0] != LAYERS[b][0]]
)
def test_the_cache_of_another_layer(own: str, other: str) -> None:
    (module, inputs, options), (stranger, theirs, others) = LAYERS[own], LAYERS[other]
    out, _ = module.forward(*inputs, **options)
    _, cache = stranger.forward(*theirs, **others)
    names = [m.__name__.rpartition(".")[2] for m in (stranger, module)]
    with pytest.raises(TypeError, match=r"^cache is an? {}\.Cache, expected an? {}\.Cache$".format(*names)):
        module.backward(np.ones(np.shape(out)), cache)


@each
def test_arrays_that_are_refused_by_name(name: str) -> None:
    module, inputs, options = LAYERS[name]
    out, cache = module.forward(*inputs, **options)
    dout = np.ones(np.shape(out))
    for i, array in enumerate(inputs):
        masked = [*inputs[:i], np.ma.masked_array(array), *inputs[i + 1 :]]
        with pytest.raises(
            TypeError, match=r"^\w+ is a numpy\.ma\.MaskedArray, expected a plain numpy\.ndarray: leave"
        ):
            module.forward(*masked, **options)
        if array.dtype.kind == "f":
            for wrong, message in (
                (array * 1j, "complex128 and imaginary"),
                (array.astype(object), "object and holds"),
            ):
                with pytest.raises((TypeError, ValueError), match=rf"^\w+ has dtype {message}"):
                    module.forward(*[*inputs[:i], wrong, *inputs[i + 1 :]], **options)
    with pytest.raises(TypeError, match=r"^d\w+ is a numpy\.ma\.MaskedArray"):
        module.backward(np.ma.masked_array(dout), cache)
    with pytest.raises(TypeError, match=r"^d\w+ has dtype complex128, expected float64"):
        module.backward(dout + 1e-30j, cache)


def test_the_optimiser_refuses_complex_gradients() -> None:
    params = [{"w": np.ones(2)}]
    with pytest.raises(TypeError, match=r"^grads\[0\]\['w'\] has dtype complex128, expected float64"):
        optimiser.step(
            params, [{"w": np.ones(2) + 0j}], optimiser.init(params), lr=0.1, momentum=0.9, weight_decay=0.0
        )


def net(module: Any) -> tuple[list[Any], list[Any], list[Any], np.ndarray, np.ndarray]:
    """A network with every kind of layer, its parameters and states, images and a cotangent."""
    config = module.Config() if module is online_norm else module.Config(norm_batch=2)
    layers = [
        network.ReLU("first"),
        network.Conv("conv1", 3, 4, kernel=1, padding=0, centralized=True),
        network.Norm("norm1", module, 4, config),
        network.ReLU("relu1"),
        network.Conv("conv2", 4, 4, stride=2, standardized=True),
        network.Norm("norm2", module, 4, config),
        network.Upsample("up"),
        network.Conv("conv3", 4, 6),
        network.Bias("bias", 6, (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)),
        network.GlobalAveragePool("pool"),
        network.Linear("linear", 6, 3),
    ]
    params, states = network.init(layers, np.random.default_rng(1), dtype=np.float64)
    rng = np.random.default_rng(2)
    return layers, params, states, rng.standard_normal((4, 6, 6, 3)), rng.standard_normal((4, 3))


def leaves(tree: Any) -> list[np.ndarray]:
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list | tuple):
        return [leaf for member in tree for leaf in leaves(member)]
    return [tree] if isinstance(tree, np.ndarray) else []


@pytest.mark.parametrize("module", [batch_norm, mabn, online_norm])
def test_a_network_whose_parameters_and_images_are_overwritten_after_forward(module: Any) -> None:
    results = []
    for disturbed in (False, True):
        layers, params, old, x, dlogits = net(module)
        logits, caches, states = network.forward(layers, params, old, x)
        if disturbed:
            spoil(*leaves(params), *leaves(old), x, logits)
        grads, states = network.backward(layers, dlogits, caches, states)
        results.append([*leaves(grads), *leaves(states)])
    for right, ours in zip(*results, strict=True):
        np.testing.assert_array_equal(ours, right)


@pytest.mark.parametrize("module", [batch_norm, mabn, online_norm])
def test_a_network_leaves_the_lists_of_its_caller_alone(module: Any) -> None:
    layers, params, states, x, dlogits = net(module)
    for array in leaves([params, states, x, dlogits]):
        array.flags.writeable = False
    lists = [layers, params, states]
    members, entries = [list(a) for a in lists], [dict(p) for p in params]
    network.infer(layers, params, states, x)
    _, caches, after = network.forward(layers, params, states, x)
    lists += [caches, after]
    members += [list(caches), list(after)]
    new = network.backward(layers, dlogits, caches, after)[1]
    assert new is not after
    for before, now in zip(members, lists, strict=True):
        assert len(before) == len(now)
        assert all(a is b for a, b in zip(before, now, strict=True))
    assert all(a.keys() == b.keys() and all(a[k] is b[k] for k in a) for a, b in zip(entries, params, strict=True))
    moved = [a is not b for a, b in zip(after, new, strict=True)]
    assert moved == [layer.name.startswith("norm") and module is not batch_norm for layer in layers]


def test_lists_that_are_exchanged_or_of_another_network() -> None:
    layers, params, states, x, dlogits = net(mabn)
    _, caches, after = network.forward(layers, params, states, x)
    for call in (network.forward, network.infer, network.first_non_finite):
        with pytest.raises(
            TypeError, match=r"^params\[0\] is None, expected a dict of nothing for the layer 'first'$"
        ):
            call(layers, states, params, x)
        with pytest.raises(
            TypeError, match=r"^params\[1\] is a dict, expected a dict of w and not of gamma, beta for"
        ):
            call(layers, [params[0], params[2], *params[2:]], states, x)
        with pytest.raises(TypeError, match=r"^states\[2\] is None, expected a mabn\.State for the layer 'norm1'$"):
            call(layers, params, [None] * len(layers), x)
        with pytest.raises(TypeError, match=r"^states\[3\] is a mabn\.State, expected None for the layer 'relu1'$"):
            call(layers, params, [*states[:3], states[2], *states[4:]], x)
        with pytest.raises(TypeError, match=r"^layers\[0\] is \{\}, expected one of Conv, Norm"):
            call(params, layers, states, x)
    with pytest.raises(TypeError, match=r"^caches\[0\] is None, expected a relu\.Cache for the layer 'first'$"):
        network.backward(layers, dlogits, after, caches)
    with pytest.raises(
        TypeError, match=r"^caches\[2\] is a relu\.Cache, expected a mabn\.Cache for the layer 'norm1'$"
    ):
        network.backward(layers, dlogits, [*caches[:2], caches[0], *caches[3:]], after)
    with pytest.raises(ValueError, match=r"from before the forward pass"):
        network.backward(layers, dlogits, caches, states)
    again = network.backward(layers, dlogits, caches, after)[1]
    with pytest.raises(ValueError, match=r"went through backward already"):
        network.backward(layers, dlogits, caches, again)


def test_a_config_of_another_normaliser_is_refused_where_the_network_is_made() -> None:
    with pytest.raises(TypeError, match=r"^config is a mabn\.Config, expected a batch_norm\.Config$"):
        networks.small_network(batch_norm, mabn.Config(norm_batch=2))
    with pytest.raises(TypeError, match=r"^config is a batch_norm\.Config, expected a mabn\.Config$"):
        network.init([network.Norm("norm", mabn, 3, batch_norm.Config())], np.random.default_rng(0))

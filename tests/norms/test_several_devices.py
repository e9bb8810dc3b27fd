"""Several devices: one is the module itself, two are two states run by hand, and device 0 is what inference reads."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from mabn_ref.nn import network, networks
from mabn_ref.nn.folding import fold, infer_folded
from mabn_ref.norms import NORMS, batch_norm, devices, group_norm, mabn
from mabn_ref.norms.devices import Devices, on_devices
from mabn_ref.paper.recorder import recorded
from mabn_ref.train.config import SAMPLE_NORMS

CONFIGS: dict[str, Any] = {
    name: norm.module.Config(
        **{**norm.settings, **norm.example, **({} if name in SAMPLE_NORMS else {"norm_batch": 2})}
    )
    for name, norm in NORMS.items()
    if name != "moving"
}
CONFIGS["online"] = dataclasses.replace(CONFIGS["online"], layer_scaling=False)  # with it there is no `affine`


def draw(samples: int, seed: int = 0) -> tuple[Any, Any, Any, Any]:
    rng = np.random.default_rng(seed)
    x, dz = rng.standard_normal((2, samples, 3, 3, 4))
    return 2 * x + 1, dz, rng.uniform(0.5, 2, 4), rng.standard_normal(4)


def same(a: Any, b: Any) -> bool:
    """Whether two values, tuples of arrays among them, are equal bit for bit."""
    if isinstance(a, tuple):
        return type(a) is type(b) and all(same(*pair) for pair in zip(a, b, strict=True))
    return bool(np.array_equal(a, b))


@pytest.mark.parametrize("name", CONFIGS)
def test_one_device_is_the_module_itself(name: str) -> None:
    module = NORMS[name].module
    assert on_devices(module, 1) is module
    config, (x, dz, gamma, beta) = CONFIGS[name], draw(4)
    alone = Devices(module, 1)
    state, of_one = alone.init(4, config, dtype=x.dtype), module.init(4, config, dtype=x.dtype)
    for _ in range(2):
        z, cache, state = alone.forward(x, gamma, beta, state, config)
        *back, state = alone.backward(dz, cache, state)
        expected, of_one_cache, of_one = module.forward(x, gamma, beta, of_one, config)
        *back_of_one, of_one = module.backward(dz, of_one_cache, of_one)
        assert same((z, *back), (expected, *back_of_one))
        assert same(state, devices.States((of_one,)))


@pytest.mark.parametrize("name", CONFIGS)
def test_two_devices_are_two_states_run_by_hand(name: str) -> None:
    module, config = NORMS[name].module, CONFIGS[name]
    two = on_devices(module, 2)
    state = two.init(4, config, dtype=np.float64)
    first = second = module.init(4, config, dtype=np.float64)
    for step in range(3):
        x, dz, gamma, beta = draw(8, seed=step)
        kept = x.copy(), dz.copy(), state
        z, cache, after = two.forward(x, gamma, beta, state, config)
        dx, dgamma, dbeta, after = two.backward(dz, cache, after)
        assert same((x, dz, state), kept)
        z0, cache0, first = module.forward(x[:4], gamma, beta, first, config)
        z1, cache1, second = module.forward(x[4:], gamma, beta, second, config)
        dx0, dgamma0, dbeta0, first = module.backward(dz[:4], cache0, first)
        dx1, dgamma1, dbeta1, second = module.backward(dz[4:], cache1, second)
        assert same(z, np.concatenate([z0, z1]))
        assert same(dx, np.concatenate([dx0, dx1]))
        assert same((dgamma, dbeta), (dgamma0 + dgamma1, dbeta0 + dbeta1))
        assert same(after, devices.States((first, second)))
        if hasattr(module, "gradient_statistics"):
            of_both = zip(
                module.gradient_statistics(dz[:4], cache0), module.gradient_statistics(dz[4:], cache1), strict=True
            )
            assert same(two.gradient_statistics(dz, cache), tuple(np.concatenate(pair) for pair in of_both))
        state = after
    x, _, gamma, beta = draw(3, seed=9)
    assert same(two.infer(x, gamma, beta, state, config), module.infer(x, gamma, beta, first, config))
    assert hasattr(two, "affine") == hasattr(module, "affine")
    if hasattr(module, "affine"):
        assert same(two.affine(gamma, beta, state, config), module.affine(gamma, beta, first, config))


@pytest.mark.parametrize("name", ["bn", "gn"])
def test_three_devices_take_a_third_each(name: str) -> None:
    """The one in the middle as well; without `norm_batch`, one sample is enough for each."""
    module, config = NORMS[name].module, CONFIGS[name]
    three, samples = on_devices(module, 3), getattr(config, "norm_batch", 1)
    x, dz, gamma, beta = draw(3 * samples)
    z, cache, after = three.forward(x, gamma, beta, three.init(4, config, dtype=x.dtype), config)
    dx, dgamma, dbeta, end = three.backward(dz, cache, after)
    outputs, gradients, states = [], [], []
    for part in (slice(n * samples, (n + 1) * samples) for n in range(3)):
        out, of_one, state = module.forward(x[part], gamma, beta, module.init(4, config, dtype=x.dtype), config)
        outputs.append(out)
        gradients.append(module.backward(dz[part], of_one, state))
        states.append(state)
    assert same((z, dx), (np.concatenate(outputs), np.concatenate([found[0] for found in gradients])))
    assert same((dgamma, dbeta), tuple(sum(found[i] for found in gradients) for i in (1, 2)))
    assert same((after.each, end.each), (tuple(states), tuple(found[3] for found in gradients)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_states_are_of_the_library_and_the_dtype_asked_for(dtype: str) -> None:
    xp = pytest.importorskip("array_api_strict", reason="array-api-strict is not installed")
    states = on_devices(batch_norm, 2).init(4, batch_norm.Config(), dtype=getattr(xp, dtype), xp=xp)
    assert {type(of_one.mean) for of_one in states.each} == {type(xp.zeros(1))}
    assert {of_one.mean.dtype for of_one in states.each} == {getattr(xp, dtype)}


def test_what_knows_of_no_device_is_the_modules() -> None:
    two = on_devices(batch_norm, 2)
    assert two.Config is batch_norm.Config
    assert two.statistics is batch_norm.statistics
    with pytest.raises(AttributeError, match="a normaliser on several devices has no backward_graph"):
        _ = two.backward_graph


def test_statistics_are_the_devices_own() -> None:
    """The second device's images change nothing of the first, not even later on."""
    two, config = on_devices(mabn, 2), mabn.Config(norm_batch=2, window=4)
    x, dz, gamma, beta = draw(8)
    other = np.concatenate([x[:4], 7 * x[4:]])
    outputs = []
    for images in (x, other):
        state = two.init(4, config, dtype=x.dtype)
        for _ in range(3):
            z, cache, state = two.forward(images, gamma, beta, state, config)
            dx, _, _, state = two.backward(dz, cache, state)
        outputs.append((z, dx, two.infer(x, gamma, beta, state, config)))
    (z, dx, inferred), (other_z, other_dx, other_inferred) = outputs
    assert same((z[:4], dx[:4], inferred), (other_z[:4], other_dx[:4], other_inferred))
    assert not same(z[4:], other_z[4:])
    assert not same(dx[4:], other_dx[4:])


def test_errors_name_what_does_not_fit() -> None:
    two, config = on_devices(batch_norm, 2), batch_norm.Config(norm_batch=2)
    x, dz, gamma, beta = draw(6)
    state = two.init(4, config, dtype=x.dtype)
    with pytest.raises(ValueError, match="x has 6 samples, expected a multiple of 4: norm_batch=2 on each of 2"):
        two.forward(x, gamma, beta, state, config)
    with pytest.raises(ValueError, match="x has 5 samples, expected a multiple of 2: equal parts for 2 devices"):
        two.forward(x[:5], gamma, beta, state, batch_norm.Config())
    of_one = batch_norm.init(4, config, dtype=x.dtype)
    for call, images in ((two.forward, [x[:4]]), (two.infer, [x]), (two.affine, [])):
        with pytest.raises(TypeError, match=r"state is a batch_norm.State, expected a devices.States of 2 devices"):
            call(*images, gamma, beta, of_one, config)
    three = on_devices(batch_norm, 3)
    with pytest.raises(TypeError, match=r"state is that of 3 devices, expected a devices\.States of 2"):
        two.forward(x[:4], gamma, beta, three.init(4, config, dtype=x.dtype), config)
    _, cache, after = two.forward(x[:4], gamma, beta, state, config)
    with pytest.raises(ValueError, match=r"dz has shape \(3, 3, 3, 4\), expected \(2, 3, 3, 4\)"):
        two.backward(dz[:5], cache, after)
    for refused in (
        lambda: two.backward(dz[:4], cache.each[0], after),
        lambda: two.gradient_statistics(dz[:4], None),
    ):
        with pytest.raises(TypeError, match=r"^cache is .*, expected a devices\.Caches of 2 devices"):
            refused()
    with pytest.raises(TypeError, match=r"^state is a batch_norm\.State, expected a devices\.States"):
        two.backward(dz[:4], cache, of_one)
    with pytest.raises(ValueError, match="devices is 0, expected an integer of at least 1"):
        on_devices(batch_norm, 0)
    assert not hasattr(on_devices(group_norm, 2), "affine")


def test_a_network_on_devices_records_folds_and_reports() -> None:
    two, config = on_devices(mabn, 2), mabn.Config(norm_batch=2)
    layers = networks.small_network(two, config, centralized=True, width=2)
    params, states = network.init(layers, np.random.default_rng(0), dtype=np.float64)
    x = np.random.default_rng(1).standard_normal((8, 16, 16, 3))
    seen: list[Any] = []
    watched = recorded(layers, lambda *found: seen.append(found), ["norm2"])
    logits, caches, after = network.forward(layers, params, states, x)
    grads, after = network.backward(layers, np.ones_like(logits), caches, after)
    again, caches, states = network.forward(watched, params, states, x)
    same_grads, states = network.backward(watched, np.ones_like(logits), caches, states)
    assert same(logits, again)
    assert same(after[4], states[4])
    assert all(same(grads[i][key], same_grads[i][key]) for i in range(len(layers)) for key in grads[i])
    [(name, _, dz, cache, state)] = seen
    assert (name, len(state.each)) == ("norm2", 2)
    g, _ = watched[4].module.gradient_statistics(dz, cache)
    assert g.shape == (4, 2)
    expected = network.infer(layers, params, states, x)
    np.testing.assert_allclose(infer_folded(fold(layers, params, states), x), expected, rtol=1e-11, atol=1e-13)
    x[7, 0, 0, 0] = np.inf
    assert network.first_non_finite(layers, params, states, x) == "conv1"
    with pytest.raises(
        TypeError, match=r"states\[1\] is a mabn.State, expected a devices.States for the layer 'norm1'"
    ):
        network.infer(layers, params, [None, states[1].each[0], *states[2:]], x)

"""What Theorem 2 is measured on: the inputs of a normaliser, and the gradients that come back to it."""

from __future__ import annotations

import numpy as np

from mabn_ref.data import to_float
from mabn_ref.nn import network, softmax_cross_entropy
from mabn_ref.paper import theorem1, theorem2
from mabn_ref.train import loop
from mabn_ref.train.config import recipe


def test_x_and_u_are_those_of_the_training_images_in_their_order() -> None:
    """x by the layers before; u = gamma dz by its sums, which are gamma dbeta and gamma dgamma. eq: bn-backward"""
    config = recipe("bn", norm_batch=32, width=4, epochs=1, train_size=80, test_size=10)
    setup = loop.prepare(config)
    *_, progress = loop.run(setup, loop.begin(setup))
    rng = np.random.default_rng(0)
    params = [
        {name: p + np.float32(0.3) * rng.standard_normal(p.shape, dtype=np.float32) for name, p in layer.items()}
        for layer in progress.params
    ]
    seen = theorem2._activations(setup, progress._replace(params=params))
    assert list(seen) == ["norm2", "norm4", "norm6"]
    states, images = progress.states, setup.images.train
    for start in (0, 32):  # sixteen images are left over
        x = to_float(images.images[start : start + 32], setup.images.mean, setup.images.std)
        logits, caches, after = network.forward(setup.layers, params, states, x)
        _, cache = softmax_cross_entropy.forward(logits, images.labels[start : start + 32])
        grads, _ = network.backward(setup.layers, softmax_cross_entropy.backward(1.0, cache), caches, after)
        for i, layer in enumerate(setup.layers):
            if layer.name in seen:
                inputs, u = (a[start : start + 32] for a in seen[layer.name])
                expected, _, _ = network.forward(setup.layers[:i], params[:i], states[:i], x)
                np.testing.assert_allclose(inputs, expected, rtol=1e-5, atol=1e-5)
                y = (inputs - inputs.mean(axis=(0, 1, 2))) / np.sqrt(inputs.var(axis=(0, 1, 2)) + 1e-5)
                gamma, scale = params[i]["gamma"], np.abs(u).sum(axis=(0, 1, 2)).max()
                sums = u.sum(axis=(0, 1, 2)), (u * y).sum(axis=(0, 1, 2))
                np.testing.assert_allclose(sums[0], gamma * grads[i]["beta"], rtol=1e-4, atol=1e-5 * scale)
                np.testing.assert_allclose(sums[1], gamma * grads[i]["gamma"], rtol=1e-4, atol=1e-4 * scale)
        states = after
    assert all(len(a) == 64 for pair in seen.values() for a in pair)


def test_positions_are_spread_over_the_map() -> None:
    flat = theorem2._flat(np.arange(2 * 8 * 8.0).reshape(2, 8, 8))
    np.testing.assert_array_equal(flat, [np.arange(0, 64, 4), np.arange(64, 128, 4)])
    assert theorem2._flat(np.ones((3, 2, 2), np.float32)).shape == (3, 4)


def test_a_recorded_row_is_the_median_over_channels() -> None:
    found = [{"total": [[value, 10 * value], [0.0, 0.0], [0.0, 0.0]]} for value in (3.0, -1.0, 0.25)]
    assert [theorem2._median(found, "total", k) for k in (0, 1)] == ["+0.25", "+2.50"]


def test_the_dotted_lines_of_theorem_1() -> None:
    """(11) from the sixteenth value on, and (9) from the first, whose variance is that of (1 - decay) xi."""
    claimed = theorem1._claimed([1, 2, 15, 16, 300])
    np.testing.assert_allclose(claimed[theorem1.SIMPLE], [np.nan] * 3 + [1 / 16] * 2)
    weights = [0.02 * 0.98 ** np.arange(t) for t in (1, 2, 15, 16, 300)]
    np.testing.assert_allclose(claimed[theorem1.EXPONENTIAL], [np.sum(w**2) for w in weights], rtol=1e-12)

from __future__ import annotations

import numpy as np
import pytest

from mabn_ref.nn import bias, network


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 5, 4), (2, 1, 1, 1)])
def test_both_passes(central_differences, shape):
    """eq: bias-forward, bias-backward"""
    rng = np.random.default_rng(0)
    x, b, dout = rng.standard_normal(shape), rng.standard_normal(shape[-1]), rng.standard_normal(shape)
    out, cache = bias.forward(x, b)
    np.testing.assert_array_equal(out, np.add(x, b))
    dx, db = bias.backward(dout, cache)
    np.testing.assert_array_equal(dx, dout)
    expected = central_differences(lambda v: np.sum(dout * bias.forward(x, v)[0]), b, h=0.5)  # linear: any step
    np.testing.assert_allclose(db, expected, rtol=1e-12, atol=1e-12)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"x has shape \(2, 3\), expected \(\.\.\., 2\): channels last"):
        bias.forward(np.zeros((2, 3)), np.zeros(2))
    with pytest.raises(TypeError, match="b has dtype float32, expected float64"):
        bias.forward(np.zeros((2, 3)), np.zeros(3, dtype=np.float32))
    _, cache = bias.forward(np.zeros((2, 3)), np.zeros(3))
    with pytest.raises(ValueError, match=r"dout has shape \(3,\), expected \(2, 3\)"):
        bias.backward(np.zeros(3), cache)


def test_a_network_starts_it_where_it_is_told():
    layers = [network.Conv("conv", 3, 2), network.Bias("first", 2), network.Bias("second", 2, (1.0, -2.0))]
    params, _ = network.init(layers, np.random.default_rng(0))
    assert [p["b"].tolist() for p in params[1:]] == [[0, 0], [1, -2]]
    with pytest.raises(ValueError, match="first: start has 1 numbers, expected 2, one per channel"):
        network.init([network.Bias("first", 2, (1.0,))], np.random.default_rng(0))
    with pytest.raises(ValueError, match="first takes 3 channels, expected 2, those that conv gives"):
        network.init([layers[0], network.Bias("first", 3)], np.random.default_rng(0))

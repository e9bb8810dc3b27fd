"""The PyTorch MABN of the benchmarks computes what `mabn_ref.norms.mabn` does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mabn_ref.norms import mabn
from tests.strategies import parameters

CHANNELS, STEPS = 3, 60


def close(theirs: Any, ours: np.ndarray) -> None:
    np.testing.assert_allclose(theirs.detach().numpy(), ours, rtol=1e-12, atol=1e-12 * np.abs(ours).max())


@pytest.mark.frameworks
@pytest.mark.parametrize(("norm_batch", "window"), [(None, 5), (None, 1), (2, 16), (2, 3), (2, 200)])
def test_against_mabn(norm_batch: int | None, window: int) -> None:
    """eq: mabn-forward, mabn-renormalise, mabn-backward, sma-backward, ema-forward, mabn-affine-backward"""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from tests.benchmarks.torch_mabn import MABN2d

    rng = np.random.default_rng(window)
    config = mabn.Config(norm_batch=norm_batch, window=window, decay=0.9, clip=1.3, eps=0.1)
    gamma, beta = parameters(rng, CHANNELS)
    layer = MABN2d(CHANNELS, norm_batch=norm_batch, window=window, decay=0.9, clip=1.3, eps=0.1, dtype=torch.float64)
    with torch.no_grad():
        layer.weight[:], layer.bias[:] = torch.tensor(gamma), torch.tensor(beta)
    state = mabn.init(CHANNELS, config, dtype=np.float64)
    clipped = 0
    for _ in range(STEPS):
        x = rng.uniform(0.2, 3) * (rng.standard_normal((8, 2, 3, CHANNELS)) + rng.standard_normal(CHANNELS))
        dz = rng.standard_normal(x.shape)
        z, cache, state = mabn.forward(x, gamma, beta, state, config)
        dx, dgamma, dbeta, state = mabn.backward(dz, cache, state)
        clipped += int(np.sum((cache.r == 1.3) | (cache.r == 1 / 1.3)))
        x_ = torch.tensor(np.moveaxis(x, -1, 1).copy(), requires_grad=True)
        layer.zero_grad()
        z_ = layer(x_)
        z_.backward(torch.tensor(np.moveaxis(dz, -1, 1).copy()))
        close(z_, np.moveaxis(z, -1, 1))
        close(x_.grad, np.moveaxis(dx, -1, 1))
        close(layer.weight.grad, dgamma)
        close(layer.bias.grad, dbeta)
        close(layer.chi2, state.chi2)
    assert layer.iteration == state.iteration
    assert clipped > 0
    layer.eval()
    close(layer(x_), np.moveaxis(mabn.infer(x, gamma, beta, state, config), -1, 1))


@pytest.mark.frameworks
def test_sixteen_calls_are_one_grouped_call() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from tests.benchmarks.torch_mabn import MABN2d

    torch.manual_seed(0)
    one, many = (MABN2d(CHANNELS, norm_batch=2, dtype=torch.float64) for _ in range(2))
    for _ in range(4):
        x, dz = (torch.randn(32, CHANNELS, 4, 4, dtype=torch.float64) for _ in range(2))
        grads = []
        for layer, size in ((one, 32), (many, 2)):
            layer.zero_grad()
            leaf = x.clone().requires_grad_()
            for part, grad in zip(leaf.split(size), dz.split(size), strict=True):
                layer(part).backward(grad)
            grads.append((leaf.grad, layer.weight.grad, layer.bias.grad))
        for a, b in zip(*grads, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.frameworks
def test_the_centred_convolution() -> None:
    """eq: centralize-forward, centralize-backward, conv2d-forward"""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from mabn_ref.nn import centralize, conv2d
    from tests.benchmarks.torch_mabn import CentredConv2d

    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 5, 6, 3)), rng.standard_normal((3, 3, 3, 4))
    layer = CentredConv2d(3, 4, 3, stride=2, padding=1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight[:] = torch.tensor(w.transpose(3, 2, 0, 1).copy())
    w_c, centring = centralize.forward(w)
    out, cache = conv2d.forward(x, w_c, stride=2, padding=1)
    dout = rng.standard_normal(out.shape)
    _, dw_c = conv2d.backward(dout, cache)
    out_ = layer(torch.tensor(np.moveaxis(x, -1, 1).copy()))
    out_.backward(torch.tensor(np.moveaxis(dout, -1, 1).copy()))
    close(out_, np.moveaxis(out, -1, 1))
    close(layer.weight.grad, centralize.backward(dw_c, centring).transpose(3, 2, 0, 1))

"""Against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from mabn_ref.norms import batch_norm
from tests.strategies import parameters, sample


@pytest.mark.frameworks
@pytest.mark.parametrize("shape", [(6, 3), (4, 5, 3), (4, 3, 2, 3)])
@pytest.mark.parametrize("eps", [1e-5, 0.1, 1.0])
def test_batch_norm_against_pytorch(shape: tuple[int, ...], eps: float) -> None:
    """eq: bn-normalise, bn-statistics, affine, bn-backward, bn-gradient-statistics, affine-backward, bn-infer"""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    rng, decay = np.random.default_rng(len(shape)), 0.85
    gamma, beta = parameters(rng, shape[-1])
    config = batch_norm.Config(eps=eps, decay=decay)
    state = batch_norm.init(shape[-1], config, dtype=np.float64)
    kind = torch.nn.BatchNorm2d if len(shape) == 4 else torch.nn.BatchNorm1d
    theirs = kind(shape[-1], eps=eps, momentum=1 - decay, dtype=torch.float64)
    with torch.no_grad():
        theirs.weight[:], theirs.bias[:] = torch.tensor(gamma), torch.tensor(beta)
    values = int(np.prod(shape[:-1]))
    first = lambda a: torch.tensor(np.moveaxis(a, -1, 1).copy())  # noqa: E731
    last = lambda t: np.moveaxis(t.detach().numpy(), 1, -1)  # noqa: E731
    unbiased = np.ones(shape[-1])
    for _ in range(5):
        x, dz = sample(rng, shape), rng.standard_normal(shape)
        z, cache, state = batch_norm.forward(x, gamma, beta, state, config)
        dx, dgamma, dbeta, state = batch_norm.backward(dz, cache, state)
        x_ = first(x).requires_grad_()
        theirs.zero_grad()
        z_ = theirs(x_)
        z_.backward(first(dz))
        unbiased = decay * unbiased + (1 - decay) * batch_norm.statistics(x, config)[1][0] * values / (values - 1)
        mine = (z, dx, dgamma, dbeta, state.mean, unbiased)
        other = (
            last(z_),
            last(x_.grad),
            theirs.weight.grad,
            theirs.bias.grad,
            theirs.running_mean,
            theirs.running_var,
        )
        for a, b in zip(mine, other, strict=True):
            b = np.asarray(b)
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * np.abs(b).max())
    theirs.eval()
    with torch.no_grad():
        theirs.running_var[:] = torch.tensor(state.var)  # PyTorch keeps the unbiased variance; ours is biased
    z = batch_norm.infer(x, gamma, beta, state, config)
    np.testing.assert_allclose(z, last(theirs(first(x))), rtol=1e-12, atol=1e-12 * np.abs(z).max())

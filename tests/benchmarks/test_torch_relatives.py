"""The PyTorch opponents compute what ours do, so that their speeds can be compared."""

from __future__ import annotations

import numpy as np
import pytest

from mabn_ref.norms import batch_norm
from tests.benchmarks import relatives

SHAPE = (4, 3, 3, 8)


@pytest.mark.frameworks
def test_opponents_agree_over_several_calls() -> None:
    """More than a window, so that what begins with a full one comes up too."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    ours, theirs = relatives.ours(SHAPE), relatives.theirs(torch, SHAPE)
    assert ours.keys() == theirs.keys()
    for name, call in ours.items():
        for k in range(7):
            for mine, other in zip(call(), theirs[name](), strict=True):
                other = np.moveaxis(other.numpy(), 1, -1)
                np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5, err_msg=f"{name}, call {k}")


@pytest.mark.frameworks
def test_the_residual_network_has_the_same_parameters() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from mabn_ref.nn import network, networks
    from tests.benchmarks import torch_networks

    params, _ = network.init(
        networks.residual_network(batch_norm, batch_norm.Config(), width=4), np.random.default_rng(0)
    )
    mine = sorted(value.size for p in params for value in p.values())
    net = torch_networks.residual_network(torch, torch.nn.BatchNorm2d, width=4)
    assert mine == sorted(value.numel() for value in net.parameters())
    assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    for step in relatives.residual_steps(torch, width=4, compiled=False).values():
        step()

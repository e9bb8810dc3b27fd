"""One training step of the small network, gradient batch 32, float32: ours and PyTorch's, side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mabn_ref.nn import network, sgd, softmax_cross_entropy
from mabn_ref.norms import batch_norm, batch_renorm, mabn
from tests.benchmarks import torch_networks

__all__ = ["contestants", "our_step"]


def our_step(module: Any, config: Any, x: Any, labels: Any, *, centralized: bool = False) -> Callable[[], None]:
    """A step that goes on from where the last one ended: forward, backward, SGD."""
    layers = network.small_network(module, config, centralized=centralized)
    params, states = network.init(layers, np.random.default_rng(0))
    held = [params, sgd.init(params), states]

    def step() -> None:
        params, velocity, states = held
        logits, caches, states = network.forward(layers, params, states, x)
        _, cache = softmax_cross_entropy.forward(logits, labels)
        dlogits = softmax_cross_entropy.backward(1.0, cache)
        grads, states = network.backward(layers, dlogits, caches, states)
        params, velocity = sgd.step(params, grads, velocity, lr=1e-3, momentum=0.9, weight_decay=5e-4)
        held[:] = params, velocity, states

    return step


def contestants(torch: Any | None) -> dict[str, Callable[[], Any]]:
    """Name every contestant; PyTorch's are left out where it is not installed."""
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((32, 32, 32, 3)).astype(np.float32), rng.integers(0, 10, 32)
    steps = {
        "BN 32": our_step(batch_norm, batch_norm.Config(norm_batch=32), x, labels),
        "BN 2": our_step(batch_norm, batch_norm.Config(norm_batch=2), x, labels),
        "BRN 2": our_step(batch_renorm, batch_renorm.Config(norm_batch=2), x, labels),
        "MABN 2 + WC": our_step(mabn, mabn.Config(norm_batch=2, window=16), x, labels, centralized=True),
    }
    if torch is not None:
        torch.set_num_threads(1)
        images, truth = torch.tensor(np.moveaxis(x, -1, 1).copy()), torch.tensor(labels)
        bn = torch.nn.BatchNorm2d
        net = torch_networks.small_network(torch, bn)
        steps["PyTorch BN 32"] = torch_networks.training_step(torch, net, images, truth)
        last = torch_networks.small_network(torch, bn).to(memory_format=torch.channels_last)
        channels_last = images.contiguous(memory_format=torch.channels_last)
        steps["PyTorch BN 32, channels last"] = torch_networks.training_step(torch, last, channels_last, truth)
        net = torch_networks.small_network(torch, bn)
        steps["PyTorch BN, 16 micro-batches of 2"] = torch_networks.training_step(torch, net, images, truth, 2)
    return steps

"""One training step of the small network, gradient batch 32, float32: ours and PyTorch's, side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mabn_ref.nn import network, networks, optimiser, softmax_cross_entropy
from mabn_ref.norms import batch_norm, batch_renorm, mabn
from tests.benchmarks import torch_networks
from tests.benchmarks.convolution import network_shapes
from tests.benchmarks.timing import Timing, side_by_side

__all__ = ["contestants", "measure", "our_step", "share_of_peak"]

LARGE = "a product of two large matrices"
SIDE = 1024


def our_step(
    module: Any,
    config: Any,
    x: Any,
    labels: Any,
    *,
    centralized: bool = False,
    width: int = 32,
    make: Callable[..., Any] = networks.small_network,
    xp: Any = np,
) -> Callable[[], None]:
    """A step that goes on from where the last one ended: forward, backward, SGD."""
    layers = make(module, config, centralized=centralized, width=width)
    params, states = network.init(layers, np.random.default_rng(0), xp=xp)
    held = [params, optimiser.init(params), states]

    def step() -> None:
        params, velocity, states = held
        logits, caches, states = network.forward(layers, params, states, x)
        _, cache = softmax_cross_entropy.forward(logits, labels)
        dlogits = softmax_cross_entropy.backward(1.0, cache)
        grads, states = network.backward(layers, dlogits, caches, states)
        params, velocity = optimiser.step(params, grads, velocity, lr=1e-3, momentum=0.9, weight_decay=5e-4)
        held[:] = params, velocity, states

    return step


def contestants(torch: Any | None, width: int = 32) -> dict[str, Callable[[], Any]]:
    """Name every contestant; PyTorch's are left out where it is not installed."""
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((32, 32, 32, 3)).astype(np.float32), rng.integers(0, 10, 32)
    config = mabn.Config(norm_batch=2, window=16)
    steps = {
        "BN 32": our_step(batch_norm, batch_norm.Config(norm_batch=32), x, labels, width=width),
        "BN 2": our_step(batch_norm, batch_norm.Config(norm_batch=2), x, labels, width=width),
        "BRN 2": our_step(batch_renorm, batch_renorm.Config(norm_batch=2), x, labels, width=width),
        "MABN 2 + WC": our_step(mabn, config, x, labels, centralized=True, width=width),
    }
    if torch is not None:
        from tests.benchmarks.torch_mabn import CentredConv2d, MABN2d

        def rival(norm: Any, micro_batch: int | None = None, layout: Any = None, convolution: Any = None) -> Any:
            torch.manual_seed(0)
            net = torch_networks.small_network(torch, norm, convolution=convolution, width=width)
            layout = layout or torch.contiguous_format
            images = torch.tensor(np.moveaxis(x, -1, 1)).contiguous(memory_format=layout)
            return torch_networks.training_step(
                torch, net.to(memory_format=layout), images, torch.tensor(labels), micro_batch
            )

        bn = torch.nn.BatchNorm2d
        steps["PyTorch BN 32"] = rival(bn)
        steps["PyTorch BN 32, channels last"] = rival(bn, layout=torch.channels_last)
        steps["PyTorch BN, 16 micro-batches of 2"] = rival(bn, 2)
        steps["PyTorch MABN + WC, 16 micro-batches of 2"] = rival(MABN2d, 2, convolution=CentredConv2d)
        steps["PyTorch MABN + WC, grouped"] = rival(lambda c: MABN2d(c, norm_batch=2), convolution=CentredConv2d)
    return steps


def measure(torch: Any | None, *, rounds: int, tiny: bool) -> dict[str, dict[str, Timing]]:
    """Milliseconds of every contestant, and of a product that keeps the processor as busy as its BLAS can."""
    side = 256 if tiny else SIDE
    a, b = (np.random.default_rng(0).standard_normal((side, side), dtype=np.float32) for _ in range(2))
    steps = contestants(torch, 4 if tiny else 32) | {LARGE: lambda: a @ b}
    return {"gradient batch 32": side_by_side(steps, rounds=rounds)}


def share_of_peak(steps: dict[str, Timing]) -> dict[str, float]:
    """Operations per second of the large product, in 10^9, and what share of them each step reaches, in %.

    Counted are the products of the convolutions alone, as the sum has them even where fewer are computed: forward and
    both gradients, but for the first layer's input.
    """
    in_step = 0
    for i, (n, size, c_in, c_out, stride) in enumerate(network_shapes()):
        in_step += (3 if i else 2) * 2 * n * (size // stride) ** 2 * 9 * c_in * c_out
    peak = 2 * SIDE**3 / steps[LARGE].median
    shares = {name: 100 * in_step / t.median / peak for name, t in steps.items() if name != LARGE}
    return {"peak, 10^9 operations a second": round(peak / 1e6, 1)} | {k: round(v, 1) for k, v in shares.items()}

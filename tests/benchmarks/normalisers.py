"""Each normaliser alone, forward and backward, beside PyTorch's own batch norm and a copy of x."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mabn_ref.norms import batch_norm, batch_renorm, mabn, modified_batch_norm
from tests.benchmarks.timing import Timing, side_by_side

__all__ = ["contestants", "forward_backward", "measure"]

MODULES = {"BN": batch_norm, "BRN": batch_renorm, "modified BN": modified_batch_norm, "MABN": mabn}
SHAPES = ((32, 16, 16, 32), (32, 4, 4, 128))


def forward_backward(module: Any, config: Any, shape: tuple[int, ...]) -> Callable[[], Any]:
    """One forward and one backward pass in float32, going on from the state that the last call left: z and dx."""
    rng, channels = np.random.default_rng(0), shape[-1]
    x, dz = (rng.standard_normal(shape, dtype=np.float32) for _ in range(2))
    gamma, beta = np.ones(channels, dtype=np.float32), np.zeros(channels, dtype=np.float32)
    held = [module.init(channels, config, dtype=np.float32)]

    def call() -> Any:
        z, cache, state = module.forward(x, gamma, beta, held[0], config)
        dx, _, _, held[0] = module.backward(dz, cache, state)
        return z, dx

    return call


def contestants(shape: tuple[int, ...], torch: Any | None) -> dict[str, Callable[[], Any]]:
    """Ours with all samples in one normalisation batch and with two, PyTorch's in both memory formats, and a copy."""
    x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    found: dict[str, Callable[[], Any]] = {"a copy of x": x.copy}
    for norm_batch in (shape[0], 2):
        for name, module in MODULES.items():
            config = module.Config(norm_batch=norm_batch)
            found[f"{name} {norm_batch}"] = forward_backward(module, config, shape)
    if torch is not None:
        for label, layout in (("", torch.contiguous_format), (", channels last", torch.channels_last)):
            found[f"PyTorch BN {shape[0]}{label}"] = _of_torch(torch, x, layout)
    return found


def _of_torch(torch: Any, x: Any, layout: Any) -> Callable[[], Any]:
    layer = torch.nn.BatchNorm2d(x.shape[-1])
    images = torch.tensor(np.moveaxis(x, -1, 1)).contiguous(memory_format=layout)
    dz = torch.randn(images.shape).contiguous(memory_format=layout)
    images.requires_grad_()
    return lambda: torch.autograd.grad(layer(images), (images, layer.weight, layer.bias), dz)


def measure(torch: Any | None, *, rounds: int, tiny: bool) -> dict[str, dict[str, Timing]]:
    """Milliseconds of every contestant, by shape."""
    shapes = ((4, 2, 2, 3),) if tiny else SHAPES
    return {"x".join(map(str, shape)): side_by_side(contestants(shape, torch), rounds=5 * rounds) for shape in shapes}

"""The convolutions of the small network: ours, PyTorch's, and the matrix products alone, gradient batch 32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.nn import conv2d
from tests.benchmarks.timing import Timing, side_by_side

__all__ = ["Shape", "contestants", "measure", "network_shapes"]


class Shape(NamedTuple):
    """One 3x3 convolution with padding 1."""

    samples: int
    size: int
    channels_in: int
    channels_out: int
    stride: int

    def __str__(self) -> str:
        n, size, c_in, c_out, stride = self
        return f"{n}x{size}x{size}x{c_in} to {c_out}, stride {stride}"


def network_shapes(samples: int = 32, width: int = 32) -> list[Shape]:
    """Those of `mabn_ref.nn.networks.small_network`."""
    channels = [3, width, width, 2 * width, 2 * width, 4 * width, 4 * width, 4 * width]
    sizes, strides = (32, 16, 16, 8, 8, 4, 4), (2, 1, 2, 1, 2, 1, 2)
    return [Shape(samples, sizes[i], channels[i], channels[i + 1], strides[i]) for i in range(7)]


def contestants(shape: Shape, torch: Any | None) -> dict[str, Callable[[], Any]]:
    """Forward and both gradients, each alone; the first layer of a network needs no input gradient."""
    n, size, c_in, c_out, stride = shape
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, size, size, c_in), dtype=np.float32)
    w = rng.standard_normal((3, 3, c_in, c_out), dtype=np.float32)
    out, cache = conv2d.forward(x, w, stride=stride, padding=1)
    dout = rng.standard_normal(out.shape, dtype=np.float32)
    columns = rng.standard_normal((out.size // c_out, 9 * c_in), dtype=np.float32)
    kernel, rows = w.reshape(-1, c_out), dout.reshape(-1, c_out)
    found: dict[str, Callable[[], Any]] = {
        "ours, forward": lambda: conv2d.forward(x, w, stride=stride, padding=1),
        "ours, weight gradient": lambda: conv2d.weight_gradient(dout, cache),
        "ours, input gradient": lambda: conv2d.input_gradient(dout, cache),
        "GEMM alone, forward": lambda: columns @ kernel,
        "GEMM alone, weight gradient": lambda: columns.T @ rows,
        "GEMM alone, input gradient": lambda: rows @ kernel.T,
    }
    if torch is not None:
        weight = torch.tensor(np.ascontiguousarray(w.transpose(3, 2, 0, 1)))
        for label, layout in (("", torch.contiguous_format), (", channels last", torch.channels_last)):
            images, grads = (torch.tensor(np.moveaxis(a, -1, 1)).contiguous(memory_format=layout) for a in (x, dout))
            found |= _of_torch(torch, images, weight.contiguous(memory_format=layout), grads, stride, label)
    return found


def _of_torch(torch: Any, x: Any, w: Any, dout: Any, stride: int, label: str) -> dict[str, Callable[[], Any]]:
    def gradient(*which: bool) -> Callable[[], Any]:
        where = [stride, stride], [1, 1], [1, 1], False, [0, 0], 1
        return lambda: torch.ops.aten.convolution_backward(dout, x, w, None, *where, [*which, False])

    return {
        f"PyTorch{label}, forward": lambda: torch.nn.functional.conv2d(x, w, stride=stride, padding=1),
        f"PyTorch{label}, weight gradient": gradient(False, True),
        f"PyTorch{label}, input gradient": gradient(True, False),
    }


def measure(torch: Any | None, *, rounds: int, tiny: bool) -> dict[str, dict[str, Timing]]:
    """Milliseconds of every contestant, by shape."""
    shapes = network_shapes(2, 2) if tiny else network_shapes()
    return {str(shape): side_by_side(contestants(shape, torch), rounds=rounds) for shape in shapes}

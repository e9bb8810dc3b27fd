"""The other normalisers and a residual step, each beside its counterpart in PyTorch, eager and compiled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mabn_ref.nn import dynamic_erf, dynamic_tanh, networks, threshold
from mabn_ref.norms import batch_norm, frozen_batch_norm, group_norm, power_norm, rms_norm, unified_norm
from tests.benchmarks import torch_networks
from tests.benchmarks.normalisers import forward_backward
from tests.benchmarks.processes import python
from tests.benchmarks.timing import Timing, side_by_side
from tests.benchmarks.training_step import our_step

__all__ = ["measure", "measure_memory", "ours", "residual_steps", "theirs"]

SHAPE = (32, 16, 16, 32)
EPS = 1e-5

_PEAK = """
import pathlib
from tests.benchmarks import relatives
relatives.one({name!r}, (2, 2, 2, 4))()  # what a first call brings with it is not counted
call = relatives.one({name!r}, {shape!r})
def kilobytes(field):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))
pathlib.Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
before = kilobytes("VmRSS")
call()
print((kilobytes("VmHWM") - before) * 1024 / 1e6)
"""


def ours(shape: tuple[int, ...]) -> dict[str, Callable[[], Any]]:
    """One forward and one backward pass of each in NumPy, which return z and dx."""
    norms: dict[str, tuple[Any, Any]] = {
        "BN": (batch_norm, batch_norm.Config(eps=EPS)),
        "GN": (group_norm, group_norm.Config(eps=EPS, groups=min(shape[-1], 8))),
        "LN": (group_norm, group_norm.Config(eps=EPS, groups=1)),
        "IN": (group_norm, group_norm.Config(eps=EPS, groups=None)),
        "RMSNorm": (rms_norm, rms_norm.Config(eps=EPS, axes="channels")),
        "FRN": (rms_norm, rms_norm.Config(eps=EPS, axes="positions")),
        "PowerNorm": (power_norm, power_norm.Config(eps=EPS)),
        "UN": (unified_norm, unified_norm.Config(eps=EPS)),
        "frozen BN": (frozen_batch_norm, frozen_batch_norm.Config(eps=EPS)),
    }
    found = {name: forward_backward(module, config, shape) for name, (module, config) in norms.items()}
    x, dz = _drawn(shape)
    one, alpha = np.ones(shape[-1], dtype=np.float32), np.full(1, 0.5, dtype=np.float32)

    def passes(module: Any, *parameters: Any) -> Callable[[], Any]:
        def call() -> Any:
            z, cache = module.forward(x, *parameters)
            return z, module.backward(dz, cache)[0]

        return call

    return found | {
        "threshold": passes(threshold, 0 * one),
        "DyT": passes(dynamic_tanh, alpha, one, 0 * one),
        "Derf": passes(dynamic_erf, alpha, 0 * alpha, one, 0 * one),
    }


def _drawn(shape: tuple[int, ...]) -> list[Any]:
    """The x and dz of `normalisers.forward_backward`."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape, dtype=np.float32) for _ in range(2)]


def theirs(torch: Any, shape: tuple[int, ...], *, compiled: bool = False) -> dict[str, Callable[[], Any]]:
    """The same in PyTorch; compiled, those that its compiler takes."""
    from tests.benchmarks.torch_relatives import LAYERS

    x, dz = (torch.tensor(np.moveaxis(a, -1, 1)).contiguous() for a in _drawn(shape))
    one, alpha = torch.ones(shape[-1]), torch.full((1,), 0.5)
    own = {"threshold": (0 * one,), "DyT": (alpha, one, 0 * one), "Derf": (alpha, 0 * alpha, one, 0 * one)}

    def passes(name: str, layer: Any) -> Callable[[], Any]:
        leaves = [leaf.clone().requires_grad_() for leaf in (x, *own.get(name, (one, 0 * one)))]

        def call() -> Any:
            z = layer(*leaves)
            return z.detach(), torch.autograd.grad(z, leaves, dz)[0]

        return call

    if not compiled:
        return {name: passes(name, make(shape[-1])) for name, make in LAYERS.items()}
    return _that_run({name: passes(name, torch.compile(make(shape[-1]))) for name, make in LAYERS.items()})


def _that_run(calls: dict[str, Callable[[], Any]]) -> dict[str, Callable[[], Any]]:
    """Leave out what the compiler refuses, and say so."""
    found = {}
    for name, call in calls.items():
        try:
            call()
        except Exception as error:  # a compiler that is missing, or a function that it does not take
            print(f"not compiled: {name}: {type(error).__name__}")
        else:
            found[name] = call
    return found


def residual_steps(torch: Any | None, *, width: int, compiled: bool) -> dict[str, Callable[[], Any]]:
    """A training step of the residual network of depth 8 with batch norm."""
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((32, 32, 32, 3)).astype(np.float32), rng.integers(0, 10, 32)
    steps: dict[str, Callable[[], Any]] = {
        "ours": our_step(batch_norm, batch_norm.Config(), x, labels, width=width, make=networks.residual_network)
    }
    if torch is None:
        return steps
    images, truth = torch.tensor(np.moveaxis(x, -1, 1)).contiguous(), torch.tensor(labels)

    def rival(wrap: Callable[[Any], Any]) -> Callable[[], Any]:
        torch.manual_seed(0)
        net = torch_networks.residual_network(torch, torch.nn.BatchNorm2d, width=width)
        return torch_networks.training_step(torch, wrap(net), images, truth)

    steps["PyTorch"] = rival(lambda net: net)
    if compiled:
        steps |= _that_run({"PyTorch, compiled": rival(torch.compile)})
    return steps


def measure(torch: Any | None, *, rounds: int, tiny: bool) -> dict[str, dict[str, Timing]]:
    """Milliseconds: each normaliser and its counterparts in a table, and the residual step."""
    shape = (4, 4, 4, 8) if tiny else SHAPE
    contestants = {name: {"ours": call} for name, call in ours(shape).items()}
    if torch is not None:
        kinds = {"PyTorch": theirs(torch, shape)}
        if not tiny:
            kinds["PyTorch, compiled"] = theirs(torch, shape, compiled=True)
        for kind, calls in kinds.items():
            for name, call in calls.items():
                contestants[name][kind] = call
    steps = residual_steps(torch, width=4 if tiny else 32, compiled=not tiny)
    return {
        **{name: side_by_side(calls, rounds=5 * rounds) for name, calls in contestants.items()},
        "residual step, BN 32": side_by_side(steps, rounds=rounds),
    }


def one(name: str, shape: tuple[int, ...]) -> Callable[[], Any]:
    """One contestant by its name, such as "ours: BN" or "PyTorch: residual step"; for a process of its own."""
    kind, _, what = name.partition(": ")
    torch = None
    if kind == "PyTorch":
        import torch

        torch.set_num_threads(1)
    if what == "residual step":
        return residual_steps(torch, width=shape[-1], compiled=False)[kind]
    return (ours(shape) if torch is None else theirs(torch, shape))[what]


def measure_memory(torch: Any | None, *, rounds: int, tiny: bool) -> dict[str, dict[str, Timing]]:
    """Megabytes (10^6 bytes) that one call adds to what the process holds, by Linux' count, one process each."""
    del rounds
    if not Path("/proc/self/clear_refs").exists():
        print("no /proc/self/clear_refs: the memory of a step is left out")
        return {}
    shape = (4, 4, 4, 8) if tiny else SHAPE
    kinds = ["ours", "PyTorch"] if torch is not None else ["ours"]
    found = {}
    for what in ("BN", "RMSNorm", "PowerNorm", "residual step")[-1 if tiny else 0 :]:
        peaks = {
            kind: float(f"{float(python(_PEAK.format(name=f'{kind}: {what}', shape=shape))):.4g}") for kind in kinds
        }
        found[what] = {kind: Timing(peak, peak, peak) for kind, peak in peaks.items()}
    return found

"""What only a new process shows: the peak memory of a training run, and the time that an import takes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.benchmarks.timing import Timing, summary

__all__ = ["import_times", "measure_imports", "measure_memory", "peak_memory", "python"]

ROOT = Path(__file__).parents[2]
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}

_PEAK = """
import pathlib, resource
from mabn_ref.train import loop
from mabn_ref.train.config import RunConfig
setup = loop.prepare(RunConfig(**{config}))
for done, progress in enumerate(loop.run(setup, loop.begin(setup)), start=1):
    if done == {steps}:
        break
loop.test_error_of(setup, progress)
status = pathlib.Path("/proc/self/status")
lines = status.read_text().splitlines() if status.exists() else []
# Where there is one, the kernel's mark of this process alone: getrusage may count what its parent held.
mark = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
print((mark or [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss])[0] * 1024 / 1e6)
"""
_IMPORTS = """
import time
start = time.process_time()
import numpy
middle = time.process_time()
import {modules}
print(1e3 * (middle - start), 1e3 * (time.process_time() - middle))
"""


def python(code: str, **environment: str) -> str:
    """Run a program in a process of its own, with one thread, and return what it printed."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | ONE_THREAD | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def peak_memory(config: dict[str, Any], steps: int) -> float:
    """Megabytes (10^6 bytes) that a run of some steps and one pass over the test images holds at most."""
    return float(python(_PEAK.format(config=config, steps=steps)))


def import_times(modules: str, rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds of processor time: of NumPy, and of `modules` after it, compiled before as installed ones are."""
    with tempfile.TemporaryDirectory() as compiled:
        keep = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": compiled}
        printed = [python(_IMPORTS.format(modules=modules), **keep) for _ in range(rounds + 1)][1:]
    numpy_alone, beyond = zip(*(map(float, line.split()) for line in printed), strict=True)
    return list(numpy_alone), list(beyond)


def measure_memory(_: Any | None, *, rounds: int, tiny: bool) -> dict[str, dict[str, Timing]]:
    """Megabytes, one run each: the default run, one of 32 channels, and one with as many images as CIFAR-10."""
    del rounds
    small = {"width": 4, "train_size": 64, "test_size": 20}
    runs: dict[str, dict[str, Any]] = {
        "the default run": {},
        "width 32, batches of 128": {"width": 32, "gradient_batch": 128},
        "width 32, 50,000 + 10,000 images": {"width": 32, "train_size": 50_000, "test_size": 10_000},
    }
    if tiny:
        runs = {"the default run": small}
    peaks = {name: float(f"{peak_memory(config, steps=2 if tiny else 30):.4g}") for name, config in runs.items()}
    return {"peak memory": {name: Timing(peak, peak, peak) for name, peak in peaks.items()}}


def measure_imports(_: Any | None, *, rounds: int, tiny: bool) -> dict[str, dict[str, Timing]]:
    """Milliseconds: NumPy alone, `mabn_ref` after it, and its core after it."""
    found: dict[str, Timing] = {}
    core = "mabn_ref.norms, mabn_ref.nn, mabn_ref.gradcheck"
    for name, modules in (("mabn_ref", "mabn_ref"), ("norms, nn and gradcheck", core)):
        alone, beyond = import_times(modules, 2 if tiny else rounds)
        found.setdefault("NumPy", summary(alone))
        found[f"{name}, beyond NumPy"] = summary(beyond)
    return {"import": found}

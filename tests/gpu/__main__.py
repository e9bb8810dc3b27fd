"""Make the record of a GPU: run the tests marked `gpu`, time steps on both devices: ``python -m tests.gpu``."""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mabn_ref import __version__, storage
from mabn_ref.norms import batch_norm, mabn
from mabn_ref.train import devices
from tests.benchmarks.timing import Timing, summary, table
from tests.benchmarks.training_step import our_step


def _step(xp: Any, module: Any, samples: int, width: int) -> Callable[[], None]:
    """A training step on one device that waits until the device is done."""
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((samples, 32, 32, 3), dtype=np.float32), rng.integers(0, 10, samples)
    images, truth = devices.to_device([x, labels], xp)
    config = module.Config(norm_batch=2)
    started = our_step(module, config, images, truth, centralized=module is mabn, width=width, xp=xp)

    def step() -> None:
        started()
        if xp is not np:
            xp.cuda.Device().synchronize()

    return step


def timings(cupy: Any, *, rounds: int, tiny: bool) -> dict[str, Timing]:
    """Milliseconds on the wall of a training step, by device, normaliser and gradient batch."""
    found: dict[str, Timing] = {}
    for samples in (2,) if tiny else (32, 256):
        for name, module in (("BN 2", batch_norm), ("MABN 2 + WC", mabn)):
            for device, xp in (("host", np), ("GPU", cupy)):
                step, taken = _step(xp, module, samples, 2 if tiny else 32), []
                for i in range(rounds + 3):
                    start = time.perf_counter()
                    step()
                    if i >= 3:  # the first calls compile kernels
                        taken.append(1e3 * (time.perf_counter() - start))
                found[f"{name}, batch {samples}, {device}"] = summary(taken)
    return found


def _card(cupy: Any) -> dict[str, Any]:
    properties = cupy.cuda.runtime.getDeviceProperties(0)
    return {
        "name": properties["name"].decode(),
        "memory": properties["totalGlobalMem"],
        "driver": cupy.cuda.runtime.driverGetVersion(),
        "runtime": cupy.cuda.runtime.runtimeGetVersion(),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", type=Path, help="write the record to this file")
    parser.add_argument("--tiny", action="store_true", help="the smallest sizes, and neither tests nor card")
    options = parser.parse_args(arguments)
    try:
        cupy = devices.library("cuda")
    except (ImportError, devices.DeviceError) as error:
        print(error, file=sys.stderr)
        return 1
    record: dict[str, Any] = {
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "cupy": cupy.__version__,
            "mabn_ref": __version__,
        },
        "rounds": options.rounds,
    }
    status = 0
    if not options.tiny:
        record["card"] = _card(cupy)
        command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        print(done.stdout, done.stderr)
        status, record["tests"] = done.returncode, done.stdout.strip().splitlines()[-1]
    record["timings"] = timings(cupy, rounds=options.rounds, tiny=options.tiny)
    print(table("Training step of the small network", record["timings"], next(iter(record["timings"]))))
    if options.json is not None:
        storage.write(options.json, f"{json.dumps(record, indent=1)}\n".encode())
    return status


if __name__ == "__main__":
    sys.exit(main())
